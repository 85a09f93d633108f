"""Evaluation data: both layouts are read, and every malformed file is told by one line."""

import gzip
import lzma
import re
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import TaskError, UserError
from workflows import tasks
from workflows.tasks import Example

REAL = Path(__file__).parents[2] / "shared" / "data" / "tasks"
REVIEWS = 'label\ttext_a\n1\t房间很干净，服务也好。\n0\t太吵了，一夜没睡。\n1\t"好"书\u2028值得一读\n'
NEWS = "海 O\n钓 O\n厦 B-LOC\n门 I-LOC\n\n\n江 B-PER\n泽 I-PER\n民 I-PER\n  O\n说 O\n"


def write(folder: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(folder)


def sentiment(folder: Path, **other: str | bytes) -> str:
    splits: dict[str, str | bytes] = {"train": REVIEWS, "dev": REVIEWS, "test": REVIEWS, **other}
    return write(folder, {f"sentiment/{split}.tsv": content for split, content in splits.items()})


def test_a_review_is_one_token_with_one_label(tmp_path: Path) -> None:
    data = tasks.load(tasks.find("sentiment"), sentiment(tmp_path))
    assert data.labels == ("0", "1")
    assert data.train == (
        Example(("房间很干净，服务也好。",), ("1",)),
        Example(("太吵了，一夜没睡。",), ("0",)),
        Example(('"好"书\u2028值得一读',), ("1",)),
    )


def test_sentences_end_at_blank_lines_and_at_the_end_and_may_hold_a_space(tmp_path: Path) -> None:
    url = write(tmp_path, {f"entities/{split}.txt": NEWS for split in tasks.SPLITS})
    data = tasks.load(tasks.find("entities"), url)
    assert [example.text for example in data.dev] == ["海钓厦门", "江泽民 说"]
    assert data.dev[1].labels == ("B-PER", "I-PER", "I-PER", "O", "O")
    assert data.labels == ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
    assert data.task.metric == "entity_f1"


def test_windows_line_ends_a_mark_at_the_start_and_compression_change_nothing(tmp_path: Path) -> None:
    changed = ("\ufeff" + REVIEWS.replace("\n", "\r\n")).encode()
    folder = tmp_path / "chnsenticorp"
    folder.mkdir()
    (folder / "train.tsv.gz").write_bytes(gzip.compress(changed))
    (folder / "dev.tsv.xz").write_bytes(lzma.compress(changed))
    (folder / "test.tsv").write_bytes(changed)
    data = tasks.load(tasks.find("chnsenticorp"), str(tmp_path))
    assert data.train == data.dev == data.test == tasks.load(tasks.find("sentiment"), sentiment(tmp_path)).train


def test_data_may_lie_behind_any_url() -> None:
    for split in tasks.SPLITS:
        storage.write_bytes(f"memory://evaluation/sentiment/{split}.tsv", REVIEWS.encode())
    assert len(tasks.load(tasks.find("sentiment"), "memory://evaluation").test) == 3


def test_a_limit_takes_the_same_part_of_the_texts_whatever_stands_around_them(tmp_path: Path) -> None:
    rows = [f"{number % 2}\t第{number}条评论" for number in range(60)]
    many = "\n".join(["label\ttext_a", *rows])
    turned = "\n".join(["label\ttext_a", *reversed(rows)])
    url = sentiment(tmp_path, train=many, dev=turned, test=many)
    small = tasks.load(tasks.find("sentiment"), url, limit_train=10, limit_test=20)
    assert (len(small.train), len(small.dev), len(small.test)) == (10, 20, 20)
    assert set(small.train) < set(small.test) == set(small.dev)
    assert list(small.test) == [example for example in tasks.load(tasks.find("sentiment"), url).test if example in small.test]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("text_a\tlabel\n好\t1\n", r"train.tsv: the first line must be 'label\\ttext_a', it is 'text_a\\tlabel'"),
        ("", "the first line must be"),
        ("label\ttext_a\n\n", "no examples"),
        ("label\ttext_a\n1\t好\n0 不好\n", "line 3: want a label, one tab and a text, have '0 不好'"),
        ("label\ttext_a\n1\t好\t坏\n", "line 2: want a label"),
        ("label\ttext_a\n1\t好\n".encode("gb18030"), "not UTF-8 at byte 15"),
    ],
)
def test_a_malformed_classification_file_is_told_by_file_and_line(tmp_path: Path, train: str | bytes, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        tasks.load(tasks.find("sentiment"), sentiment(tmp_path, train=train))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("海 O\n厦 S-LOC\n", "line 2: 'S-LOC' is not a BIO tag"),
        ("海 O\n\n厦\n", "line 3: want a character, a space and a BIO tag, have '厦'"),
        ("\n\n", "no examples"),
    ],
)
def test_a_malformed_tagging_file_is_told_by_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    url = write(tmp_path, {"entities/train.txt": NEWS, "entities/dev.txt": content, "entities/test.txt": NEWS})
    with pytest.raises(TaskError, match=rf"dev.txt.*{message}"):
        tasks.load(tasks.find("entities"), url)


def test_a_missing_file_is_told_with_the_names_looked_for(tmp_path: Path) -> None:
    sentiment(tmp_path)
    (tmp_path / "sentiment" / "dev.tsv").unlink()
    with pytest.raises(TaskError, match=re.escape("none of sentiment/dev.tsv, sentiment/dev.tsv.gz,")):
        tasks.load(tasks.find("sentiment"), str(tmp_path))


def test_a_cut_short_archive_and_a_single_label_are_refused(tmp_path: Path) -> None:
    url = sentiment(tmp_path, train="label\ttext_a\n1\t好\n", dev="label\ttext_a\n1\t好\n", test="label\ttext_a\n1\t好\n")
    with pytest.raises(TaskError, match="the only label is '1'"):
        tasks.load(tasks.find("sentiment"), url)
    (tmp_path / "sentiment" / "train.tsv").unlink()
    (tmp_path / "sentiment" / "train.tsv.gz").write_bytes(gzip.compress(REVIEWS.encode())[:-12])
    with pytest.raises(UserError, match="cut short or damaged"):
        tasks.load(tasks.find("sentiment"), url)


def test_an_unknown_task_is_told_with_the_nearest_name() -> None:
    with pytest.raises(TaskError, match="no task 'sentimant'; did you mean sentiment\\? There are sentiment, entities"):
        tasks.find("sentimant")


@pytest.mark.skipif(not REAL.exists(), reason="the public evaluation sets are not here")
def test_the_public_sets_are_read_whole() -> None:
    reviews = tasks.load(tasks.find("chnsenticorp"), str(REAL))
    assert (len(reviews.train), len(reviews.dev), len(reviews.test)) == (9600, 1200, 1200)
    news = tasks.load(tasks.find("peoples_daily_ner"), str(REAL))
    assert (len(news.train), len(news.dev), len(news.test)) == (20864, 2318, 4636)
    assert news.labels == ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")
