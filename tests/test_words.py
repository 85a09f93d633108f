"""Words: exactly jieba's, by position; and the masking units made of them."""

import itertools
import json
import logging
import lzma
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import jieba
import jieba.finalseg
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import WordsConfig
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.sources import demo
from pipeline.tokenization import words as words_module
from pipeline.tokenization.jieba_words import Dictionary
from pipeline.tokenization.vocab import SPECIALS, Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from pipeline.tokenization.words import (
    LONGEST_UNIT,
    Segmenter,
    unit_starts,
    words_digest,
)
from tests import demo_text
from workflows.progress import Display

SEGMENTER = Segmenter()
CORPORA = Path(__file__).parents[2] / "shared/data/corpora"


def words(text: str, segmenter: Segmenter = SEGMENTER) -> list[str]:
    starts = np.flatnonzero(segmenter.word_starts(text)).tolist()
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def test_words_are_placed_where_they_stand() -> None:
    assert words("北京大学的iPhones很好") == ["北京大学", "的", "iPhones", "很", "好"]


@pytest.fixture(scope="module")
def plain_jieba(tmp_path_factory: pytest.TempPathFactory) -> jieba.Tokenizer:
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    return tokenizer


def jieba_starts(tokenizer: jieba.Tokenizer, text: str) -> npt.NDArray[np.bool_]:
    starts = np.zeros(len(text), np.bool_)
    starts[np.cumsum([0, *map(len, tokenizer.cut(text))])[:-1]] = True
    return starts


def assert_alike(tokenizer: jieba.Tokenizer, text: str, segmenter: Segmenter = SEGMENTER) -> None:
    ours, theirs = segmenter.word_starts(text), jieba_starts(tokenizer, text)
    if (ours != theirs).any():
        place = int(np.flatnonzero(ours != theirs)[0])
        pytest.fail(f"other words than jieba's at {place}: ...{text[max(0, place - 20) : place + 20]!r}...")


def test_words_are_those_of_jieba_with_its_hidden_markov_model(plain_jieba: jieba.Tokenizer) -> None:
    assert_alike(plain_jieba, "\n".join((*demo_text.articles(250), *demo_text.reviews(5_000))))  # 1.7 MB
    assert "杭研" in words("他来到了网易杭研大厦")  # not in the dictionary


def real_texts(name: str) -> list[str]:
    if name == "demo":
        files = [path for part in demo.PARTS for path in demo.files(part)]
        return [line for path in files for line in Path(path).read_text(encoding="utf-8").split("\n")]
    with lzma.open(CORPORA / name, "rt", encoding="utf-8") as file:
        return ["\n".join(value for value in json.loads(line).values() if isinstance(value, str)) for line in file]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["demo", "news/xinwenlianbo.jsonl.xz", "text/laws.jsonl.xz", "text/lctt.jsonl.xz"])
def test_words_are_those_of_jieba_on_all_real_text(plain_jieba: jieba.Tokenizer, name: str) -> None:
    if name != "demo" and not (CORPORA / name).exists():
        pytest.skip(f"{CORPORA / name} is not here")
    texts = real_texts(name)
    for start in range(0, len(texts), 400):
        assert_alike(plain_jieba, "\n".join(texts[start : start + 400]))


@pytest.mark.parametrize(
    ("characters", "longest"), [("a1.-%", 5), ("a1+#&._%-中", 4), ("cC+A.T&-1", 4), ("T恤4S店-.", 4), ("研杭大的一是上\n", 4)]
)
def test_words_are_those_of_jieba_in_every_row_of_some_characters(
    plain_jieba: jieba.Tokenizer, characters: str, longest: int
) -> None:
    rows = ("".join(row) for length in range(1, longest + 1) for row in itertools.product(characters, repeat=length))
    assert_alike(plain_jieba, "\n".join(rows))


def test_words_are_those_of_jieba_around_characters_of_every_block(plain_jieba: jieba.Tokenizer) -> None:
    edges = (0x33FF, 0x3400, 0x4DBF, 0x4DC0, 0x4DFF, 0x4E00, 0x9FD5, 0x9FD6, 0x9FFF, 0xF900, 0xFAFF, 0x20000, 0x2FA1F, 0x30000)
    every = [*edges, *range(0, 0xD800, 97), *range(0xE000, 0x110000, 997)]
    assert_alike(plain_jieba, "\n".join(f"a{chr(point)}{chr(point)}1{chr(point)}京" for point in every))


def test_a_model_of_rounded_numbers_would_cut_here_otherwise(plain_jieba: jieba.Tokenizer) -> None:
    text = "常在矮灌木及小乔木上结群营巢"
    assert words(text) == list(plain_jieba.cut(text))
    assert words(text)[:2] == ["常", "在"]


def written(folder: Path, *lines: str) -> str:
    path = folder / "user.txt"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


USER_WORDS = (
    "\ufeff杭研大厦",
    "云计算 5 n",
    "iPhone6 3",
    "AT-1坦克",
    "北京 0",
    "上结 0",
    "大的 9000000",
    "a-b 2",
    "C·罗",
)


def test_words_of_user_dictionaries_are_found_as_jieba_finds_them(tmp_path: Path) -> None:
    url = written(tmp_path, *USER_WORDS)
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path)
    tokenizer.initialize()
    try:
        tokenizer.load_userdict(url)
        segmenter = Segmenter(WordsConfig(user_dictionary=(url,)))
        assert words("他来到网易杭研大厦搞云计算", segmenter) == ["他", "来到", "网易", "杭研大厦", "搞", "云计算"]
        texts = [*demo_text.articles(60), "他用iPhone6和xiPhone66，AT-1坦克在北京，C·罗a-b-c上结群营巢"]
        assert_alike(tokenizer, "\n".join(texts), segmenter)
        characters = "北京大的上结aiPhone6-"
        assert_alike(tokenizer, "\n".join(map("".join, itertools.product(characters, repeat=3))), segmenter)
    finally:
        jieba.finalseg.Force_Split_Words.clear()  # global in jieba


def test_entries_that_no_text_can_have_are_named(tmp_path: Path) -> None:
    never = ["C·罗", "量子\t1000\tn", "青石 云 计算", "[/白眼]", "ＡＢＣ", "Cafe\u0301", "⼀⼈", "㐂寿", "双 空格", "·"]
    url = written(tmp_path, *never[:-1], "·", *USER_WORDS[:-1], "双字  5 n", "他 3 r", "C++语言", "糖类抗原19-9 9999")
    config = WordsConfig(user_dictionary=(url,))
    named = words_module.never_found(config)
    assert named == [*never[:-1], "双字 "]
    for word in (*never[:-1], "糖类抗原19-9", "C++语言"):
        assert (word in words(f"他说{word}好", Segmenter(config))) == (word not in named), word
    assert words_module.never_found(WordsConfig()) == []


def test_such_entries_are_told_once_however_many_sources_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    counts = dict.fromkeys(("documents", "tokens", "units", "sentences", "unknown"), 1)
    with Display(["tokens_a", "tokens_b"]) as display:
        for source in ("a", "b"):
            manifest = {"stage": f"tokens_{source}", "source": source, "counts": counts, "unknown_characters": {}}
            display.finish(f"tokens_{source}", Finished("", {**manifest, "words_never_found": ["C·罗", "双 字"]}), 1.0)
    told = capsys.readouterr().err
    assert told.count("warning: entries of user dictionaries that no text can have: 'C·罗', '双 字';") == 1


def test_words_of_any_length_are_found(tmp_path: Path) -> None:
    long = "山河" * 100
    assert long in words(f"他说{long}，好", Segmenter(WordsConfig(user_dictionary=(written(tmp_path, f"{long} 9"),))))


def test_a_user_dictionary_leaves_other_segmenters_as_they_were(tmp_path: Path) -> None:
    Segmenter(WordsConfig(user_dictionary=(written(tmp_path, *USER_WORDS),))).word_starts("杭研大厦")
    assert jieba.finalseg.Force_Split_Words == set()
    assert words("他来到网易杭研大厦") == ["他", "来到", "网易", "杭研", "大厦"]


def test_a_user_dictionary_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gbk.txt").write_bytes("云计算\n".encode("gb18030"))
    with pytest.raises(CorpusError, match=r"gbk\.txt.*UTF-8"):
        Dictionary([str(tmp_path / "gbk.txt")])


def test_given_words_are_parted_by_white_space() -> None:
    given = Segmenter(WordsConfig(segmenter="given"))
    assert words("北京大学 的iPhones\u3000很 好\n天", given) == [
        "北京大学",
        " ",
        "的iPhones",
        "\u3000",
        "很",
        " ",
        "好",
        "\n",
        "天",
    ]


def test_another_segmenter_can_be_plugged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plug_in(monkeypatch, tmp_path, "def cut(texts):\n    return [[t[:2], t[2:]] if len(t) > 2 else [t] for t in texts]\n")
    segmenter = Segmenter(WordsConfig(segmenter="my_words:cut"))
    assert words("北京大学\n\n好\n", segmenter) == ["北京", "大学", "\n", "\n", "好", "\n"]
    assert len(segmenter.word_starts("")) == 0


def plug_in(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> None:
    (folder / "my_words.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "my_words", raising=False)
    words_module._imported.cache_clear()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def cut(texts):\n    return [[t[:1]] for t in texts]\n", "do not join to the text '北京大学'"),
        ("def cut(texts):\n    return [['', t] for t in texts]\n", "do not join to the text '北京大学'"),
        ("def cut(texts):\n    return []\n", "0 lists for 1 texts"),
        ("def other(texts): ...\n", "my_words has no cut"),
        ("import nothing_like_it\n", "cannot import my_words .*nothing_like_it"),
        ("def cut(texts)\n", r"my_words fails \(SyntaxError: "),
        ("import sys\nsys.nothing_like_it\n", r"my_words fails \(AttributeError: module 'sys' has no attribute"),
    ],
)
def test_a_plugged_in_segmenter_that_cannot_serve_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, message: str
) -> None:
    plug_in(monkeypatch, tmp_path, source)
    config = WordsConfig(segmenter="my_words:cut")
    with pytest.raises(CorpusError, match=message):
        Segmenter(config).word_starts("北京大学")
    if "my_words" in message:  # before anything is read, too
        with pytest.raises(CorpusError, match=message):
            words_digest(config)


@pytest.mark.parametrize("segmenter", ["ltp", ":cut", "my words:cut", "module:"])
def test_a_name_that_is_no_segmenter_is_refused(segmenter: str) -> None:
    with pytest.raises(ValueError, match="is neither 'jieba' nor 'given' nor a 'module:function'"):
        WordsConfig(segmenter=segmenter)


def test_the_digest_of_words_changes_with_what_decides_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = written(tmp_path, "云计算")
    plug_in(monkeypatch, tmp_path, "def cut(texts): ...\n")
    configs = [
        WordsConfig(),
        WordsConfig(segmenter="given"),
        WordsConfig(user_dictionary=(url,)),
        WordsConfig(segmenter="my_words:cut"),
    ]
    before = [words_digest(config) for config in configs]
    written(tmp_path, "云计算", "杭研大厦")
    plug_in(monkeypatch, tmp_path, "def cut(texts): ...  # other\n")
    after = [words_digest(config) for config in configs]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, False]
    assert len({json.dumps(digest) for digest in before}) == 4
    assert before[0]["version"] == jieba.__version__


def test_an_empty_text_has_no_words() -> None:
    assert len(SEGMENTER.word_starts("")) == 0


ODD = st.sampled_from("他来到网易杭研大厦 \r\n\t\u3000a1.%+#&_-，。\u200b\ud83d") | st.characters()


@settings(max_examples=300, deadline=None)
@given(text=st.text(ODD, min_size=1, max_size=60))
def test_words_are_those_of_jieba_whatever_the_text(plain_jieba: jieba.Tokenizer, text: str) -> None:
    assert words(text) == list(plain_jieba.cut(text))


def test_documents_together_have_the_words_that_each_has_alone() -> None:
    texts = [*demo_text.articles(20), "", "A-1", "%50"]
    together = SEGMENTER.word_starts("\n".join(texts))
    assert together.tolist() == [flag for text in texts for flag in [*SEGMENTER.word_starts(text).tolist(), True]][:-1]


def _words_elsewhere(text: str) -> list[bool]:
    starts: list[bool] = SEGMENTER.word_starts(text).tolist()
    return starts


def test_forked_and_spawned_workers_cut_alike() -> None:
    text = "他来到了网易杭研大厦"
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(_words_elsewhere, (text,)) == _words_elsewhere(text)


def test_segmenting_writes_no_file_and_says_nothing(tmp_path: Path) -> None:
    program = "from pipeline.tokenization.words import Segmenter; Segmenter().word_starts('你好')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout + result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def units(text: str, vocab: Vocab, policy: str = "word") -> list[str]:
    encoded = WordPieceEncoder(vocab, True).encode(text)
    starts = unit_starts(encoded.offsets[:, 0], SEGMENTER.word_starts(text), policy)  # type: ignore[arg-type]
    tokens = [vocab.tokens[number] for number in encoded.ids]
    firsts = np.flatnonzero(starts).tolist()
    return [" ".join(tokens[start:end]) for start, end in zip(firsts, [*firsts[1:], len(tokens)], strict=True)]


VOCAB = Vocab((*SPECIALS, *"北京大学的很好c+", "iphone", "##s", "##p", "##h", "##o"))


def test_tokens_of_a_word_are_a_unit() -> None:
    assert units("北京大学的iPhones很好", VOCAB) == ["北 京 大 学", "的", "iphone ##s", "很", "好"]


def test_single_tokens_are_units_where_asked_for() -> None:
    assert units("北京的iPhones", VOCAB, "token") == ["北", "京", "的", "iphone", "##s"]


def test_unknown_and_removed_characters_do_not_shift_the_words_after_them() -> None:
    assert units("龘北京\u200b的\u0301 北京", VOCAB) == ["[UNK]", "北 京", "的", "北 京"]


def test_a_token_over_several_words_is_one_unit() -> None:
    token_starts = np.array([0, 4, 6])
    word_starts = np.array([True, False, True, False, True, False, False])
    assert unit_starts(token_starts, word_starts).tolist() == [True, True, False]


def test_a_word_that_begins_inside_a_token_makes_the_next_token_a_unit() -> None:
    assert unit_starts(np.array([0, 3]), np.array([True, True, False, False])).tolist() == [True, True]


def test_tokens_of_one_character_are_one_unit() -> None:
    assert unit_starts(np.array([0, 1, 1, 1, 2]), np.array([True, True, True])).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize("length", [LONGEST_UNIT, LONGEST_UNIT + 1, 3 * LONGEST_UNIT + 5])
def test_long_serial_numbers_are_parted(length: int) -> None:
    word_starts = np.zeros(2 + length, np.bool_)
    word_starts[[0, 2]] = True
    firsts = np.flatnonzero(unit_starts(np.arange(2 + length), word_starts)).tolist()
    assert firsts == [0, *range(2, 2 + length, LONGEST_UNIT)]
