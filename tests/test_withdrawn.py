"""Withdrawn documents are dropped with their duplicates, from every source."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.dedup.decisions import read_withdrawn
from pipeline.errors import CorpusError, StorageError
from tests.deciding import GOOD, Texts, changed, decide, reasons, rows
from tests.made_documents import generated, identity
from workflows.kinds import warning
from workflows.progress import Display


def test_copies_of_a_withdrawn_document_go_from_every_source(tmp_path: Path) -> None:
    text = generated(12, 1, 12)[0]
    texts: Texts = {"a": [changed(text, 20), GOOD], "b": [text, "乙" * 20], "c": [text + "！", "丙" * 20]}
    done = decide(tmp_path, texts, withdrawn=[identity("b", 0), 12345])
    assert reasons(done, "a") == {identity("a", 0): "withdrawn_copy"}
    assert reasons(done, "b") == {identity("b", 0): "withdrawn"}
    assert reasons(done, "c") == {identity("c", 0): "withdrawn_copy"}
    assert {row["kept_id"] for source in "ac" for row in rows(done, source)} == {identity("b", 0)}
    assert done.manifest["comparison"]["withdrawn_not_found"] == 1
    assert warning(done).startswith("withdrawn ids not found: 1;")
    assert rows(done, "a", "clusters") == []


@pytest.mark.parametrize("fresh", [True, False])
def test_withdrawn_ids_that_no_source_has_are_told_loudly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fresh: bool
) -> None:
    for withdrawn, warns in (([identity("a", 0), 12345], True), ([identity("a", 0)], False)):
        done = decide(tmp_path, {"a": [GOOD, "乙" * 20]}, withdrawn=withdrawn)
        with Display(["dedup"]) as display:
            display.finish("dedup", replace(done, fresh=fresh), 1.0)
        assert ("warning: withdrawn ids not found: 1;" in capsys.readouterr().err) == warns


def test_withdrawn_copies_go_even_where_copies_stay(tmp_path: Path) -> None:
    texts: Texts = {"a": [GOOD, GOOD + "。", "甲" * 20, "甲" * 20]}
    done = decide(tmp_path, texts, withdrawn=[identity("a", 0)], exact=False, near=False, min_paragraph_characters=0)
    assert reasons(done, "a") == {identity("a", 0): "withdrawn", identity("a", 1): "withdrawn_copy"}


def test_lists_of_withdrawn_documents(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.txt"
    path.write_text("\ufeff00000000000000ff\n\n  18446744073709551615  # a letter of 3 May\r\n# nothing\n17\n")
    assert read_withdrawn(str(path)) == [255, (1 << 64) - 1, 17]
    path.write_text("1234567890123456\n01234567890123456\n")
    assert read_withdrawn(str(path)) == [0x1234567890123456, 1234567890123456], "16 digits are hexadecimal"
    for wrong in ("news.jsonl#17", "-3", "18446744073709551616", "00ff"[:3] + "g"):
        path.write_text(f"17\n{wrong}\n")
        with pytest.raises(CorpusError, match=r"withdrawn.txt: line 2: .* is not a document id"):
            read_withdrawn(str(path))
    with pytest.raises(StorageError, match="not found"):
        read_withdrawn(str(tmp_path / "missing.txt"))
