"""Subtitles, lyrics, front matter and wrapped arrays are read; YAML and records without names are refused by name."""

import gzip
import json
import lzma
from pathlib import Path

import pytest

from pipeline.errors import CorpusError
from pipeline.sources.formats.detection import detect_format
from pipeline.sources.records import Bad, Record
from tests.reading import read, read_data

SRT = (
    "1\r\n00:00:01,600 --> 00:00:04,200\r\n<i>你去哪儿？</i>\r\n\r\n"
    "2\r\n00:00:05,900 --> 00:00:07,999\r\n去图书馆，\r\n2点回来。\r\n"
)
VTT = (
    "WEBVTT - 片\nKind: captions\n\nNOTE\n注\n\nSTYLE\n::cue {}\n\n"
    "00:01.600 --> 00:04.200 align:start\n<v 甲>你去哪儿？</v>\n\n"
    "id\n00:05.900 --> 00:07.999\n去图书馆，\n2点回来。\n"
)
ASS = (
    "[Script Info]\nTitle: 片\n\n[V4+ Styles]\nStyle: 默认,黑体\n\n[Events]\nFormat: Layer, Start\n"
    "Dialogue: 0,0:00:01.60,0:00:04.20,默认,,0,0,0,,{\\an8}你去哪儿？\n"
    "Dialogue: 0,0:00:05.90,0:00:07.99,默认,,0,0,0,,去图书馆，\\N2点回来。\n"
)
LRC = "[ti:城里的月光]\n[ar:某人]\n[00:00.00]\n[00:12.50][01:12.50]每颗心上某一个地方\n[00:18.00]<00:18.10>总有个记忆挥不散\n"


@pytest.mark.parametrize("text", [SRT, VTT, ASS], ids=["srt", "vtt", "ass"])
def test_subtitles_are_what_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_bytes(text.encode("utf-8"))
    assert detect_format(str(tmp_path / "f")).kind == "subtitles"
    assert read(tmp_path / "f") == [Record("f#0", "", "你去哪儿？\n去图书馆，\n2点回来。")]


def test_lyrics_are_what_is_sung(tmp_path: Path) -> None:
    assert read_data(tmp_path / "f", LRC.encode("gb18030")) == [
        Record("f#0", "城里的月光", "每颗心上某一个地方\n总有个记忆挥不散")
    ]
    assert detect_format(str(tmp_path / "f")).kind == "lyrics"
    chat = "[12:30:45] 甲：你好。\n[12:31:02] 乙：你好。\n"
    (tmp_path / "chat").write_text(chat, encoding="utf-8")
    assert detect_format(str(tmp_path / "chat")).kind not in ("lyrics", "subtitles")


@pytest.mark.parametrize("heading", ["", "# 北京\n\n"])
@pytest.mark.parametrize(
    "facts", ['---\ntitle: "北京"\ndate: 2024-01-02\ntags:\n  - 城市\n---\n', "+++\ntitle = '北京'\n+++\n"]
)
def test_front_matter_is_no_text(tmp_path: Path, facts: str, heading: str) -> None:
    (found,) = read_data(tmp_path / "f", f"{facts}\n{heading}北京是首都。\n\n它很大。\n".encode())
    assert isinstance(found, Record) and (found.title, found.text) == ("北京", "北京是首都。\n\n它很大。\n")
    (found,) = read_data(tmp_path / "g", json.dumps({"text": f"{facts}北京是首都。"}).encode() + b"\n")
    assert isinstance(found, Record) and (found.title, found.text) == ("北京", "北京是首都。")


def test_a_line_of_dashes_is_no_front_matter(tmp_path: Path) -> None:
    text = "---\n北京是首都。\n---\n它很大。\n"
    (found,) = read_data(tmp_path / "f", text.encode())
    assert isinstance(found, Record) and "北京是首都" in found.text


@pytest.mark.parametrize(
    "wrapper",
    [
        '{{"version": "1.1", "data": {}}}',
        '{{\n  "code": 0,\n  "message": "ok",\n  "items": {},\n  "next": [1, 2]\n}}\n',
        '{{"took": 3, "_shards": {{"total": 5, "failed": 0}}, "hits": {{"total": 2, "max_score": null, "hits": {}}}}}',
    ],
)
@pytest.mark.parametrize("hits", [False, True])
def test_records_in_a_wrapped_array_are_records(tmp_path: Path, wrapper: str, hits: bool) -> None:
    records = [{"title": "甲", "content": "一]}。"}, {"title": "乙", "content": "二。"}]
    items = [{"_index": "n", "_id": str(number), "_source": one} for number, one in enumerate(records)] if hits else records
    text = wrapper.format(json.dumps(items, ensure_ascii=False))
    assert read_data(tmp_path / "f", text.encode()) == [Record("f#0", "甲", "一]}。"), Record("f#1", "乙", "二。")]


def test_a_wrapped_array_may_be_cut_short_or_hold_something_bad(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cut short; fetch it again"):
        read_data(tmp_path / "f", '{"data": [{"text": "一。"}, '.encode())
    first, bad, last = read_data(tmp_path / "g", '{"data": [{"text": "一。"}, {"text": x}, {"text": "三。"}]}'.encode())
    assert isinstance(first, Record) and isinstance(bad, Bad) and isinstance(last, Record) and last.text == "三。"


def test_a_record_with_a_list_of_its_own_is_one_record(tmp_path: Path) -> None:
    text = '{"content": "正文。", "items": [{"name": "甲"}]}\n'
    assert read_data(tmp_path / "f", text.encode()) == [Record("f#0", "", "正文。")]


def test_lines_of_a_dump_of_elasticsearch(tmp_path: Path) -> None:
    line = json.dumps(
        {"_index": "news", "_type": "_doc", "_id": "1", "_score": 1, "_source": {"title": "题", "content": "文。"}}
    )
    assert read_data(tmp_path / "f", f"{line}\n{line}\n".encode())[0] == Record("f#0", "题", "文。")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["题", "正文一。"]\n["题", "正文二。"]\n', "arrays of values without names"),
        ('["题", "正文一。", 3]\n["题", "正文二。", null]\n', "arrays of values without names"),
        ('[["题", "正文一。"], ["题", "正文二。"]]', "arrays of values without names"),
        ("- title: 题\n  text: 正文。\n- title: 题\n  text: 正文。\n", "YAML"),
        ("---\nversion: 3\nitems:\n  - 正文。\n  - 又一句。\n", "YAML"),
        ("intents:\n- 问候\n- 告别\nresponses:\n  utter:\n  - text: 你好。\n", "YAML"),
    ],
)
def test_structured_text_that_is_not_read_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=reason):
        read_data(tmp_path / "f", text.encode())


def test_a_length_of_too_many_digits_is_damage(tmp_path: Path) -> None:
    page = f"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: {'9' * 5_000}\r\n\r\n今天北京下雨。"
    with pytest.raises(CorpusError, match="damaged or cut short in the record at byte 0"):
        read_data(tmp_path / "f", page.encode())


@pytest.mark.parametrize(
    "text",
    [
        '["一。", "二。"]',
        '<?xml version="1.0"?>\n' + "<!-- x -->\n" * 40 + "今天北京下雨。\n",
        "Tom: 你好。\nJerry: 你好。\nTom: 再见。\n",
        "- iOS: 苹果的系统。\n- Android: 谷歌的系统。\n- Linux: 内核。\n",
    ],
)
def test_what_looks_alike_is_read(tmp_path: Path, text: str) -> None:
    assert read_data(tmp_path / "f", text.encode())


def test_a_file_packed_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.gz.xz").write_bytes(lzma.compress(gzip.compress("北京是首都。\n".encode())))
    with pytest.raises(CorpusError, match=r"f\.gz\.xz: packed twice \(gz inside xz\); unpack it once first"):
        detect_format(str(tmp_path / "f.gz.xz"))
