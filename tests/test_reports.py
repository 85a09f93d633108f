"""Small inputs after public reports of lost or wrong text: each is read as it should be, or refused with the way on."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jieba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import Kind, SourceConfig, WordsConfig
from pipeline.documents.stage import documents
from pipeline.documents.table import read_part
from pipeline.errors import CorpusError
from pipeline.sources.records import Record
from pipeline.tokenization.vocab import Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from pipeline.tokenization.words import Segmenter, never_found
from tests.commands import prepare, refused
from tests.corpus import REAL
from tests.parts import split_sentences
from tests.reading import bad, config, read

REPORTS = REAL / "reports"
pytestmark = pytest.mark.skipif(not REPORTS.exists(), reason="the small inputs are not here (../shared/data/reports)")

Pairs = list[tuple[str, str]]
"""Titles and texts."""


def content(report: str, name: str = "*") -> bytes:
    (path,) = (REPORTS / report / "input").rglob(name)
    return path.read_bytes()


def json_pairs(rows: list[Any], title: str = "title", text: str = "content") -> Pairs:
    return [(row.get(title) if isinstance(row.get(title), str) else "", row[text]) for row in rows]


def lines(data: str) -> list[str]:
    return [line for line in data.split("\n") if line.strip()]


def arrow() -> Pairs:
    table = pa.ipc.open_stream(content("arrow_save_to_disk", "*.arrow")).read_all()
    return [(row["title"], row["text"]) for row in table.to_pylist()]


def blank() -> Pairs:
    blocks = re.split(r"\n\s*\n", content("blank_u3000").decode().strip())
    return [("", f"{block}\n") for block in blocks]


def posts() -> Pairs:
    return [("", f"{line}\n") for line in lines(content("blank_between_posts").decode())]


def search_dump() -> Pairs:
    rows = map(json.loads, lines(gzip.decompress(content("cirrussearch")).decode()))
    return json_pairs([row for row in rows if "index" not in row], text="text")


def table() -> Pairs:
    rows = csv.DictReader(io.StringIO(content("csv_news").decode(), newline=""))
    return [(row["title"], row["content"]) for row in rows]


def euro() -> Pairs:
    text = content("gbk_euro_80").replace(b"\x80", "€".encode("gb18030")).decode("gb18030")
    assert "€" in text
    return json_pairs([json.loads(line) for line in lines(text)])


def hub() -> Pairs:
    return json_pairs([json.loads(line) for line in lines(content("hub_snapshot", "train*").decode())], text="text")


def concatenated() -> Pairs:
    return json_pairs(json.loads("[" + content("json_concat").decode().replace("}{", "},{").replace("} {", "},{") + "]"))


def paragraphs() -> Pairs:
    rows = [json.loads(line) for line in lines(content("mnbvc_flags").decode())]
    return [("", "\n".join(part["内容"] for part in row["段落"] if not part["是否重复"])) for row in rows]


def binary() -> Pairs:
    rows = pq.read_table(io.BytesIO(content("parquet_binary"))).to_pylist()
    return [(row["title"].decode(), row["content"].decode()) for row in rows]


def sogou() -> Pairs:
    text = content("sogou_dat").decode("gb18030")
    found = re.findall(r"<contenttitle>(.*?)</contenttitle>\s*<content>(.*?)</content>", text, re.DOTALL)
    return [(title, body.replace("\ue40c", "\n")) for title, body in found]


def pages() -> Pairs:
    records = gzip.decompress(content("wet_commoncrawl")).decode().split("WARC/1.0\r\n")
    return [
        ("", body) for head, _, body in (one.rstrip("\r\n").partition("\r\n\r\n") for one in records) if "conversion" in head
    ]


def second_column(report: str) -> Callable[[], Pairs]:
    return lambda: [("", line.split("\t")[1]) for line in lines(content(report).decode())]


READ: dict[str, tuple[Kind, int, Callable[[], Pairs]]] = {
    "arrow_save_to_disk": ("text", 40, arrow),
    "blank_between_posts": ("text", 25, posts),
    "blank_u3000": ("text", 40, blank),
    "cirrussearch": ("wiki", 40, search_dump),
    "csv_news": ("news", 40, table),
    "gbk_euro_80": ("news", 30, euro),
    "hub_snapshot": ("text", 60, hub),
    "huge_int": ("news", 30, lambda: json_pairs(json.loads(content("huge_int"), parse_int=str))),
    "json_concat": ("news", 40, concatenated),
    "mnbvc_flags": ("text", 20, paragraphs),
    "nan_title": ("news", 30, lambda: json_pairs([json.loads(line) for line in lines(content("nan_title").decode())])),
    "numbered_sentences": ("text", 60, second_column("numbered_sentences")),
    "parquet_binary": ("news", 40, binary),
    "sogou_dat": ("news", 40, sogou),
    "tsv_labels": ("text", 60, second_column("tsv_labels")),
    "wet_commoncrawl": ("text", 40, pages),
}


@pytest.mark.parametrize("report", READ)
def test_documents_are_what_the_input_has(report: str) -> None:
    kind, number, expected = READ[report]
    found = read(REPORTS / report / "input", kind=kind)
    assert not bad(found)
    pairs = [(record.title, record.text) for record in found if isinstance(record, Record)]
    assert pairs == expected()
    assert len(pairs) == number
    assert read(REPORTS / report / "input", kind=kind, task_bytes=5_000) == found


REFUSED: dict[str, tuple[Kind, str]] = {
    "bz2_damaged_middle": ("news", r"news\.jsonl\.bz2: the compressed file is cut short or damaged \(.*\); fetch it again"),
    "xz_damaged_middle": ("news", r"news\.jsonl\.xz: the compressed file is cut short or damaged \(.*\); fetch it again"),
    "lfs_pointer": ("news", r"train-00001\.jsonl: a Git LFS pointer, not the file itself; fetch the files: git lfs pull"),
    "html_error_page": ("news", r"part-1\.jsonl\.gz: a web page \(百度网盘\), not the data of its name"),
    "zst_long_window": ("news", r"unpack it first: zstd -d --long=31 /\S*news\.jsonl\.zst"),
}


@pytest.mark.parametrize("report", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, report: str) -> None:
    kind, message = REFUSED[report]
    line = refused(prepare("--corpus", kind, "--input", REPORTS / report / "input", output=tmp_path))
    assert re.search(message, line)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    done = documents(config(REPORTS / "hub_snapshot/input"), str(tmp_path))
    skipped = ("LICENSE.txt", "README.md", "dataset_infos.json")
    assert done.manifest["input_files"] == {"JSON lines": 1, **{f"skipped: {name}": 1 for name in skipped}}
    done = documents(config(REPORTS / "mnbvc_flags/input"), str(tmp_path))
    rows = [json.loads(line) for line in lines(content("mnbvc_flags").decode())]
    marked = sum(len(part["内容"]) for row in rows for part in row["段落"] if part["是否重复"])
    assert done.manifest["left_out"] == {"marked duplicates": marked} and marked == 460
    done = documents(config(REPORTS / "cirrussearch/input", kind="wiki"), str(tmp_path))
    assert done.manifest["skipped"] == {"index line": 40}
    done = documents(config(REPORTS / "wet_commoncrawl/input"), str(tmp_path))
    assert done.manifest["skipped"] == {"WARC warcinfo": 1}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("report", ["csv_news", "json_concat", "sogou_dat", "tsv_labels", "arrow_save_to_disk", "blank_u3000"])
def test_compressed_they_are_the_same(tmp_path: Path, report: str, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "f").write_bytes(pack(content(report, "*.arrow" if report.startswith("arrow") else "*")))
    found = [(record.title, record.text) for record in read(tmp_path / "f", kind="news") if isinstance(record, Record)]
    assert found == READ[report][2]()


def test_a_copy_that_is_cut_short_is_never_read_in_part_without_a_word(tmp_path: Path) -> None:
    data = content("arrow_save_to_disk", "*.arrow")
    for cut in (len(data) - 1, len(data) - 8, len(data) // 2):
        (tmp_path / "f").write_bytes(data[:cut])
        with pytest.raises(CorpusError, match="the Arrow file is cut short or damaged"):
            read(tmp_path / "f")


ENTITIES = (
    ("他说", " 这很好。"),
    ("第一段\n河水", ""),
    ("北京 上海 广州他", ""),
    ("价格 低\n电梯", ""),
    ("“你好”电梯", ""),
    ("AT&T公司他", ""),
    ("a<b且c>d站长", ""),
    ("中国人民镇南", ""),
    ("中国人民电梯", ""),
    ("首行缩进图书馆", ""),
)
"""How the documents begin, in the order of the file."""


def cleaned(folder: Path, report: str, kind: Kind, **settings: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the manifest of a report's documents, and their texts in the order of the input."""
    (path,) = (path for path in (REPORTS / report / "input").rglob("*") if path.is_file())
    done = documents(SourceConfig(name="t", kind=kind, input=(str(path),), **settings), str(folder))
    found = [row for entry in done.files("part-") for row in read_part(done, entry["name"]).to_pylist()]
    found.sort(key=lambda row: int(row["origin"].rpartition("#")[2]))
    return done.manifest, [row["text"] for row in found]


def test_entities_become_their_characters(tmp_path: Path) -> None:
    manifest, texts = cleaned(tmp_path, "entities_double", "news")
    assert len(texts) == len(ENTITIES) and manifest["changed"] == {"html": len(ENTITIES)}
    for text, (start, more) in zip(texts, ENTITIES, strict=True):
        assert text.startswith(start + more)
    assert not re.search("&[a-z#]|&$", "".join(texts).replace("AT&T", ""))


def test_escapes_become_what_they_mean_and_are_counted(tmp_path: Path) -> None:
    manifest, texts = cleaned(tmp_path, "escaped_twice", "news")
    rows = [json.loads(line)["content"] for line in content("escaped_twice").decode().splitlines()]
    assert manifest["changed"] == {"escapes": len(rows)}
    assert texts == [json.loads(f'"{row}"') for row in rows]
    assert "\n有一次她发现地图上少画了一座桥，" in texts[0]


def test_sentences_end_at_ascii_full_stops(tmp_path: Path) -> None:
    _, texts = cleaned(tmp_path, "ascii_full_stop", "text")
    for text in texts:
        assert split_sentences(text) == [f"{part}." for line in text.split("\n") for part in line.rstrip(".").split(".")]


def test_radicals_become_ideographs_that_a_vocabulary_has(tmp_path: Path) -> None:
    manifest, texts = cleaned(tmp_path, "kangxi_pdf", "news")
    assert manifest["changed"] == {"compatibility": len(texts)}
    assert texts[0].startswith("他带回来的照片里有一艘白色的渡轮，停在雾蒙蒙的港口。冬天第一场雪落下的时候，孩子们会在晒谷场上")
    vocab = Vocab.from_bytes((REAL / "vocab/vocab.txt").read_bytes(), "vocab.txt")
    assert WordPieceEncoder(vocab, True).encode("\n".join(texts)).unknown == 0


ODD = (
    "家庭👨\u200d👩\u200d👧\u200d👦出游。",
    "彩虹旗🏳\u200d🌈飘扬。",
    "女医生👩🏽\u200d⚕值班。",
    "葛饰区的葛字。",
    "辻村。",
    "第1\u20e3名。",
    "𠮷野家和𡈽田。",
    "𰻝𰻝面很好吃。",
    "㐂寿庆典。",
    "龦䶮",
    "\ufa11县与神。",
    "零宽空格。",
    "倒序。",
    "Ａ１２３全角。",
    "½⅓①Ⅳ。",
)


def test_odd_characters_go_or_stay_whole(tmp_path: Path) -> None:
    _, texts = cleaned(tmp_path, "unicode_odd", "news")
    for text, start in zip(texts, ODD, strict=False):
        assert text.startswith(start), text


def test_words_of_a_user_dictionary_are_those_of_jieba(tmp_path: Path) -> None:
    config = WordsConfig(user_dictionary=(str(REPORTS / "jieba_userdict" / "terms.txt"),))
    text = content("jieba_userdict").decode()
    starts = np.flatnonzero(Segmenter(config).word_starts(text)).tolist()
    words = [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path)
    tokenizer.initialize()
    tokenizer.load_userdict(config.user_dictionary[0])
    assert words == list(tokenizer.cut(text))
    assert {"糖类抗原19-9", "C++语言", "iPhone套装"} <= {*words}
    assert never_found(config) == ["迈克·青石", "阿尔伯特·山河", "量子纠缠器\t1000\tn", "[/白眼]", "青石 云 计算"]


def test_lines_of_poems_and_songs_stay(tmp_path: Path) -> None:
    manifest, texts = cleaned(tmp_path, "poem_lyrics", "news")
    rows = [json.loads(line)["text"] for line in content("poem_lyrics").decode().splitlines()]
    assert texts == [re.sub(r"\n+", "\n", row) for row in rows] and manifest["changed"] == {}
