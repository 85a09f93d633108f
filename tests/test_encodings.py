"""GB18030 as browsers decode it: the euro sign of Windows, and characters that Python leaves in the private use area."""

import json
from pathlib import Path

import pytest

from pipeline.sources.formats import encodings
from pipeline.sources.formats.encodings import Encoding, is_blank
from tests.reading import bad, read_data, texts

PROSE = "北京大学的学生在图书馆里学习，他们不是第一次来。"
STANDARD = {
    # encoding.spec.whatwg.org, index gb18030 and index gb18030 ranges
    "80": "€", "a2e3": "€", "a3a0": "\u3000", "a8bc": "ḿ", "8135f437": "\ue7c7",
    "a6d9": "\ufe10", "a6df": "\ufe16", "a6ed": "\ufe18", "a6f3": "\ufe19",
    "fe59": "龴", "fe61": "龵", "fe66": "龶", "fe67": "龷", "fe6d": "龸", "fe7e": "龹", "fe90": "龺", "fea0": "龻",
    "82359037": "龴", "84318236": "\ufe10", "aaa1": "\ue000", "b5c4": "的", "95328236": "\U00020000", "ff": None,
}  # fmt: skip


@pytest.mark.parametrize("code", STANDARD)
@pytest.mark.parametrize("layout", ["JSON lines", "JSON values", "documents"])
def test_bytes_are_the_characters_of_the_standard(tmp_path: Path, code: str, layout: str) -> None:
    before, data, after = (PROSE.encode("gb18030"), bytes.fromhex(code), "，价格上涨。".encode("gb18030"))
    record = b'{"text": "' + before + data + after + b'"}'
    good = json.dumps({"text": PROSE}, ensure_ascii=False).encode("gb18030")
    whole = {
        "JSON lines": b"\n".join((good, record, good)),
        "JSON values": b"[" + b",\n".join((good, record, good)) + b"]",
        "documents": b"\n\n".join((before, before + data + after, before)),
    }[layout]
    expected, found = STANDARD[code], read_data(tmp_path / "f", whole)
    if expected is None:
        assert [one.reason for one in bad(found)] == ["not GB18030"]
        assert len(texts(found)) == 2
    else:
        assert [text.strip() for text in texts(found)] == [PROSE, f"{PROSE}{expected}，价格上涨。", PROSE]


def test_a_mark_in_the_middle_of_joined_files_is_no_text(tmp_path: Path) -> None:
    mark = encodings.BOM
    lines = json.dumps({"text": PROSE}, ensure_ascii=False).encode() + b"\n"
    for data in (mark + lines + mark + lines, f"\ufeff{PROSE}\n\n\ufeff{PROSE}\n\n\ufeff\n{PROSE}\n".encode()):
        assert {text.strip() for text in texts(read_data(tmp_path / "f", data))} == {PROSE}


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_blank_lines_are_white_space_of_any_kind(encoding: Encoding) -> None:
    for blank in ("\n", " \t\r\n", "\u3000\u3000\n", "\u00a0\n", " \u3000 \u2003\n", "\u200b\n", "\ufeff\n", "\u2028\n"):
        assert is_blank(blank.encode(encoding), encoding), ascii(blank)
    for line in ("字\n", "\u3000字\n", " 。\n", "\u3000-\n", "\u00a0\u3000一"):
        assert not is_blank(line.encode(encoding), encoding), line
