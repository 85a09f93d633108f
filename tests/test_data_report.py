"""The report on data: every record is counted once, a section appears if its facts do, and text never becomes markup."""

import html
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.engine.stages import Finished
from workflows import recipe
from workflows.chain import Chain
from workflows.report.diffs import difference, visible
from workflows.report.figures import ReportInputs, figures
from workflows.report.funnel import Row
from workflows.report.page import page, short

EVIL = '</td><script>alert("毛泽东")</script> & 天安门'


def stage(folder: Path, name: str, seconds: float = 2.0, **facts: Any) -> Finished:
    url = str(folder / name)
    storage.write_json(storage.join(url, "run.json"), {"started": 0.0, "seconds": seconds})
    return Finished(url, {"stage": name, "key": "0123456789ab", "settings": {}, "files": [], **facts})


def wiki_documents(folder: Path) -> Finished:
    return stage(
        folder,
        "documents_wiki",
        source="wiki",
        kind="wiki",
        licence="CC BY-SA 4.0",
        counts={
            "read": 1_000,
            "bad": 4,
            "empty": 6,
            "kept": 600,
            "characters": 600_000,
            "repairs": 21,
            "broken_sentences": 17,
            "bytes_in": 9_000_000,
        },
        skipped={"redirect": 300, "disambiguation": 60, "other namespace": 30},
        bad={"markup: nested too deep": 3},
        input_files={"MediaWiki dump, bz2": 2},
        characters_histogram={"256": 150, "1024": 450},
        languages={"zh": 590, "ja": 10},
        scripts={"hans": 600},
        templates_lost={"Infobox country": 6_641, "仮リンク": 2_260},
        templates_breaking={"<math>": 12, "USS": 5},
        templates_kept={"lang": 854},
        left_out={"ref": 2_000, "table": 500, "broken_sentence": 310},
        conversions={"rules": 3, "groups": {"IT": 5}, "missing_groups": {"地名": 2}},
        changed={"invisible": 40},
        samples={
            "bad": [{"origin": "zhwiki.xml#17", "reason": "markup: nested too deep", "text": "柏林: {{{{{{"}],
            "changed_invisible": [{"before": "图书\u200b馆", "after": "图书馆"}],
        },
    )


def news_documents(folder: Path) -> Finished:
    return stage(
        folder,
        "documents_news",
        source="news",
        kind="news",
        licence="PFR",
        counts={"read": 500, "bad": 20, "empty": 0, "kept": 480, "characters": 240_000, "bytes_in": 1_000_000},
        bad={"not JSON": 20},
        input_files={"JSON lines, xz": 1},
        characters_histogram={"256": 480},
        languages={"zh": 480},
        scripts={"hans": 400, "hant": 80},
        changed={"html": 470, "invisible": 1},
        personal_data={"phone": 3},
    )


def decided(folder: Path) -> Finished:
    wiki = {
        "documents": 600,
        "kept": 570,
        "characters_kept": 560_000,
        "paragraph_characters": 5_000,
        "paragraphs": 50,
        "clusters": 4,
        "cluster_sizes": {"2": 3, "11": 1},
        "dropped": {"too_short": 12, "top_3": 3, "duplicate": 9, "near_duplicate": 4, "contaminated": 2},
        "contaminated_by": {"cmrc2018_dev.json.gz": 2},
    }
    news = {"documents": 480, "kept": 470, "characters_kept": 236_000, "dropped": {"too_short": 10}}
    leak = {"file": "cmrc2018_dev.json.gz", "evaluation_text": "资讯台是"}
    samples = [
        {"source": "wiki", "reason": "near_duplicate", "text": "外宾今天来访。", "twin_text": "外宾昨天来访。"},
        {"source": "wiki", "reason": "too_short", "text": "好。"},
        {"source": "wiki", "reason": "contaminated", "text": "凤凰卫视资讯台", **leak},
        {"source": "wiki", "reason": "repeated_paragraph", "text": "责任编辑"},
    ]
    comparison = {"pairs": 14, "unpaired": 0, "withdrawn_not_found": 1}
    return stage(folder, "dedup", 4.0, counts={"wiki": wiki, "news": news}, samples=samples, comparison=comparison)


def tokens(folder: Path, source: str, number: int, unknown: dict[str, int]) -> Finished:
    counts = {"documents": 500, "sentences": 1_000, "tokens": number, "units": number // 2, "unknown": sum(unknown.values())}
    return stage(
        folder, f"tokens_{source}", 1.0, source=source, counts=counts, unknown_characters=unknown, words_never_found=[]
    )


def shards(folder: Path, source: str) -> Finished:
    counts = {
        "train": {"rows": 100, "documents": 90, "tokens": 10_000, "masked": 1_500, "shown_as_mask": 1_205, "shown_as_is": 148},
        "validation": {"rows": 10, "documents": 9, "tokens": 1_000, "masked": 150, "shown_as_mask": 115, "shown_as_is": 17},
    }
    counts["train"] |= {"random_next": 48, "borrowed": 700, "truncated": 0}
    return stage(
        folder,
        f"shards_{source}_128",
        1.0,
        source=source,
        sequence_length=128,
        masking={"static_draws": 1},
        counts=counts,
        length_histogram={"train": {"10": 30, "128": 70}, "validation": {}},
    )


@pytest.fixture
def inputs(tmp_path: Path) -> ReportInputs:
    source = [{"name": "wiki", "input": ["zhwiki.xml.bz2"]}, {"name": "news", "input": ["news.jsonl.xz"]}]
    return ReportInputs(
        recipe_name="corpora",
        key="k",
        recipe={"name": "corpora", "source": source, "phase": [{"weights": {"wiki": 3.0, "news": 1.0}}]},
        documents=[wiki_documents(tmp_path), news_documents(tmp_path)],
        dedup=decided(tmp_path),
        vocabulary=stage(tmp_path, "vocabulary", size=21_128, sha256="5e" * 32, built=False, mapped_punctuation={"“": '"'}),
        tokens=[tokens(tmp_path, "wiki", 500_000, {"踔": 70, "囧": 30}), tokens(tmp_path, "news", 200_000, {"囧": 100})],
        shards=[shards(tmp_path, "wiki"), shards(tmp_path, "news")],
        other_stages=[stage(tmp_path, "signatures_wiki", 3.0, source="wiki")],
    )


def text(document: str) -> str:
    """Return the visible text of a page."""
    plain = re.sub(r"(?s)<style>.*?</style>|<[^>]+>", " ", document)
    return re.sub(r"\s+", " ", html.unescape(plain))


def shown(inputs: ReportInputs) -> str:
    return text(page(figures(inputs)))


def headings(inputs: ReportInputs) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page(figures(inputs)))


def records(row: Row) -> int:
    """Count the records of a source over all outcomes."""
    return sum(sum(row[table].values()) for table in ("skipped", "bad", "dropped")) + int(row["empty"]) + int(row["kept"])


def test_every_record_and_every_character_is_in_exactly_one_place(inputs: ReportInputs) -> None:
    content = figures(inputs)
    for row in [*content["funnel"], content["total"]]:
        assert records(row) == row["read"] and set(row["unaccounted"].values()) == {0}
        characters = row["characters"]
        assert characters["documents"] == characters["dropped"] + characters["lines_removed"] + characters["kept"]
    assert content["total"]["read"] == 1_500 and content["total"]["kept"] == 1_040
    assert content["total"]["dropped"]["too_short"] == 22


@pytest.mark.parametrize("account", ["documents", "characters"])
def test_an_account_leads_from_level_to_level_for_all_and_for_each_source(inputs: ReportInputs, account: str) -> None:
    entries = figures(inputs)["ledger"][account]
    levels = [place for place, entry in enumerate(entries) if entry["kind"] == "level"]
    assert levels[0] == 0 and levels[-1] == len(entries) - 1
    for before, after in itertools.pairwise(levels):
        lost = entries[before + 1 : after]
        assert entries[before]["all"] - sum(entry["all"] for entry in lost) == entries[after]["all"]
        for source in range(2):
            left = entries[before]["by_source"][source] - sum(entry["by_source"][source] for entry in lost)
            assert left == entries[after]["by_source"][source]
        assert [entry["left"] for entry in lost] == sorted((entry["left"] for entry in lost), reverse=True)
        assert not lost or lost[-1]["left"] == entries[after]["left"]


def test_unreadable_records_without_a_reason_are_unreadable(inputs: ReportInputs) -> None:
    assert figures(inputs)["funnel"][0]["bad"] == {"markup: nested too deep": 3, "bad": 1}
    assert "unreadable: not JSON −20" in shown(inputs) and " unreadable −1" in shown(inputs)


def test_a_manifest_that_does_not_add_up_is_reported(inputs: ReportInputs) -> None:
    assert "unaccounted for" not in shown(inputs)
    inputs.documents[1].manifest["counts"]["read"] += 7
    assert figures(inputs)["funnel"][1]["unaccounted"] == {"reading": 7, "deciding": 0}
    assert "unaccounted for −7" in shown(inputs)


def test_the_account_is_on_the_page_in_the_order_of_the_chain(inputs: ReportInputs) -> None:
    page_text = shown(inputs)
    expected = [
        "records read 1,500 100.0%",
        "redirect −300 20.0%",
        "disambiguation −60",
        "empty −6",
        "documents 1,080 72.0%",
        "too short too_short −22",
        "one frequent 3-gram top_3 −3",
        "contains evaluation text −2",
        "exact duplicate −9",
        "near duplicate −4",
        "kept 1,040 69.3%",
        "in dropped documents −39,000 4.6%",
        "repeated lines removed −5,000",
        "kept 796,000 94.8%",
    ]
    found = [page_text.index(one) for one in expected]
    assert found == sorted(found)
    assert "too short too_short 22 12 10" in page_text  # by source


SECTIONS = {
    "From records to kept documents": {"documents": []},
    "Sources": {"documents": []},
    "What was changed": {"documents": []},
    "Wikitext": {"documents": []},
    "Length, language and script": {"documents": []},
    "Duplicates and contamination": {"dedup": None},
    "Words and tokens": {"tokens": [], "vocabulary": None},
    "Shards": {"shards": []},
}


@pytest.mark.parametrize(("heading", "missing"), SECTIONS.items())
def test_a_section_is_there_when_its_facts_are(inputs: ReportInputs, heading: str, missing: dict[str, Any]) -> None:
    assert heading in headings(inputs)
    assert heading not in headings(replace(inputs, **missing))


def test_manifests_that_say_only_what_they_are_of_make_a_page(inputs: ReportInputs, tmp_path: Path) -> None:
    bare = ReportInputs(
        recipe_name="bare",
        key="k",
        recipe={},
        documents=[stage(tmp_path, "documents_news", source="news")],
        dedup=stage(tmp_path, "dedup"),
        vocabulary=stage(tmp_path, "vocabulary"),
        tokens=[stage(tmp_path, "tokens_news", source="news")],
        shards=[stage(tmp_path, "shards_news_128", source="news", sequence_length=128)],
    )
    assert headings(bare) == ["Sources", "Words and tokens", "Time", "Settings"][:3]


def test_only_finished_sections_are_in_the_contents(inputs: ReportInputs) -> None:
    document = page(figures(inputs))
    links = re.findall(r'<a href="#([^"]+)">', document)
    assert links == re.findall(r'<h2 id="([^"]+)"', document) and "training" not in links and "funnel" in links


CAPTIONS = {
    "funnel": "1,040 of 1,500 records are kept (69.3%), with 796,000 of 840,000 characters (94.8%). "
    "Most often dropped: redirect 300, disambiguation 60, other namespace 30.",
    "mixture": "Sources of the kept text. wiki has 70.4% of the characters.",
    "changes": "Most frequent: HTML, in 470 of 1,080 documents (43.5%).",
    "duplicates": "Dropped out of 1,080 documents: exact duplicate 9, near duplicate 4. 4 kept documents had duplicates. "
    "50 repeated lines (5,000 characters, 0.6%) were removed from kept documents.",
    "cluster_sizes": "Clusters of duplicates by number of documents, the kept one included. The largest has 11.",
    "document_lengths": "Documents as read, by number of characters. Each bar is labelled with its lower bound. "
    "Largest bin of wiki: from 1,024 characters, 75.0%. Largest bin of news: from 256 characters, 100.0%.",
    "languages": "Documents as read: 99.1% Chinese, 0.9% Japanese.",
    "scripts": "Documents as read: 92.6% simplified, 7.4% traditional.",
    "wiki_wiki": "2 dropped templates are listed; they contained 8,901 characters. "
    "Templates were replaced by their text 854 times. The kept text has 600,000 characters.",
    "unknown_characters": "200 of 700,000 tokens are [UNK] (0.029%).",
    "masks": "15.00% of the tokens are masked: 80.0% shown as [MASK], 10.0% as themselves, 10.0% as another token.",
    "row_lengths": "Training rows by number of tokens. Each bar is labelled with its upper bound. "
    "In the longest bin: from 70.0% (wiki 128) to 70.0% (wiki 128).",
    "time": "From files to shards: 17.0 s for 2.5 MB of text, 0.15 MB per second, counting 3 bytes per character.",
}


@pytest.mark.parametrize(("name", "caption"), CAPTIONS.items())
def test_captions_state_the_numbers(inputs: ReportInputs, name: str, caption: str) -> None:
    assert figures(inputs)["captions"][name] == caption
    assert caption in shown(inputs)


def test_the_mixture_is_shown_in_documents_characters_tokens_and_weights(inputs: ReportInputs) -> None:
    mixture = figures(inputs)["mixture"]
    assert mixture["names"] == ["wiki", "news"]
    assert {row["label"]: round(row["fractions"][0], 4) for row in mixture["rows"]} == {
        "documents": 0.5481,
        "characters": 0.7035,
        "tokens": 0.7143,
        "phase 1": 0.75,
    }
    assert "news news PFR news.jsonl.xz JSON lines, xz 1.00 470 236,000 29.6% 200,000" in shown(inputs)
    assert "zhwiki.xml.bz2 MediaWiki dump, bz2 × 2" in shown(inputs)


def test_samples_stand_under_their_reason_with_what_was_kept_beside_them(inputs: ReportInputs) -> None:
    document, page_text = page(figures(inputs)), shown(inputs)
    assert "too short: 1 of 22" in page_text and "repeated line: 1 of 50" in page_text
    assert "外宾<del>今</del>天来访。" in document and "外宾<ins>昨</ins>天来访。" in document
    assert "evaluation file dropped evaluation text wiki cmrc2018_dev.json.gz 凤凰卫视资讯台 资讯台是" in page_text
    assert "zhwiki.xml#17 markup: nested too deep 柏林: {{{{{{" in page_text
    assert '图书<del><span class="code">U+200B</span></del>馆' in document


def test_few_samples_of_a_reason_are_shown_of_each_source_in_turn(inputs: ReportInputs) -> None:
    assert inputs.dedup
    numbers = {"wiki": 9, "news": 1}
    many = [
        {"source": name, "reason": "too_short", "text": f"{name}{n}"} for name, most in numbers.items() for n in range(most)
    ]
    inputs.dedup.manifest["samples"] = many
    samples = figures(inputs)["left_out"]["dropped"][0]["samples"]
    assert [sample["text"] for sample in samples] == ["wiki0", "news0", "wiki1", "wiki2", "wiki3"]


def test_wikitext_templates_groups_and_repairs_are_shown(inputs: ReportInputs) -> None:
    page_text = shown(inputs)
    assert "Infobox country 6,641 仮リンク 2,260" in page_text
    assert "references 2,000 tables 500 broken sentences 310" in page_text
    assert "<math> 12 USS 5" in page_text
    assert "was dropped from them: 17. They were dropped, with 310 characters." in page_text
    assert "Templates replaced by their text, by frequency: 1 lang 854" in page_text
    assert "21 brackets and punctuation marks repaired; conversion rules in the text: 3." in page_text
    assert "地名 2" in page_text and "IT 5" in page_text


def test_personal_data_and_rules_are_counted_by_source(inputs: ReportInputs) -> None:
    page_text = shown(inputs)
    assert "phone numbers 3 0 3" in page_text
    assert "HTML 470 0 470" in page_text and "invisible characters 41 40 1" in page_text


def test_clusters_evaluation_files_and_withdrawn_ids_are_shown(inputs: ReportInputs) -> None:
    page_text = shown(inputs)
    assert "documents per cluster 75% 2 11" in page_text
    assert "cmrc2018_dev.json.gz 2" in page_text and "withdrawn ids not found: 1." in page_text


def test_lengths_have_a_bar_for_every_bin_even_an_empty_one(inputs: ReportInputs) -> None:
    lengths = figures(inputs)["document_lengths"]
    assert lengths == {"bins": [256, 512, 1_024], "panels": {"wiki": [0.25, 0, 0.75], "news": [1, 0, 0]}}


def test_tokens_are_shown_by_source_and_in_all(inputs: ReportInputs) -> None:
    page_text = shown(inputs)
    assert "wiki 500 1,000 250,000 500,000 250.0 2.00 1.12 100 0.020%" in page_text
    assert "all 1,000 2,000 350,000 700,000 175.0 2.00 1.14 200 0.029%" in page_text
    assert "囧 U+56E7 130 踔 U+8E14 70" in page_text
    assert "Vocabulary of 21,128 tokens, given, SHA-256" in page_text and '“ → "' in page_text


def test_masks_are_shown_as_measured(inputs: ReportInputs) -> None:
    content = figures(inputs)
    assert content["masked_ratio"] == pytest.approx(0.15)
    assert content["masks"]["rows"][0] == {
        "label": "wiki 128",
        "numbers": [1_320, 165, 165],
        "fractions": [pytest.approx(0.8), pytest.approx(0.1), pytest.approx(0.1)],
    }
    page_text = text(page(content))
    assert "wiki 128 train 90 100 10,000 15.00%" in page_text
    assert "B from elsewhere tokens used again as a random B wiki 128 train 100 48 700" in page_text
    assert "tokens cut off" not in page_text  # none were


def test_throughput_is_of_the_text_that_goes_through_a_stage(inputs: ReportInputs) -> None:
    kinds = {kind["kind"]: kind for kind in figures(inputs)["time"]["kinds"]}
    assert kinds["documents"]["input_rate"] == 10_000_000 / 4 and kinds["documents"]["text_rate"] == 840_000 * 3 / 4
    assert kinds["signatures"]["text_rate"] == 600_000 * 3 / 3  # of wiki alone
    assert kinds["tokens"]["text_rate"] == 796_000 * 3 / 2
    assert kinds["vocabulary"]["text_rate"] == 0
    page_text = shown(inputs)
    assert "documents × 2 4.0 s 2.50 0.63" in page_text and "all 17.0 s" in page_text


def hostile(value: Any) -> Any:
    """Return the same facts with markup in every name and text."""
    if isinstance(value, dict):
        return {f"{EVIL}{key}" if key in NAMES_FROM_OUTSIDE else key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + EVIL if isinstance(value, str) else value


NAMES_FROM_OUTSIDE = {
    *("redirect", "not JSON", "markup: nested too deep", "MediaWiki dump, bz2", "zh", "hans", "Infobox country", "lang", "ref"),
    *("rules", "IT", "地名", "html", "phone", "too_short", "cmrc2018_dev.json.gz", "pairs", "囧", "“"),
}


def test_what_stages_really_write_adds_up(tmp_path: Path) -> None:
    titles = [f"第{number}号公告" for number in range(40)]
    texts = [
        f"{title}：北京大学图书馆{number * 37 % 101}日开放，读者{number * 53 % 97}人到馆，记者王某报道。"
        for number, title in enumerate(titles)
    ]
    lines = [
        json.dumps({"title": t, "content": f"<p>{text}</p>"}, ensure_ascii=False) for t, text in zip(titles, texts, strict=True)
    ]
    lines += [
        lines[0],
        lines[0],
        '{"title": "断',
        '{"title": "空", "content": "<p></p>"}',
        '{"title": "短", "content": "好。"}',
    ]
    (tmp_path / "news.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = {"name": "news", "kind": "news", "input": [str(tmp_path / "news.jsonl")], "max_bad_ratio": 0.1}
    content = {"name": "real", "source": [source], "validation_ratio": 0.1, "vocabulary": {"size": 500, "min_count": 1}}
    chain = Chain(recipe.build(content, "real"), str(tmp_path / "runs"), sequence_lengths=(32,))
    inputs = ReportInputs(
        recipe_name="real",
        key="k",
        recipe=recipe.as_dict(chain.recipe),
        documents=[chain.run("documents_news")],
        dedup=chain.run("dedup"),
        vocabulary=chain.run("vocabulary"),
        tokens=[chain.run("tokens_news")],
        shards=[chain.run("shards_news_32")],
    )
    found = figures(inputs)
    total = found["total"]
    assert (total["read"], records(total), set(total["unaccounted"].values())) == (45, 45, {0})
    assert total["bad"] == {"not JSON": 1} and total["dropped"]["duplicate"] == 2 and total["dropped"]["too_short"] == 1
    assert found["left_out"]["bad"][0]["origin"].startswith("news.jsonl#")
    assert {group["reason"] for group in found["left_out"]["dropped"]} >= {"duplicate", "too_short"}
    assert found["tokens"][0]["documents"] == total["kept"] == found["sources"][0]["documents"]
    assert sum(found["masks"]["rows"][0]["numbers"]) == sum(row["masked"] for row in found["shards"])
    assert headings(inputs) == [
        *("From records to kept documents", "Sources", "What was dropped", "What was changed", "Duplicates and contamination"),
        *("Length, language and script", "Kept documents", "Thresholds", "Words and tokens", "Shards", "Time", "Settings"),
    ]


def test_text_from_outside_never_becomes_markup(inputs: ReportInputs) -> None:
    stages_of = {"documents": inputs.documents, "tokens": inputs.tokens, "shards": inputs.shards}
    poisoned: dict[str, Any] = {
        name: [replace(done, manifest=poison(done.manifest)) for done in stages] for name, stages in stages_of.items()
    }
    assert inputs.dedup and inputs.vocabulary
    poisoned |= {
        name: replace(done, manifest=poison(done.manifest))
        for name, done in (("dedup", inputs.dedup), ("vocabulary", inputs.vocabulary))
    }
    settings = {EVIL: EVIL, "source": [{"name": "wiki", "input": [EVIL]}], "phase": [{"weights": {EVIL: 1.0}}]}
    document = page(figures(replace(inputs, recipe_name=EVIL, key=EVIL, recipe=settings, **poisoned)))
    assert "<script" not in document and document.count("&lt;script&gt;") > 60
    assert document.count("</td>") == document.count("<td")
    assert not re.search(r"<(link|img|iframe|object)\b|@import|url\(", document)


def poison(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name in ("stage", "source", "key") else hostile(value) for name, value in manifest.items()}


def test_a_page_of_the_fullest_manifests_stays_below_a_megabyte(inputs: ReportInputs) -> None:
    wiki = inputs.documents[0].manifest
    wiki["templates_lost"] = {f"模板{number}": 1_000 - number for number in range(200)}
    wiki["templates_kept"] = {f"模板{number}": 1 for number in range(2_000)}
    wiki["samples"] = {f"changed_{rule}": [{"before": "旧" * 80, "after": "新" * 80}] * 3 for rule in wiki["changed"]}
    assert inputs.dedup
    inputs.dedup.manifest["samples"] = [
        {"source": "wiki", "reason": f"reason_{number // 3}", "text": "字" * 200, "twin_text": "词" * 200}
        for number in range(90)
    ]
    assert len(page(figures(inputs)).encode()) < 1_000_000


@pytest.mark.parametrize(
    ("text_", "marked"),
    [
        ("a<b", "a&lt;b"),
        ("一\n二", '一<span class="code">↵</span> 二'),
        (
            "图\u200b\u00ad书\ue000",
            '图<span class="code">U+200B</span><span class="code">U+00AD</span>书<span class="code">U+E000</span>',
        ),
        ("　“全角” —", "　“全角” —"),
    ],
)
def test_invisible_characters_are_shown_by_their_code(text_: str, marked: str) -> None:
    assert str(visible(text_)) == marked


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ("<p>他说。</p>", "他说。", ("<del>&lt;p&gt;</del>他说。<del>&lt;/p&gt;</del>", "他说。")),
        ("电话13800138000转", "电话<电话>转", ("电话<del>13800138000</del>转", "电话<ins>&lt;电话&gt;</ins>转")),
        ("<b>一二三四", "一二三四五六", ("<del>&lt;b&gt;</del>一二三四", "一二三四五六")),  # cut out of longer texts
        ("一二", "一二", ("一二", "一二")),
    ],
)
def test_differences_are_marked_but_not_where_a_text_was_cut_out(before: str, after: str, marked: tuple[str, str]) -> None:
    assert tuple(map(str, difference(before, after))) == marked


@pytest.mark.parametrize(("bound", "label"), [(8, "8"), (512, "512"), (1_024, "1k"), (65_536, "64k"), (1 << 20, "1M")])
def test_bounds_of_bins_are_short(bound: int, label: str) -> None:
    assert short(bound) == label


def test_masks_of_a_small_corpus_may_show_no_other_token() -> None:
    from workflows.report import data_captions

    masks = {"names": ["[MASK]", "itself"], "rows": [{"label": "news 64", "numbers": [9, 1], "fractions": [0.9, 0.1]}]}
    caption = data_captions._masks(0.15, masks)
    assert caption.endswith("90.0% shown as [MASK], 10.0% as themselves, 0.0% as another token.")
