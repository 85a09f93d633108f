"""The vocabulary stage: a given file copied byte for byte, or one built from the kept documents."""

from pathlib import Path

import pytest

from pipeline import storage
from pipeline.config import VocabularyConfig
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError, StorageError
from pipeline.tokenization import vocabulary
from tests import corpus

SPECIAL = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"


def given(tmp_path: Path, data: bytes, **more: bool) -> Finished:
    """The stage for a given file."""
    (tmp_path / "given.txt").write_bytes(data)
    stages = corpus.prepared()
    config = VocabularyConfig(url=str(tmp_path / "given.txt"), **more)
    return vocabulary.vocabulary([stages["documents_text"]], stages["dedup"], config, str(tmp_path / "runs"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", corpus.LAYOUTS)
def test_the_same_bytes_however_the_work_is_cut(layout: tuple[str, int, int]) -> None:
    assert corpus.same_bytes(corpus.prepared(layout[0]), corpus.prepared(*layout), "vocabulary") == 2


@corpus.needs_real_data
def test_the_released_vocabulary_is_taken_over_byte_for_byte() -> None:
    stage = corpus.prepared("real")["vocabulary"]
    data = (corpus.REAL / "vocab/vocab.txt").read_bytes()
    assert storage.read_bytes(stage.file("vocab.txt")) == data
    assert (stage.manifest["size"], stage.manifest["built"]) == (21_128, False)
    assert stage.manifest["sha256"] == "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c"
    assert vocabulary.load(stage).tokens[343] == "\u2028"


def test_the_key_of_a_given_file_is_its_content(tmp_path: Path) -> None:
    one = given(tmp_path, SPECIAL + "中\n文\n".encode())
    assert given(tmp_path, SPECIAL + "中\n文\n".encode()).url == one.url
    assert given(tmp_path, SPECIAL + "文\n中\n".encode()).url != one.url
    assert given(tmp_path, SPECIAL + "中\n文\n".encode(), do_lower_case=False).manifest["do_lower_case"] is False


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SPECIAL.replace(b"[MASK]\n", b""), r"\[MASK\]"),
        (SPECIAL + "中\n中\n".encode(), "中"),
        (SPECIAL + "中".encode("gb18030"), "not UTF-8"),
        (b"", "given.txt"),
    ],
)
def test_a_file_that_cannot_serve_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message) as error:
        given(tmp_path, data)
    assert "\n" not in str(error.value)
    with pytest.raises(StorageError, match="not found"):
        config = VocabularyConfig(url=str(tmp_path / "none.txt"))
        stages = corpus.prepared()
        vocabulary.vocabulary([stages["documents_text"]], stages["dedup"], config, str(tmp_path))


def test_a_built_one_holds_what_is_kept_and_not_what_is_dropped() -> None:
    stages = corpus.prepared()
    built = vocabulary.load(stages["vocabulary"])
    assert stages["vocabulary"].manifest["built"] is True
    assert stages["vocabulary"].manifest["size"] == len(built) <= 600
    characters = {c for word in corpus.WORDS for c in word.lower()} | set("。！？第条新闻")  # titles count too
    assert characters <= set(built.tokens)
    assert "短" not in built.tokens, "it stands in documents that are too short alone"
    assert {"nezha", "bert", "2019"} <= set(built.tokens)


def test_counts_are_added_up_in_as_many_buckets_as_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages, made = corpus.prepared(), []
    for number in (1, 64):
        monkeypatch.setattr(vocabulary, "PARTS_PER_BUCKET", number)
        root = str(tmp_path / str(number))
        made.append(vocabulary.vocabulary([stages["documents_text"]], stages["dedup"], VocabularyConfig(min_count=3), root))
        assert not list(Path(made[-1].url).glob("work-*"))
    assert made[0].digest == made[1].digest and len(made[0].files()) == 1


def test_the_size_is_a_limit_and_rare_characters_stay_out(tmp_path: Path) -> None:
    stages = corpus.prepared()

    def built(size: int = 600, min_count: int = 1) -> set[str]:
        config = VocabularyConfig(size=size, min_count=min_count)
        done = vocabulary.vocabulary([stages["documents_text"]], stages["dedup"], config, str(tmp_path))
        return set(vocabulary.load(done).tokens)

    assert len(built(size=220)) == 220
    assert built(size=220) < built()
    assert "京" in built() and "京" not in built(min_count=100_000)
