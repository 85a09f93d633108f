"""Evaluation data: all file formats are read, and every malformed file is reported in one line."""

import gzip
import json
import lzma
import re
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import TaskError, UserError
from workflows.evaluation import tasks
from workflows.evaluation.examples import Example
from workflows.evaluation.formats.tags import columns, read_conll

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


def test_a_review_is_one_item_with_one_label(tmp_path: Path) -> None:
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
    assert data.kind.metrics == ("entity_f1", "token_f1")


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
        ("text\tlabel\n好\t1\n", r"train.tsv: the first line must name text_a, it is \['text', 'label'\]"),
        ("text_a\ttext_b\n好\t坏\n", "train.tsv, line 2: no label in label"),
        ("", "no examples"),
        ("label\ttext_a\n\n", "no examples"),
        ("label\ttext_a\n1\t好\n0 不好\n", r"line 3: expected 2 fields separated by tabs, got \['0 不好'\]"),
        ("label\ttext_a\n1\t好\t坏\n", "line 2: expected 2 fields"),
        ("label\ttext_a\n1\t \n", "line 2: field text_a is empty"),
        ("label\ttext_a\n\t好\n", "line 2: no label in label"),
        ("label\ttext_a\n1\t好\n".encode("gb18030"), "not UTF-8 at byte 15"),
    ],
)
def test_a_malformed_classification_file_is_reported_by_file_and_line(tmp_path: Path, train: str | bytes, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        tasks.load(tasks.find("sentiment"), sentiment(tmp_path, train=train))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("海 O\n厦 X-LOC\n", "line 2: 'X-LOC' is not a BIO tag"),
        ("海 O\n\n厦\n", "line 3: expected a character, a space and a BIO tag, got '厦'"),
        ("\n\n", "no examples"),
    ],
)
def test_a_malformed_tagging_file_is_reported_by_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    url = write(tmp_path, {"entities/train.txt": NEWS, "entities/dev.txt": content, "entities/test.txt": NEWS})
    with pytest.raises(TaskError, match=rf"dev.txt.*{message}"):
        tasks.load(tasks.find("entities"), url)


def test_whether_a_file_has_tags_is_what_its_first_item_says(tmp_path: Path) -> None:
    url = write(tmp_path, {"test.txt": "\n海\n钓\n\n厦\n"})
    found = list(read_conll(tasks.find("entities"), f"{url}/test.txt"))
    assert [(one.items, one.place, one.has_label) for one in found] == [
        *((("海", "钓"), "line 2", False), (("厦",), "line 5", False)),
    ]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("海 O", ("海", "O")),
        ("海\t \tB-PER", ("海", "B-PER")),
        ("  O", (" ", "O")),
        ("\t O", ("\t", "O")),
        ("New York B-LOC", ("New York", "B-LOC")),
        ("\u3000 O", ("\u3000", "O")),
        (" O", None),
        ("O", ("O", None)),  # a file without tags
        ("New", None),
        ("海 O ", None),
        ("", None),
        ("海\u3000O", None),
        (" " * 200_000, None),
        ("a" + " \t" * 100_000 + "O", ("a", "O")),
    ],
)
def test_a_line_has_an_item_and_a_tag(line: str, parts: tuple[str, str] | None) -> None:
    """However long its white space is: a pattern that goes back and forth would hang."""
    assert columns(tasks.find("entities"), line) == parts


PAIRS = "text_a\ttext_b\tlabel\n" + "".join(f"谁有第{n}张图\t第{n}张图谁有\t{n % 2}\n" for n in range(60))


def ocnli(count: int, label: str = "neutral") -> str:
    rows = [{"sentence1": f"第{n}句话", "sentence2": "他没睡。", "label": label if n else "entailment"} for n in range(count)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_a_pair_is_two_items_with_one_label(tmp_path: Path) -> None:
    files = {f"lcqmc/{split}.tsv": PAIRS for split in tasks.SPLITS}
    data = tasks.load(tasks.find("lcqmc"), write(tmp_path, {**files}))
    assert data.train[1] == Example(("谁有第1张图", "第1张图谁有"), ("1",))
    assert (len(data.train), data.labels, data.note, data.kind.metrics) == (60, ("0", "1"), "", ("accuracy",))


def test_columns_of_pairs_are_found_by_their_names_and_one_label_has_two_words(tmp_path: Path) -> None:
    train = "premise\thypo\tlabel\n他睡了。\t他没睡。\tcontradictory\n他睡了。\t他累。\tneutral\n"
    other = "label\ttext_b\ttext_a\ncontradiction\t他没睡。\t他睡了。\n"
    files = {"xnli/multinli.train.zh.tsv": train, "xnli/dev.tsv": other, "xnli/test.tsv": other}
    data = tasks.load(tasks.find("xnli"), write(tmp_path, {**files}))
    assert data.train[0] == data.dev[0] == data.test[0] == Example(("他睡了。", "他没睡。"), ("contradiction",))


def test_without_a_labelled_test_dev_is_scored_and_a_part_of_train_is_chosen_by(tmp_path: Path) -> None:
    dev = ocnli(5) + '{"sentence1": "啊", "sentence2": "哦", "label": "-"}\n'
    url = write(tmp_path, {"ocnli/train.10k.json.gz": gzip.compress(ocnli(500).encode()), "ocnli/dev.json": dev})
    data = tasks.load(tasks.find("ocnli"), url)
    assert len(data.test) == 5 and data.note == "test: dev.json; dev: 10% of train.10k.json.gz; left out: 1 labelled '-'"
    assert len(data.train) + len(data.dev) == 500 and 30 < len(data.dev) < 80
    assert not set(data.train) & set(data.dev)
    write(tmp_path, {"ocnli/train.50k.json": ocnli(600)})
    larger = tasks.load(tasks.find("ocnli"), url)
    assert len(larger.train) > 500 and set(data.dev) <= set(larger.dev)


def test_all_pairs_of_a_premise_fall_on_one_side(tmp_path: Path) -> None:
    rows = [f"前提{n}\t第{k}个假设\t{k}" for n in range(100) for k in range(3)]
    table = "\n".join(["text_a\ttext_b\tlabel", *rows])
    data = tasks.load(tasks.find("xnli"), write(tmp_path, {"xnli/dev.tsv": table, "xnli/test.tsv": PAIRS}))
    sides = [{example.items[0] for example in split} for split in (data.train, data.dev)]
    assert data.note == "train: 90% of dev.tsv" and not sides[0] & sides[1] and len(sides[0]) + len(sides[1]) == 100


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lcqmc/dev.tsv", "问题\t问题2\t标签\n好\t坏\t1\n", "line 1: label '标签' is none of `labels`: 0, 1"),
        ("lcqmc/dev.tsv", "text_a\tpremise\ttext_b\tlabel\n", "the first line must name"),
        ("lcqmc/dev.tsv", "text_a\ttext_b\tlabel\n好\t1\n", r"line 2: expected 3 fields separated by tabs, got \['好"),
        ("lcqmc/dev.tsv", "text_a\ttext_b\tlabel\n好\t \t1\n", "line 2: field .* is empty"),
        ("ocnli/dev.json", '{"sentence1": "好", "sentence2": "坏", "label": "-"}\n', "no examples"),
        ("lcqmc/dev.tsv", "text_a\ttext_b\tlabel\n好\t坏\t1\n", "too few examples to set 10% of them aside as dev"),
        ("ocnli/dev.json", '{"sentence1": "好"\n', "line 1: not JSON"),
        ("ocnli/dev.json", '\n["好", "坏"]\n', "entry 1: expected a JSON object"),
        ("ocnli/dev.json", '{"sentence1": "好", "sentence2": "坏"}\n', "line 1: no label in label"),
        ("ocnli/dev.json", '{"sentence1": 1, "sentence2": "坏", "label": "a"}\n', "line 1: field sentence1 must be a text"),
    ],
)
def test_a_malformed_file_of_pairs_is_reported_by_file_and_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    files = {"lcqmc/dev.tsv": PAIRS, "lcqmc/test.tsv": PAIRS, "ocnli/train.50k.json": ocnli(100), "ocnli/dev.json": ocnli(5)}
    url = write(tmp_path, {**files, name: content})
    with pytest.raises(TaskError, match=rf"{name}.*{message}") as caught:
        tasks.load(tasks.find(name.split("/")[0]), url)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_reported_with_the_expected_names(tmp_path: Path) -> None:
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


def test_an_unknown_task_is_reported_with_the_nearest_name() -> None:
    with pytest.raises(TaskError, match="no task 'sentimant'; did you mean sentiment\\? There are sentiment, entities"):
        tasks.find("sentimant")


@pytest.mark.skipif(not REAL.exists(), reason="the public evaluation sets are not here")
def test_the_public_sets_are_read_whole() -> None:
    reviews = tasks.load(tasks.find("chnsenticorp"), str(REAL))
    assert (len(reviews.train), len(reviews.dev), len(reviews.test)) == (9600, 1200, 1200)
    news = tasks.load(tasks.find("peoples_daily_ner"), str(REAL))
    assert (len(news.train), len(news.dev), len(news.test)) == (20864, 2318, 4636)
    assert news.labels == ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")
    assert [len(split) for split in _splits("ocnli")] == [8840, 1145, 2950]
    assert [len(split) for split in _splits("lcqmc")] == [7910, 892, 12500]
    assert [len(split) for split in _splits("xnli")] == [2199, 291, 5010]


def _splits(name: str) -> tuple[tuple[Example, ...], ...]:
    data = tasks.load(tasks.find(name), str(REAL))
    return data.train, data.dev, data.test
