"""Repeated paragraphs: long lines that an earlier document has are removed, and what is left of their documents."""

from pathlib import Path

from tests.deciding import GOOD, LINE, Texts, decide, kept_texts, reasons, rows
from tests.made_documents import generated, identity


def test_a_paragraph_stays_in_the_first_document_that_has_it(tmp_path: Path) -> None:
    texts: Texts = {
        "a": [f"甲甲甲\n{LINE}\n{GOOD}的事"],
        "b": {"0": f"乙乙乙\n{LINE}！\n丙丙丙", "1": f"{LINE}\n丁丁丁\n{LINE}", "2": f"短\n{GOOD}的事", "3": "短\n短"},
    }
    done = decide(tmp_path, texts, near=False)
    assert rows(done, "a", "paragraphs") == []
    gone = [(row["id"], row["ordinal"], row["kept_id"]) for row in rows(done, "b", "paragraphs")]
    b0, b1 = identity("b", 0), identity("b", 1)
    assert gone == sorted([(b0, 1, identity("a", 0)), (b1, 0, identity("a", 0)), (b1, 2, identity("a", 0))])
    assert kept_texts(tmp_path, done, "b", texts) == {
        b0: "乙乙乙\n丙丙丙",
        b1: "丁丁丁",
        identity("b", 2): f"短\n{GOOD}的事",
        identity("b", 3): "短\n短",
    }
    assert done.manifest["counts"]["b"]["paragraph_characters"] == 3 * len(LINE) + 1


def test_paragraphs_of_dropped_documents_do_not_count(tmp_path: Path) -> None:
    texts: Texts = {"a": [f"Only some English words stand here\n{LINE}" * 9, GOOD], "b": [f"乙乙乙\n{LINE}"]}
    done = decide(tmp_path, texts, filters={"max_characters": 200})
    assert list(reasons(done, "a").values()) == ["too_long"]
    assert rows(done, "b", "paragraphs") == []


def test_a_document_of_which_too_little_is_left_is_dropped(tmp_path: Path) -> None:
    other = generated(13, 1)[0].split("\n")[0] * 2
    texts: Texts = {"a": [f"{LINE}\n{other}"], "b": [f"{LINE}\n短", f"{LINE}\n{GOOD}", LINE[:-1] + "啊", other, "乙" * 10]}
    done = decide(tmp_path, texts, near=False, filters={"min_characters": 10})
    assert reasons(done, "b") == {identity("b", 0): "duplicate_paragraphs", identity("b", 3): "duplicate_paragraphs"}
    assert [row["id"] for row in rows(done, "b", "paragraphs")] == [identity("b", 1)]


def test_paragraphs_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    texts: Texts = {"a": [f"甲甲甲\n{LINE}", f"乙乙乙\n{LINE}"]}
    done = decide(tmp_path, texts, near=False, min_paragraph_characters=0)
    assert rows(done, "a", "paragraphs") == []
    assert len(kept_texts(tmp_path, done, "a", texts)) == 2
