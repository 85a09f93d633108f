"""The embedded corpus and its evaluation tasks: no held-out text is trained on."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.cleaning.cleaning import fingerprint, folded
from pipeline.config import SourceConfig
from pipeline.documents import demo_tasks
from pipeline.documents.stage import documents
from pipeline.documents.table import read_part
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.sources import demo

LONG = 30


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def pretraining(root: str) -> dict[str, Finished]:
    """The stage `documents` of both parts."""
    return {part: documents(SourceConfig(name=part, kind="demo", input=(part,)), root) for part in demo.PARTS}


@pytest.fixture(scope="module")
def texts(pretraining: dict[str, Finished]) -> list[str]:
    """Every text to pretrain on."""
    return [
        text
        for stage in pretraining.values()
        for entry in stage.files("part-")
        for text in read_part(stage, entry["name"], ["text"])["text"].to_pylist()
    ]


@pytest.fixture(scope="module")
def tasks(root: str) -> Finished:
    return demo_tasks.tasks(root)


def reviews(tasks: Finished, split: str) -> list[tuple[str, str]]:
    """(label, text) of a sentiment file."""
    header, *rows = storage.read_bytes(tasks.file(f"sentiment/{split}.tsv")).decode().removesuffix("\n").split("\n")
    assert header == "label\ttext_a"
    return [(row[0], row[2:]) for row in rows]


def tagged(tasks: Finished, split: str) -> list[list[tuple[str, str]]]:
    """Sentences of (character, tag) of an entities file."""
    blocks = storage.read_bytes(tasks.file(f"entities/{split}.txt")).decode().removesuffix("\n").split("\n\n")
    return [[(line[0], line[2:]) for line in block.split("\n")] for block in blocks]


def scored(tasks: Finished) -> list[str]:
    """All texts of the evaluation files."""
    of_reviews = [text for split in demo.HELD_OUT for _, text in reviews(tasks, split)]
    return of_reviews + ["".join(c for c, _ in sentence) for split in demo.HELD_OUT for sentence in tagged(tasks, split)]


def test_no_text_that_is_scored_on_is_a_document_to_pretrain_on(tasks: Finished, texts: list[str]) -> None:
    # Exact texts and fingerprints of the task files, and of the articles that their sentences are from.
    articles = [article.text for split, article in demo.read_news() if split in demo.HELD_OUT]
    held_out = scored(tasks) + articles
    assert len(held_out) > 5_000 and len(texts) > 30_000
    whole = articles + [text for split in demo.HELD_OUT for _, text in reviews(tasks, split)]
    assert not set(whole) & set(texts)
    trained_on = {fingerprint(text) for text in texts}
    # A sentence of a few characters may be a whole review elsewhere (“很好！”); a long one may not.
    long = [text for text in held_out if len(folded(text)) >= LONG]
    assert sum(fingerprint(text) in trained_on for text in whole + long) == 0


def test_no_document_to_pretrain_on_quotes_a_text_that_is_scored_on(tasks: Finished, texts: list[str]) -> None:
    whole = "\0".join(folded(text) for text in texts)
    paragraphs = [p for split, article in demo.read_news() if split in demo.HELD_OUT for p in article.text.split("\n")]
    for held_out in (paragraphs, [text for split in demo.HELD_OUT for _, text in reviews(tasks, split)]):
        long = {folded(text) for text in held_out if len(folded(text)) >= LONG}
        assert len(long) > 1_000
        assert sum(text in whole for text in long) == 0


def test_every_scored_text_is_from_a_document_that_was_split_off(tasks: Finished) -> None:
    for split in demo.HELD_OUT:
        kept_out = {fingerprint(review.text) for side, review in demo.read_reviews() if side == split}
        assert all(fingerprint(text) in kept_out for _, text in reviews(tasks, split))
        articles = "\0".join(article.text.replace("\n", "") for side, article in demo.read_news() if side == split)
        assert all("".join(c for c, _ in sentence) in articles for sentence in tagged(tasks, split))


def test_splits_of_a_task_share_no_review(tasks: Finished) -> None:
    counts = Counter(fingerprint(text) for split in ("train", "dev", "test") for _, text in reviews(tasks, split))
    assert set(counts.values()) == {1}, "a review occurs twice"


def test_what_is_kept_out_is_counted(pretraining: dict[str, Finished]) -> None:
    for part, whole in {"news": len(demo.read_news()), "reviews": len(demo.read_reviews())}.items():
        counts, skipped = (pretraining[part].manifest[name] for name in ("counts", "skipped"))
        assert counts["read"] == whole
        assert counts["kept"] + skipped["split_off"] + counts["empty"] == whole
        assert 0.09 * whole < skipped["split_off"] < 0.12 * whole


def test_a_quotation_keeps_a_document_out_whatever_its_signs() -> None:
    texts = demo.HeldOutTexts()
    article = next(article for split, article in demo.read_news() if split == "test")
    paragraph = max(article.text.split("\n"), key=len)
    assert texts.contains(article.text)
    assert texts.contains(f"前言。{paragraph}后记。")
    assert texts.contains("，".join(paragraph))
    assert not texts.contains(paragraph[: len(paragraph) // 2])
    assert not texts.contains("好")
    assert not texts.contains("")


def test_tags_are_well_formed(tasks: Finished) -> None:
    allowed = {"O", *(f"{b}-{kind}" for b in "BI" for kind in ("PER", "LOC", "ORG"))}
    for split in ("train", "dev", "test"):
        for sentence in tagged(tasks, split):
            assert sentence
            before = "O"
            for character, tag in sentence:
                assert len(character) == 1 and tag in allowed
                assert not tag.startswith("I-") or before[2:] == tag[2:], "an I- tag without an entity of its kind before it"
                before = tag


def persons(text: str) -> list[str]:
    """Names of persons that `tagged_sentences` finds in words with tags."""
    words = tuple((token.rpartition("/")[0], token.rpartition("/")[2]) for token in text.split())
    found: list[str] = []
    for sentence in demo_tasks.tagged_sentences(demo.Article(0, (words,))):
        for character, tag in sentence:
            if tag == "B-PER":
                found.append(character)
            elif tag == "I-PER":
                found[-1] += character
    return found


def test_surname_and_given_name_are_one_person() -> None:
    assert persons("江/nr 泽民/nr 和/c 李/nr 鹏/nr 说/v") == ["江泽民", "李鹏"]
    assert persons("江/nr 泽民/nr 李/nr 鹏/nr 乔/nr 石/nr") == ["江泽民", "李鹏", "乔石"]
    assert persons("欧阳/nr 自远/nr") == ["欧阳自远"]
    assert persons("克林顿/nr 、/w 马克思/nr 恩格斯/nr") == ["克林顿", "马克思", "恩格斯"]


def test_an_article_begins_at_a_headline() -> None:
    lines = ["标题/n", "正文/n 。/w", "  ", "另/a 一/m 标题/n", "（/w 记者/n ）/w", "正文/n 完/v 。/w"]
    found = demo.articles(lines)
    assert [article.text for article in found] == ["标题\n正文。", "另一标题\n（记者）\n正文完。"]
    assert [article.line for article in found] == [0, 3]
    assert demo.articles([]) == []


def test_both_labels_are_in_every_split(tasks: Finished) -> None:
    for split in ("train", "dev", "test"):
        labels = Counter(label for label, _ in reviews(tasks, split))
        assert labels.keys() == {"0", "1"} and min(labels.values()) > 0.3 * labels.total()
        assert tasks.manifest["counts"][split]["sentiment"] == labels.total()
        assert tasks.manifest["counts"][split]["entities"] == len(tagged(tasks, split))


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has no part 'wiki'; it has news, reviews"):
        documents(SourceConfig(name="demo", kind="demo", input=("wiki",)), str(tmp_path))
    with pytest.raises(CorpusError, match="takes one input, the part: news or reviews"):
        documents(SourceConfig(name="demo", kind="demo"), str(tmp_path))


def test_the_evaluation_reads_the_files(tasks: Finished) -> None:
    from workflows.evaluation.tasks import find, load

    assert load(find("sentiment"), tasks.url).labels == ("0", "1")
    entities = load(find("entities"), tasks.url)
    assert entities.labels == ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")
    assert len(entities.test) == len(tagged(tasks, "test"))
