"""The benchmark `wiki`: its reference texts, its metrics, and peers that may be missing."""

import sys
from pathlib import Path

import pytest

from benchmarks import peers, wiki
from benchmarks.wiki_pages import PAGES, Page
from pipeline.wiki.rendering import render
from tests.wiki_dumps import Draft, xml

NAMES = [
    "wiki/clean/1-worker",
    "wiki/text-kept",
    "wiki/text-kept/vs-wikiextractor",
    "wiki/text-clean",
    "wiki/text-clean/vs-wikiextractor",
]


def test_the_truth_is_prose() -> None:
    marks = ("{{", "}}", "[[http", "'''", "==", "<ref", "-{", "|-", "http")
    for page in PAGES:
        assert len(page.prose) > 200
        assert not any(mark in page.prose for mark in marks), page.title
        assert "\n\n" not in page.prose


def test_the_pages_are_as_hard_as_pages_are() -> None:
    pages = [render(page.wikitext, title=page.title, list_items=True, redirects={}) for page in PAGES]
    kept = {name for page in pages for name in page.kept}
    dropped = {name for page in pages for name in page.dropped}
    assert len(kept) > 30 and dropped >= {"ref", "table", "file", "gallery", "section", "math", "code", "comment", "hatnote"}
    assert any(page.note_ta for page in pages) and any("-{" in page.text for page in pages)


def test_ours_keeps_nearly_all_and_adds_nothing() -> None:
    kept, clean = wiki.measure([wiki.clean(page) for page in PAGES])
    assert kept > 98 and clean > 99


def test_shares_count_what_is_missing_and_what_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki, "PAGES", [Page("", "", "柏林是 德国首都。\n"), Page("", "", "柏林")])
    assert wiki.measure(["柏林是德国首都。", "柏林"]) == (100, 100)
    assert wiki.measure(["柏林是首都。", "柏林"]) == (80, 100)
    assert wiki.measure(["柏林是德国首都。{{lang}}&amp;", "柏林"]) == pytest.approx((100, 100 * 10 / 19))
    assert wiki.measure(["", "城"]) == (0, 0)


def test_pages_are_repeated_up_to_a_size() -> None:
    pages = [Page("甲", "柏" * 100, ""), Page("乙", "林" * 100, "")]
    assert [page.title for page in wiki.up_to(iter(pages * 9), 0.0007)] == ["甲", "乙", "甲"]
    assert list(wiki.up_to(pages, 1)) == pages


def test_articles_of_a_dump_can_be_what_is_fast(tmp_path: Path) -> None:
    drafts = [Draft("柏林", "'''柏林'''是首都。"), Draft("Template:甲", "乙", namespace=10)]
    (tmp_path / "dump.xml").write_bytes(xml(drafts))
    path = tmp_path / "dump.xml"
    assert [(page.title, page.wikitext) for page in wiki.read(str(path))] == [("柏林", "'''柏林'''是首都。")]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki, "MEGABYTES", 0.01)


@pytest.mark.usefixtures("small")
def test_a_missing_peer_leaves_rows_without_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(python: str | None) -> str:
        raise peers.PeerMissing("no peer: the index is out of reach")

    monkeypatch.setattr(peers, "environment", missing)
    rows = list(wiki.measurements())
    assert [row.name for row in rows] == NAMES
    assert all(row.baseline is None and "the index is out of reach" in row.note for row in rows)
    assert all(row.value > 0 for row in rows)


@pytest.mark.usefixtures("small")
def test_both_peers_are_measured_on_the_same_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "peer_wiki.py").write_text(
        "import json, sys\n"
        "speed, texts = (json.load(open(name)) for name in sys.argv[1:])\n"
        "for line in sys.stdin:\n"
        "    wanted, peer = line.split()\n"
        "    one = {'seconds': 0.5 * len(speed)} if wanted == 'seconds' else {'texts': [text for _, text in texts]}\n"
        "    print(json.dumps(one), flush=True)\n"
    )
    monkeypatch.setattr(peers, "HERE", tmp_path)
    speed, kept, _, clean, _ = wiki.measurements(python=sys.executable)
    assert speed.baseline is not None and speed.ratio is not None and speed.ratio > 1
    assert kept.baseline is not None and kept.baseline > 90, "raw wikitext has nearly all of the prose in it"
    assert clean.baseline is not None and clean.baseline < 60, "and much else"
