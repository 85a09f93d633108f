"""CSV and TSV: recognised, their text found by header, number or content, and rows never read as prose."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import CorpusError
from pipeline.sources.formats.detection import classify, detect_format
from pipeline.sources.records import Bad, Record
from tests.corpus import sentences
from tests.reading import bad, read, read_data, texts

SENTENCES = [*dict.fromkeys(sentences(7, 300))]
CUT = 40


def written(rows: list[list[str]], delimiter: str = ",", **more: Any) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, **more).writerows(rows)
    return buffer.getvalue().encode()


NEWS = [[str(number), f"标题{number}", f'第一段，{text}\n“引”"号"。', "体育"] for number, text in enumerate(SENTENCES[:CUT])]
EXPECTED = [(row[1], row[2]) for row in NEWS]


def pairs(found: list[Record | Bad]) -> list[tuple[str, str]]:
    return [(record.title, record.text) for record in found if isinstance(record, Record)]


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("before", ["", "\ufeff"])
def test_csv_with_quoted_line_breaks(tmp_path: Path, line_end: str, delimiter: str, before: str) -> None:
    data = written([["id", "title", "content", "label"], *NEWS], delimiter, lineterminator=line_end)
    found = read_data(tmp_path / "f", before.encode() + data)
    assert pairs(found) == EXPECTED and not bad(found)
    assert found[0].origin == f"f#{(before.encode() + data).index(b'0' + delimiter.encode())}"
    assert detect_format(str(tmp_path / "f")).kind == ("TSV" if delimiter == "\t" else "CSV")


def test_a_declared_delimiter_and_quotes_everywhere(tmp_path: Path) -> None:
    for delimiter in (";", "|", ","):
        data = written([["序号", "Title", "Content", "类"], *NEWS], delimiter, quoting=csv.QUOTE_ALL)
        assert pairs(read_data(tmp_path / "f", f"sep={delimiter}\r\n".encode() + data)) == EXPECTED


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_csv_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    data = written([["id", "title", "content", "label"], *NEWS]).decode().encode(encoding)
    assert pairs(read_data(tmp_path / "f", data)) == EXPECTED


def test_the_index_that_pandas_writes_and_its_values_that_are_none(tmp_path: Path) -> None:
    rows = [["", "title", "content"], *([str(n), "nan" if n % 2 else "题", text] for n, text in enumerate(SENTENCES[:9]))]
    assert pairs(read_data(tmp_path / "f", written(rows))) == [
        ("" if number % 2 else "题", text) for number, text in enumerate(SENTENCES[:9])
    ]


LABELS = ("体育", "财经", "教育", "科技")
HEADERLESS: dict[str, list[list[str]]] = {
    "label and text": [[LABELS[n % 4], text * 3] for n, text in enumerate(SENTENCES[:CUT])],
    "few rows": [[LABELS[n], text] for n, text in enumerate(SENTENCES[:3])],
    "number and sentence": [[str(n + 1), text] for n, text in enumerate(SENTENCES[:CUT])],
    "text before label": [[text, "1" if n % 2 else "-1"] for n, text in enumerate(SENTENCES[:CUT])],
    "address, date, text": [[f"http://a/{n}", f"2019-07-{n % 28 + 1:02}", text] for n, text in enumerate(SENTENCES[:CUT])],
    "hash and text": [[f"{n:032x}", text] for n, text in enumerate(SENTENCES[:CUT])],
}


@pytest.mark.parametrize("name", HEADERLESS)
@pytest.mark.parametrize("delimiter", ["\t", "_!_"])
def test_labels_numbers_and_addresses_are_no_text(tmp_path: Path, name: str, delimiter: str) -> None:
    rows = HEADERLESS[name]
    column = next(column for column in range(len(rows[0])) if rows[0][column] in SENTENCES[0] * 3 and len(rows[0][column]) > 5)
    data = "".join(f"{delimiter.join(row)}\n" for row in rows).encode()
    if delimiter == "_!_" and not re.search("number|address|hash|before", name):
        return  # only tabs are enough to tell a table
    found = read_data(tmp_path / "f", data)
    assert texts(found) == [row[column] for row in rows] and not bad(found)
    if name == "number and sentence" and delimiter == "\t":
        for cut in range(1, len(data), 97):
            assert read_data(tmp_path / "f", data, cut) == found


@pytest.mark.parametrize("header", ["label\ttext_a", "label\treview", "类别\ttext", "序号\t评论"])
def test_a_header_is_no_row(tmp_path: Path, header: str) -> None:
    rows = [f"{n % 3}\t{text}" for n, text in enumerate(SENTENCES[:CUT])]
    assert texts(read_data(tmp_path / "f", "\n".join([header, *rows]).encode())) == SENTENCES[:CUT]


PAIRS = "text_a\ttext_b\tlabel\n" + "".join(f"{a}\t{b}\t1\n" for a, b in zip(SENTENCES[:9], SENTENCES[9:18], strict=True))


def test_where_no_column_can_be_chosen_the_error_says_how(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError,
        match=r"f: a table, and several of its columns may be the text \(--text-field text_a --text-field text_b\); "
        "name the right ones by header or number; the columns are 1 text_a, 2 text_b, 3 label$",
    ):
        read_data(tmp_path / "f", PAIRS.encode())
    both = [f"{a}\n{b}" for a, b in zip(SENTENCES[:9], SENTENCES[9:18], strict=True)]
    for names in (("text_a", "text_b"), ("1", "2"), ("text_a", "2")):
        assert texts(read_data(tmp_path / "f", PAIRS.encode(), text_field=names)) == both
    headerless = PAIRS.partition("\n")[2].encode()
    with pytest.raises(CorpusError, match=r"--text-field 1 --text-field 2\)"):
        read_data(tmp_path / "f", headerless)
    assert texts(read_data(tmp_path / "f", headerless, text_field=("2",))) == SENTENCES[9:18]
    with pytest.raises(CorpusError, match="no column 4; name it with --text-field; the columns are 1, 2, 3"):
        read_data(tmp_path / "f", headerless, text_field=("4",))
    with pytest.raises(CorpusError, match=r"none of its columns is text \(--text-field 1\)"):
        read_data(tmp_path / "f", b"1\t2\n3\t4\n5\t6\n")


def test_a_bad_row_costs_itself(tmp_path: Path) -> None:
    rows = [f"{number},{text}" for number, text in enumerate(SENTENCES[:CUT])]
    wrong = {9: '9,"从不合上的引号', 20: "20,多,了", 25: '25,"引号"后面还有', 30: "30"}
    for number, line in wrong.items():
        rows[number] = line
    data = "id,text\n" + "\n".join(rows) + "\n"
    found = read_data(tmp_path / "f", data.encode())
    expected = [*SENTENCES[:CUT]]
    expected[9], expected[25] = '"从不合上的引号', '"引号"后面还有'
    assert texts(found) == [text for number, text in enumerate(expected) if number not in (20, 30)]
    assert [one.reason for one in bad(found)] == ["a row of 3 columns, not 2", "a row of 1 columns, not 2"]
    spoilt = "\n".join(rows[:9]).encode() + b"\n9,\xff\xfe\n" + "\n".join(rows[31:]).encode()
    found = read_data(tmp_path / "f", spoilt)
    assert [one.reason for one in bad(found)] == ["not UTF-8"]
    assert len(texts(found)) == 9 + CUT - 31


def test_commas_without_quotes_cost_their_rows_below_a_known_header(tmp_path: Path) -> None:
    rows = [f"标题{n},{text}{'共1,234人。' if n % 3 == 0 else ''}" for n, text in enumerate(SENTENCES[:CUT])]
    found = read_data(tmp_path / "f", "\n".join(["title,content", *rows]).encode(), kind="news")
    assert pairs(found) == [(f"标题{n}", text) for n, text in enumerate(SENTENCES[:CUT]) if n % 3]
    assert {one.reason for one in bad(found)} == {"a row of 3 columns, not 2"}
    assert len(found) == CUT


def test_tabs_in_the_last_column_are_part_of_the_text(tmp_path: Path) -> None:
    rows = [f"{number}\t{text}" for number, text in enumerate(SENTENCES[:CUT])]
    rows[5] = "5\t前\t后"
    assert texts(read_data(tmp_path / "f", "\n".join(rows).encode()))[5] == "前\t后"


def test_empty_columns_at_the_end_take_nothing_of_the_text(tmp_path: Path) -> None:
    rows = [f"{number}_!_{100 + number % 3}_!_{text}" for number, text in enumerate(SENTENCES[:CUT])]
    rows[5] = "5_!_102_!_好!_!__!_"
    assert texts(read_data(tmp_path / "f", "\n".join(rows).encode()))[5] == "好!"
    rows = [f'{number},"{text}"' for number, text in enumerate(SENTENCES[:CUT])]
    rows[5] = '5,"甲,乙,",,'
    assert texts(read_data(tmp_path / "f", "\n".join(rows).encode()))[5] == "甲,乙,"


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert read_data(tmp_path / "f", b"id,title,content\n") == []
    assert classify("一句话,没有别的。\n", True)[0] == "a document"


PROSE = {
    "verses": "床前明月光,疑是地上霜。\n举头望明月,低头思故乡。\n白日依山尽,黄河入海流。\n欲穷千里目,更上一层楼。\n",
    "indented by tabs": "\t第一段的文字。\n\t第二段的文字。\n\t第三段的文字。\n",
    "English": "Well, it rained.\nThen, it snowed.\nSo, we left.\n",
    "dialogue": 'Then, he left.\nSo, we stayed.\n"Why?" she asked, and sat down.\n"Oh", he said.\n',
    "Chinese dialogue": '他走了,又来了,再也没走。\n她说,"你好。"\n"你好,"他说,"再见。"\n夜深了,下雨了。\n',
    "a tab here and there": "标题\t一\n正文第一段。\n正文第二段。\n正文\t第三段。\n",
}


@pytest.mark.parametrize("name", PROSE)
def test_prose_is_no_table(name: str) -> None:
    assert classify(PROSE[name], True)[0] == "a document"
    assert classify(PROSE[name] * 99, False)[0] == "lines"


def test_a_large_table_in_tasks_of_any_size(tmp_path: Path) -> None:
    path = tmp_path / "f"
    lines = [f"{number}\t{SENTENCES[number % 200]}{number}" for number in range(30_000)]
    path.write_text("id\tsentence\n" + "\n".join(lines) + "\n")
    assert path.stat().st_size > 1 << 20
    whole = read(path)
    assert texts(whole) == [line.partition("\t")[2] for line in lines]
    for task_bytes in (100_000, 1_000_003):
        assert read(path, task_bytes=task_bytes) == whole
