"""`inspect`: the preview of every kind of stage, and a document followed through all stages."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline import storage
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.engine.stages import Finished, load
from pipeline.errors import CorpusError
from pipeline.examples.shards import ShardSet
from pipeline.examples.stage import shards as make_shards
from pipeline.sources.inputs import expand
from pipeline.tfrecords.exchange import export_tfrecords, import_tfrecords
from pipeline.tokenization.vocabulary import load as load_vocabulary
from pipeline.wiki.dumps.side_input import side_input
from tests import corpus
from tests.deciding import decide, rows
from tests.made_documents import IN_LOOPS, generated, identity
from tests.wiki_dumps import Draft, source, written, xml
from workflows.cli import main
from workflows.inspection.previews import mark_hidden, preview


def inspect(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *arguments])


def made(root: Path, pairs: PairsConfig, masking: MaskingConfig | None = None) -> Finished:
    """Make shards of the generated text, with their vocabulary in the same folder."""
    stages = corpus.prepared()
    config = replace(corpus.generated(), pairs=pairs, masking=masking or MaskingConfig())
    shutil.copytree(stages["vocabulary"].url, root / storage.base_name(stages["vocabulary"].url), dirs_exist_ok=True)
    return make_shards(
        config.sources[0], 48, stages["tokens_text"], stages["vocabulary"], config, str(root), execution=IN_LOOPS
    )


def plain(line: str) -> str:
    """Remove the marks from a row of a preview."""
    return re.sub("→[^ 】]*|[|【】]", "", line).replace(" ", "")


def test_hidden_words_are_marked_with_what_is_seen_in_their_place() -> None:
    tokens = ["[CLS]", "北", "京", "图", "书", "馆", "a", "##b", "[SEP]"]
    starts = [True, True, False, True, False, False, True, False, True]
    seen = {3: "[MASK]", 4: "书", 5: "[MASK]", 6: "x", 7: "y"}
    assert mark_hidden(tokens, set(seen), seen, starts) == "[CLS]|北京|【图→[MASK] 书→书 馆→[MASK]】|【a→x b→y】|[SEP]"
    assert mark_hidden(tokens, set(), {}, starts) == "[CLS]|北京|图书馆|ab|[SEP]"


@pytest.mark.parametrize(
    ("task", "layout", "labels"),
    [
        ("nsp", "segments", {"B follows A", "B is from elsewhere"}),
        ("sop", "segments", {"A and B are in order", "A and B are swapped", "one segment"}),
        ("none", "full_sentences", {"one segment"}),
    ],
)
def test_rows_of_shards_say_how_their_segments_go_together(tmp_path: Path, task: Any, layout: Any, labels: set[str]) -> None:
    stage = made(tmp_path, PairsConfig(task=task, layout=layout))
    lines = preview(stage, 200)
    heads, texts = lines[::3], lines[1::3]
    assert {head.split(", ")[2] for head in heads} == labels
    assert all(head.endswith(", mask 1 of 1") for head in heads)
    vocab, shards = load_vocabulary(corpus.prepared()["vocabulary"]), ShardSet(stage, "train")
    for number, text in enumerate(texts):
        row = shards.row(number)
        assert plain(text) == "".join(vocab.tokens[i].removeprefix("##") for i in row.input_ids)
        assert text.count("→") == len(row.draws[0][0])
        assert (text.count("[SEP]") == 2) == (row.second_start > 0) or layout == "full_sentences"


def test_another_mask_of_the_same_rows(tmp_path: Path) -> None:
    stage = made(tmp_path, PairsConfig(), MaskingConfig(static_draws=2, policy="span"))
    first, second = (preview(stage, 3, draw) for draw in (0, 1))
    assert preview(stage, 3) == first
    assert first[0].endswith("mask 1 of 2") and second[0].endswith("mask 2 of 2")
    assert first[1] != second[1] and plain(first[1]) == plain(second[1])
    found = inspect(stage.url, "--draw", "1", "--rows", "1")
    assert found.exit_code == 0 and found.output.endswith("\n".join(second[:3]) + "\n")
    found = inspect(stage.url, "--draw", "2")
    assert (found.exit_code, found.output) == (2, "Error: --draw 2: these shards have 2 static masks, counted from 0\n")


def test_shards_that_are_masked_while_training(tmp_path: Path) -> None:
    stage = made(tmp_path, PairsConfig(), MaskingConfig(static_draws=0))
    head, text, *_ = preview(stage, 1)
    assert head.endswith("masked during training") and "【" not in text
    with pytest.raises(CorpusError, match="--draw 0: these shards have no static masks; masks are drawn during training"):
        preview(stage, 1, 0)


def test_without_the_vocabulary_numbers_are_shown(tmp_path: Path) -> None:
    stage = corpus.prepared()["shards_text_64"]
    shutil.copytree(stage.url, tmp_path / "alone" / storage.base_name(stage.url))
    alone = load(str(tmp_path / "alone" / storage.base_name(stage.url)))
    row, text = ShardSet(alone, "train").row(0), preview(alone, 1)[1]
    assert re.findall("[0-9]+", re.sub("→#[0-9]+", "", text)) == [str(number) for number in row.input_ids]


def test_shards_of_tfrecords(tmp_path: Path) -> None:
    stages = corpus.prepared()
    export_tfrecords(stages["shards_text_64"], load_vocabulary(stages["vocabulary"]), str(tmp_path / "records"))
    shutil.copytree(stages["vocabulary"].url, tmp_path / storage.base_name(stages["vocabulary"].url))
    files = expand([str(tmp_path / "records")])
    done = import_tfrecords(files, "old", stages["vocabulary"], str(tmp_path), execution=IN_LOOPS)
    vocab = load_vocabulary(stages["vocabulary"])
    both = [ShardSet(stages["shards_text_64"], split) for split in ("train", "validation")]
    texts = {
        "".join(vocab.tokens[i].removeprefix("##") for i in shards.row(number).input_ids)
        for shards in both
        for number in range(len(shards))
    }
    shown = preview(done, 5)
    assert len(shown) == 15 and {plain(text) for text in shown[1::3]} <= texts
    assert shown[1].startswith("[CLS]|") and shown[1].endswith("|[SEP]") and "→[MASK]" in "".join(shown)


STAGES = [f"{kind}_{name}" for kind in ("documents", "signatures", "tokens") for name in ("text", "news")]


@pytest.mark.parametrize("name", [*STAGES, "dedup", "vocabulary", "shards_text_64", "shards_news_64"])
def test_every_stage_shows_rows_and_facts(name: str) -> None:
    stage = corpus.prepared()[name]
    found = inspect(stage.url, "--rows", "2")
    assert found.exit_code == 0 and re.match(rf"stage +{name}\n", found.output)
    shown = json.loads(inspect(stage.url, "--rows", "2", "--json").output)
    assert shown["rows"] and not any("bytes  " in line for line in shown["rows"])
    assert shown["facts"]["key"] == stage.manifest["key"]
    assert inspect(stage.url, "--rows", "0").exit_code == 0


def test_documents_and_their_tokens() -> None:
    stages = corpus.prepared()
    head, title, text, *_ = preview(stages["documents_news"], 1)
    number, characters = re.match(r"document ([0-9a-f]{16}) \(news.jsonl#\d+\), (\d+) characters, ", head).groups()  # type: ignore[union-attr]
    assert characters == str(len("".join(text.split()))) or len(text) == 400
    tokens = preview(stages["tokens_news"], 100)
    place = next(n for n, line in enumerate(tokens) if line.startswith(f"document {number}"))
    assert tokens[place + 1].replace("|", "") == title
    sentence = tokens[place + 2]
    assert sentence.replace("|", "") in text.lower() and "|" in sentence


def test_decisions_name_the_documents(tmp_path: Path) -> None:
    text = generated(1, 4, 12)
    (tmp_path / "dev.tsv").write_text(text[2].replace("\n", ""))
    texts: Any = {"a": [text[0], text[1], "短"], "b": [text[0], text[2], text[3]]}
    done = decide(tmp_path / "runs", texts, evaluation=(str(tmp_path / "dev.tsv"),), filters={"min_characters": 5})
    lines = preview(done, 9)
    kept = f"{identity('a', 0):016x}"
    beginning = "    " + " ".join(text[0][:60].split())
    place = lines.index(f"dropped from b: {identity('b', 0):016x} duplicate of {kept}")
    assert lines[place + 1 : place + 3] == [beginning, beginning]
    assert f"dropped from a: {identity('a', 2):016x} too_short" in lines
    (row,) = rows(done, "b", "contaminated")
    leak = f"document {identity('b', 1):016x} contains {row['runs']} n-grams, 100% of a text of dev.tsv: {row['text']}"
    assert leak in lines
    root = str(tmp_path / "runs")
    names = {name.rpartition("-")[0]: load(storage.join(root, name)) for name in storage.list_names(root) if "-" in name}
    assert preview(names["contamination_b"], 1) == [leak]
    (scored,) = preview(names["evaluation"], 1)
    assert re.fullmatch(r"dev.tsv, \d+ n-grams: .{60}", scored) and scored.endswith(row["text"])
    shutil.rmtree(names["documents_a"].url)
    assert f"    ({kept}: the documents of its source are not here)" in preview(done, 9)


def test_what_a_dump_says_of_its_pages(tmp_path: Path) -> None:
    drafts = [Draft("Template:Le", "", 10, "Template:Link-en"), Draft("Module:CGroup/IT", "return {}", 828)]
    done = side_input(source(), [written(tmp_path / "zhwiki.xml", xml(drafts))], str(tmp_path / "runs"), execution=IN_LOOPS)
    lines = preview(done, 2)
    assert "1 of kind redirect:" in lines and "    Le -> Link-en" in lines
    assert "1 of kind group:" in lines and "    IT -> return {}" in lines


def test_a_vocabulary_by_kinds_of_tokens() -> None:
    stage = corpus.prepared()["vocabulary"]
    lines = preview(stage, 1)
    assert lines[:2] == ["5 special", "    0 [PAD]  1 [UNK]  2 [CLS]  3 [SEP]  4 [MASK]"]
    numbers = [int(line.split()[0]) for line in lines if not line.startswith(" ")]
    assert sum(numbers) == stage.manifest["size"]


def test_a_document_is_followed_through_all_stages() -> None:
    stages = corpus.prepared()
    root = stages["documents_text"].url.rpartition("/")[0]
    number = ShardSet(stages["shards_text_64"], "train").row(0).document_id
    for written_ in (f"{number:016x}", str(number)):
        found = inspect(root, "--document", written_)
        assert found.exit_code == 0
        lines = found.output.splitlines()
        assert [line.split("-")[0] for line in lines] == ["documents_text", "dedup", "shards_text_64"]
        assert lines[1].endswith(" kept") and "train-00000.arrow: " in lines[2] and "(row 0" in lines[2]
    facts = json.loads(inspect(root, "--document", f"{number:016x}", "--json").output)["facts"]
    assert [fact["kind"] for fact in facts] == ["document", "kept", "shard"]


def test_a_copy_is_followed_to_what_it_is_a_copy_of() -> None:
    stages = corpus.prepared()
    root = stages["documents_text"].url.rpartition("/")[0]
    copy = next(row for row in rows(stages["dedup"], "news") if row["reason"] == "duplicate")
    found = inspect(root, "--document", f"{copy['id']:016x}").output
    assert f"dropped: duplicate of {copy['kept_id']:016x}" in found and "shards" not in found
    assert "one of 2 duplicates, this one is kept" in inspect(root, "--document", f"{copy['kept_id']:016x}").output


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            "0123456789abcdef",
            "no finished stage contains document 0123456789abcdef; ids are 16 hexadecimal digits, see `inspect`",
        ),
        ("17", "no finished stage contains document 0000000000000011"),
        ("0x17", "--document 0x17: an id has 16 hexadecimal digits, as `nezha-pipe inspect` shows them"),
        ("北京", "--document 北京: an id has 16 hexadecimal digits"),
        ("99999999999999999999", "--document 99999999999999999999: an id has 16 hexadecimal digits"),
        ("", "--document : an id has 16 hexadecimal digits"),
    ],
)
def test_an_unknown_document_or_nonsense_is_one_line(document: str, message: str) -> None:
    root = corpus.prepared()["documents_text"].url.rpartition("/")[0]
    found = inspect(root, "--document", document)
    assert found.exit_code == 2 and message in found.output
    assert len(found.output.splitlines()) == 1
