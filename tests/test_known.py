"""What is unchanged since an earlier run is neither cleaned nor tokenised again; the bytes are those of a run from nothing."""

import bz2
import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.config import SourceConfig
from pipeline.documents import known
from pipeline.documents import stage as module
from pipeline.documents.stage import documents
from pipeline.documents.table import document_id
from pipeline.engine import earlier, parquet, stages
from pipeline.engine.execution import SERIAL, Execution, News
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError, NoSpaceError
from pipeline.sources.formats import detection
from pipeline.sources.formats.detection import FileFormat
from pipeline.wiki.dumps import bzip2
from tests import corpus, wiki_dumps
from tests.wiki_dumps import Draft
from workflows import recipe
from workflows.chain import Chain

PAGES, NEWS = 120, 100
GROUP = "return {{ name = 'IT', content = {{ Item('software', 'zh-cn:{};zh-tw:軟體') }} }}"
RARE = "龘"
"""No vocabulary of these tests has it."""


def some(number: int) -> bool:
    """Return whether a record of the second quarter is changed: every tenth."""
    return number % 10 == 3


def none(number: int) -> bool:
    return False


def pages(changed: Callable[[int], bool] = none, *, target: str = "Lang-de", group: str = "软件") -> list[Draft]:
    """Articles: of four, one uses a redirected template, one a conversion group, one an unknown template; some are none."""
    found = [
        Draft("Template:LDe", "", 10, f"Template:{target}"),
        Draft("Module:CGroup/IT", GROUP.format(group), 828),
        Draft("Redirected", "#REDIRECT [[其他]]", redirect="其他"),
    ]
    for number, text in enumerate(corpus.text_documents(7, PAGES)):
        head = ["", "{{LDe|Berlin}}是城市，", "{{NoteTA|G1=IT}}軟體與技術，", f"{{{{無名|一二三}}}}{RARE}字，"][number % 4]
        end = "\n{{disambig}}" if number % 50 == 9 else "\n\n== 参考文献 ==\n無"
        more = f"\n\n新的一段說明{number}號情況。" if changed(number) else ""
        found.append(Draft(f"條目{number}", f"'''{head}'''{text}<ref>註</ref>{more}{end}"))
    return found


def dump(folder: Path, drafts: Sequence[Draft], name: str = "zhwiki-20250801.xml.bz2") -> SourceConfig:
    """Write a dump in place of any other, and return the source that reads it."""
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    (folder / name).write_bytes(bz2.compress(wiki_dumps.xml(drafts)))
    return SourceConfig(name="wiki", kind="wiki", input=(str(folder),))


def news(numbers: Sequence[int], changed: Callable[[int], bool] = none) -> bytes:
    """Lines of news, with one that has no text."""
    texts = corpus.text_documents(8, 2 * NEWS)
    more = {number: "<br>补充一句：情况已经变化。" for number in numbers if changed(number)}
    lines = [{"title": f"第{number}条", "content": f"<p>{texts[number]}</p>{more.get(number, '')}"} for number in numbers]
    return corpus.json_lines([*lines, {"title": "空", "content": "<p> </p>"}])


def paper(folder: Path, **files: bytes) -> SourceConfig:
    """Write files of news, and return the source that reads them."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.jsonl").write_bytes(data)
    return SourceConfig(name="news", kind="news", input=(str(folder),))


def content(done: Sequence[Finished]) -> dict[str, Any]:
    """Return manifests and files of stages: all but when and how they ran."""
    found: dict[str, Any] = {stage.name: stage.manifest for stage in done}
    return found | {
        f"{stage.name}/{entry['name']}": storage.read_bytes(stage.file(entry["name"]))
        for stage in done
        for entry in stage.files()
    }


def work(stage: Finished) -> tuple[int, int]:
    """Return how many records or documents were reused, and how many done anew."""
    counts = stages.read_run(stage.url)["work"]
    return counts["reused"], counts["anew"]


def check(source: SourceConfig, root: Path, reused: int, anew: int, execution: Execution = SERIAL) -> Finished:
    """Read a source again: the bytes must be those of a run from nothing."""
    found = documents(source, str(root / "run"), execution=execution)
    nothing = documents(source, str(root / f"nothing-{found.manifest['key']}"))
    assert content([found]) == content([nothing])
    assert (work(found), work(nothing)) == ((reused, anew), (0, reused + anew))
    assert not [*root.rglob("unpacked")], "text that was kept between the two passes over a dump"
    return found


def test_pages_that_are_the_same_in_another_dump_are_not_rendered_again(tmp_path: Path) -> None:
    documents(dump(tmp_path / "in", pages()), str(tmp_path / "run"))
    told: list[str] = []
    report = Execution(report=lambda done, total, what: told.append(what) if isinstance(what, News) else None)
    source = dump(tmp_path / "in", pages(some), "zhwiki-20251101.xml.bz2")
    found = check(source, tmp_path, PAGES - PAGES // 10, PAGES // 10, report)
    assert found.manifest["skipped"]["disambiguation"] == 3, "pages without a document are known as well"
    assert [line.partition("-")[0] for line in told] == ["documents_wiki: 108 unchanged, from documents_wiki"]


@pytest.mark.parametrize("change", [{"group": "软体"}, {"target": "Lang-fr"}])
def test_a_page_is_made_anew_if_what_it_takes_from_other_pages_has_changed(tmp_path: Path, change: dict[str, Any]) -> None:
    documents(dump(tmp_path / "in", pages()), str(tmp_path / "run"))
    # Two of {NoteTA|G1=IT} or {LDe|..} in eight pages.
    check(dump(tmp_path / "in", pages(**change)), tmp_path, PAGES * 3 // 4, PAGES // 4)


def test_records_are_found_by_content_wherever_they_are(tmp_path: Path) -> None:
    documents(paper(tmp_path / "in", a=news(range(NEWS))), str(tmp_path / "run"))
    later = [number for number in range(NEWS) if number % 20 != 5]
    source = paper(tmp_path / "in", a=news(later, some), b=news(range(NEWS, NEWS + 9)))
    anew = NEWS // 10 + 9
    check(source, tmp_path, len(later) + 9 + 2 - anew, anew)
    check(paper(tmp_path / "in", a=news(later, some), b=news(range(NEWS, NEWS + 10))), tmp_path, len(later) + 11, 1)


def test_text_and_encyclopedias_too_and_personal_data_stays_masked(tmp_path: Path) -> None:
    texts = [f"电话13800138000，{text}" for text in corpus.text_documents(9, 40)]
    source = SourceConfig(name="text", kind="text", input=(str(tmp_path / "a.txt"),))
    (tmp_path / "a.txt").write_text("\n\n".join([*texts, ""]), "utf-8")
    documents(source, str(tmp_path / "run"))
    (tmp_path / "a.txt").write_text("\n\n".join([*texts[1:], "全新的一篇文章。", ""]), "utf-8")
    check(source, tmp_path, 39, 1)
    assert not any(b"13800138000" in file.read_bytes() for file in (tmp_path / "run").rglob("run.json"))
    entry = {"title": "词条", "summary": "<b>简介</b>", "sections": [{"title": "历史", "content": texts[0]}], "tags": []}
    source = SourceConfig(name="baike", kind="baike", input=(str(tmp_path / "b.jsonl"),))
    (tmp_path / "b.jsonl").write_bytes(corpus.json_lines([entry]))
    documents(source, str(tmp_path / "run"))
    (tmp_path / "b.jsonl").write_bytes(corpus.json_lines([{**entry, "title": "新词条"}, entry]))
    check(source, tmp_path, 1, 1)


def test_samples_of_the_manifest_are_those_of_a_run_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that now is among the first of its kind, and was not then, is done anew: no sample of it was kept."""
    monkeypatch.setattr(known, "KEPT_SAMPLES", 12)
    documents(paper(tmp_path / "in", a=news(range(NEWS))), str(tmp_path / "run"))
    found = check(paper(tmp_path / "in", a=news(range(5, NEWS))), tmp_path, NEWS - 5 + 1 - 3, 3)
    assert len(found.manifest["samples"]["changed_html"]) == 10


def test_of_a_page_that_a_dump_has_twice_no_document_is_reused(tmp_path: Path) -> None:
    def twice(text: str) -> bytes:
        older, newer = (Draft("柏林", words).xml(7) for words in ("柏林是德国城市。", text))
        pages = older + newer.replace("2025-08-01", "2025-09-01") + Draft("巴黎", "巴黎是法国首都。").xml(8)
        return (wiki_dumps.HEAD + pages + wiki_dumps.CLOSING).encode()

    (tmp_path / "zhwiki.xml").write_bytes(twice("柏林是德国首都。"))
    source = SourceConfig(name="wiki", kind="wiki", input=(str(tmp_path / "zhwiki.xml"),))
    documents(source, str(tmp_path / "run"))
    (tmp_path / "zhwiki.xml").write_bytes(twice("柏林是德国的首都。"))
    check(source, tmp_path, 1, 2)


def test_other_settings_and_a_switch_do_everything_anew(tmp_path: Path) -> None:
    source = dump(tmp_path / "in", pages())
    documents(source, str(tmp_path / "run"))
    other = SourceConfig(name="wiki", kind="wiki", input=source.input, list_items=not source.list_items)
    check(other, tmp_path, 0, PAGES)
    check(dump(tmp_path / "in", pages(some)), tmp_path, 0, PAGES, Execution(reuse=False))


@pytest.mark.parametrize("file", ["part-00003.parquet", "known-000000-0-0-0.parquet"])
def test_a_damaged_stage_is_named_and_not_used(tmp_path: Path, file: str) -> None:
    before = documents(paper(tmp_path / "in", a=news(range(NEWS))), str(tmp_path / "run"))
    path = Path(before.file(file))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    told: list[str] = []
    report = Execution(report=lambda done, total, what: told.append(what) if isinstance(what, News) else None)
    check(paper(tmp_path / "in", a=news(range(NEWS), some)), tmp_path, 0, NEWS + 1, report)
    (line,) = told
    assert line.startswith(f"warning: documents_news is made anew, not from {before.url}: ") and file in line


def test_an_interrupted_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents(paper(tmp_path / "in", a=news(range(NEWS))), str(tmp_path / "run"))
    source = paper(tmp_path / "in", a=news(range(NEWS), some))
    whole, calls = module.WritePart.__call__, iter(range(1_000))

    def killed(self: module.WritePart, part: int, table: pa.Table) -> Any:
        if next(calls) == 5:
            raise CorpusError("killed")
        return whole(self, part, table)

    monkeypatch.setattr(module.WritePart, "__call__", killed)
    with pytest.raises(CorpusError, match="killed"):
        documents(source, str(tmp_path / "run"))
    monkeypatch.undo()
    check(source, tmp_path, NEWS + 1 - NEWS // 10, NEWS // 10)


def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each pass over the blocks of a dump is added."""
    found: list[str] = []
    blocks = bzip2.blocks

    def noted(url: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
        found.append(url)
        yield from blocks(url, start)

    monkeypatch.setattr(bzip2, "blocks", noted)
    return found


def test_a_process_decompresses_a_dump_once_and_its_head_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detected, decompressed = [], passes(monkeypatch)
    detect = detection.detect_format

    def noted(url: str, encoding: str = "auto") -> FileFormat:
        detected.append(url)
        return detect(url, encoding)

    monkeypatch.setattr(detection, "detect_format", noted)
    source = dump(tmp_path / "in", pages())
    documents(source, str(tmp_path / "run"))
    assert (len(decompressed), len(detected)) == (2, 1)
    # Another dump in its place, of another site.
    (file,) = (tmp_path / "in").iterdir()
    file.write_bytes(bz2.compress(bz2.decompress(file.read_bytes()).replace(b"zh.wikipedia.org", b"zh.wikisource.org")))
    found = documents(source, str(tmp_path / "run"))
    assert (len(decompressed), len(detected)) == (4, 2)
    urls = parquet.read(found.file("part-00000.parquet"), ["url"])["url"].to_pylist()
    assert urls and all(url.startswith("https://zh.wikisource.org/wiki/") for url in urls)


def test_an_interrupted_run_over_a_dump_does_not_decompress_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents(dump(tmp_path / "in", pages()), str(tmp_path / "run"))
    source = dump(tmp_path / "in", pages(some))
    taken = known.Memory.taken

    def killed(self: known.Memory) -> Iterator[pa.Table]:
        yield next(taken(self))
        raise CorpusError("killed")

    monkeypatch.setattr(known.Memory, "taken", killed)
    with pytest.raises(CorpusError, match="killed"):
        documents(source, str(tmp_path / "run"))
    monkeypatch.undo()
    assert [*(tmp_path / "run").rglob("unpacked/*.parquet")]
    decompressed = passes(monkeypatch)
    documents(source, str(tmp_path / "run"))
    assert not decompressed
    monkeypatch.undo()
    check(source, tmp_path, PAGES - PAGES // 10, PAGES // 10)


@pytest.mark.parametrize("full", ["while it is kept", "while it is read"])
def test_a_full_disk_costs_the_kept_text_of_a_dump_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    source = dump(tmp_path / "in", pages())
    where, name = (pq.ParquetWriter, "write_table") if full == "while it is kept" else (module.WritePart, "__call__")
    whole, times = getattr(where, name), 0

    def fill(*arguments: Any, **more: Any) -> Any:
        """Fail as long as there are copies, or one is being written."""
        nonlocal times
        if [*(tmp_path / "run").rglob("unpacked/*.parquet"), *(tmp_path / "run").rglob("unpacked/.*.parquet.*")]:
            times += 1
            with storage.translate_error("part"):
                raise OSError(errno.ENOSPC, "No space left on device")
        return whole(*arguments, **more)

    monkeypatch.setattr(where, name, fill)
    told: list[str] = []
    report = Execution(report=lambda done, total, what: told.append(what) if isinstance(what, News) else None)
    found = documents(source, str(tmp_path / "run"), execution=report)
    monkeypatch.undo()
    assert (times, [line.partition(" of the dump")[0] for line in told]) == (1, ["no space left: the unpacked text"])
    assert content([found]) == content([documents(source, str(tmp_path / "undisturbed"))])
    assert not [*tmp_path.rglob("unpacked")]


def test_a_disk_that_is_full_without_the_kept_text_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise NoSpaceError("full")

    monkeypatch.setattr(module.WritePart, "__call__", fill)
    with pytest.raises(NoSpaceError, match="full"):
        documents(dump(tmp_path / "in", pages()), str(tmp_path / "run"))


@pytest.mark.parametrize(("room", "times"), [(known.KEPT_BYTES, 1), (0, 4)])
def test_a_process_reads_each_earlier_part_once_if_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, times: int
) -> None:
    monkeypatch.setattr(known, "KEPT_BYTES", room)
    before = documents(paper(tmp_path / "in", a=news(range(NEWS))), str(tmp_path / "run"))
    source = paper(tmp_path / "in", a=news(range(NEWS), some))
    read: list[str] = []
    whole = parquet.read

    def noted(url: str, columns: Sequence[str] | None = None) -> pa.Table:
        read.append(url)
        return whole(url, columns)

    monkeypatch.setattr(parquet, "read", noted)
    size = (tmp_path / "in/a.jsonl").stat().st_size
    found = documents(source, str(tmp_path / "run"), task_bytes=-(-size // 4))
    assert content([found]) == content([documents(source, str(tmp_path / "nothing"))])
    assert max(read.count(before.file(entry["name"])) for entry in before.files("part-")) == times


def test_digests_are_found_many_at_a_time() -> None:
    rows = [bytes(16), b"a" * 8 + b"c" * 8, b"z" * 16, b"a" * 16, b"z" * 16]
    column = pa.chunked_array([pa.array(rows[:2], pa.binary(16)), pa.array(rows, pa.binary(16)).slice(2)])
    known_rows = earlier.Digests([column])
    assert known_rows.find(earlier.numbers([*rows, b"b" * 16])).tolist() == [0, -1, 2, 3, 2, -1]
    assert known_rows.find(earlier.numbers([])).tolist() == []
    assert earlier.Digests([]).find(earlier.numbers(rows)).tolist() == [-1] * 5


def chain(sources: Sequence[SourceConfig], root: Path, vocab: Path, **settings: Any) -> Chain:
    content = {
        "name": "quarters",
        "source": [{"name": source.name, "kind": source.kind, "input": [*source.input]} for source in sources],
        "vocabulary": {"url": str(vocab)},
        "filters": {"min_characters": 1},
        **settings,
    }
    return Chain(recipe.build(content, "test"), str(root), sequence_lengths=(64,))


def vocabulary(folder: Path) -> Path:
    """Write a vocabulary of all characters but one."""
    text = "".join(corpus.WORDS) + "柏林是城市软件与技术，。！？字一二三条电话段说明号情况补充句已经变化空第新的0123456789"
    characters = sorted(set(text.lower()))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{one}" for one in characters if one.isascii())]
    path = folder / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(tokens)) + "\n", "utf-8")
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_quarter_up_to_its_shards(tmp_path: Path) -> None:
    vocab = vocabulary(tmp_path)

    def prepared(root: Path, sources: Sequence[SourceConfig], **settings: Any) -> dict[str, Finished]:
        one = chain(sources, root, vocab, **settings)
        return {name: one.run(name) for name in one.data_names() if name != "report"}

    first = [dump(tmp_path / "wiki", pages()), paper(tmp_path / "news", a=news(range(NEWS)))]
    before = prepared(tmp_path / "run", first)
    second = [
        dump(tmp_path / "wiki", pages(some), "zhwiki-20251101.xml.bz2"),
        paper(tmp_path / "news", b=news([NEWS, NEWS + 1])),
    ]
    withdrawn = [document_id("news", "a.jsonl#0"), document_id("wiki", "zhwiki-20251101.xml.bz2#4")]
    (tmp_path / "withdrawn.txt").write_text("".join(f"{one:016x}\n" for one in withdrawn))
    settings = {"dedup": {"withdrawn": str(tmp_path / "withdrawn.txt")}}
    again, nothing = (prepared(tmp_path / name, second, **settings) for name in ("run", "nothing"))
    assert content([*again.values()]) == content([*nothing.values()])
    assert before["tokens_wiki"].manifest["counts"]["unknown"] > 0
    assert work(again["documents_wiki"]) == (PAGES - PAGES // 10, PAGES // 10)
    assert work(again["documents_news"]) == (NEWS + 2, 2)
    for name, most in (("tokens_wiki", PAGES // 10 + 1), ("tokens_news", 2)):
        reused, anew = work(again[name])
        assert 0 < anew <= most and reused + anew == again[name].manifest["counts"]["documents"]
    for name in ("shards_wiki_64", "shards_news_64"):
        for entry in again[name].files():
            rows = pa.ipc.open_file(pa.py_buffer(storage.read_bytes(again[name].file(entry["name"])))).read_all()
            assert not {*rows["document_id"].to_pylist()} & {*withdrawn}
