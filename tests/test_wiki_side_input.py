"""The side input of a dump: redirects of templates, public conversion groups, where pages are on the web."""

from pathlib import Path

import pytest

from pipeline.engine import job, stages
from pipeline.engine.execution import Execution
from pipeline.wiki.dumps import dump
from pipeline.wiki.dumps import side_input as side_inputs
from pipeline.wiki.dumps.side_input import SideInput, side_input
from tests.wiki_dumps import CLOSING, HEAD, Draft, multistream, source, written, xml

IT = "return { name = 'IT', content = { Item('software', 'zh-cn:软件;zh-tw:軟體') } }"
PAGES = [
    Draft("柏林", "{{Le|甲|B}}"),
    Draft("Template:Le", "#REDIRECT [[Template:Link-en]]", 10, "Template:Link-en"),
    Draft("Template:LE", "#REDIRECT [[Template:Le]]", 10, "Template:Le"),
    Draft("Template:Link-en", "{{{1}}}", 10),
    Draft("Template:甲", "#REDIRECT [[Template:乙]]", 10, "Template:乙"),
    Draft("Template:乙", "#REDIRECT [[Template:甲]]", 10, "Template:甲"),
    Draft("Template:沙盒", "#REDIRECT [[User:甲/沙盒]]", 10, "User:甲/沙盒"),
    Draft("伯林", "#REDIRECT [[柏林]]", 0, "柏林"),
    Draft("Module:CGroup/IT", IT, 828, model="Scribunto"),
    Draft("Module:CGroup/IT/doc", "说明", 828),
    Draft("Template:CGroup/IT", "{{CItem|zh-cn:旧;zh-tw:舊}}", 10),
    Draft("Template:CGroup/Games", "{{CItem|zh-cn:游戏;zh-tw:遊戲}}", 10),
    Draft("Module:Foo", "return {}", 828, model="Scribunto"),
]


def test_redirects_groups_and_site_are_found(tmp_path: Path) -> None:
    file = written(tmp_path / "zhwiki.xml", xml(PAGES))
    finished = side_input(source(), [file], str(tmp_path / "run"))
    found = side_inputs.load(finished.url)
    assert found.redirects["Le"] == found.redirects["LE"] == "Link-en"
    assert found.groups == {"IT": IT, "Games": "{{CItem|zh-cn:游戏;zh-tw:遊戲}}"}
    assert found.sites == {"zhwiki.xml": "https://zh.wikipedia.org/wiki/"}
    assert finished.manifest["counts"] == {"group": 2, "redirect": 4, "site": 1}


def test_redirects_that_lead_in_a_circle_or_elsewhere_do_no_harm(tmp_path: Path) -> None:
    file = written(tmp_path / "zhwiki.xml", xml(PAGES))
    found = side_inputs.load(side_input(source(), [file], str(tmp_path / "run")).url)
    assert found.redirects["甲"] in ("甲", "乙")
    assert "沙盒" not in found.redirects


def test_names_of_namespaces_in_other_languages_are_passed_by(tmp_path: Path) -> None:
    drafts = [
        Draft("模板:Le", "", 10, "模板:Link-en"),
        Draft("模块:CGroup/IT", IT, 828),
    ]
    found = side_inputs.load(side_input(source(), [written(tmp_path / "w.xml", xml(drafts))], str(tmp_path / "run")).url)
    assert found == SideInput({"Le": "Link-en"}, {"IT": IT}, {"w.xml": "https://zh.wikipedia.org/wiki/"})


def test_the_bytes_do_not_depend_on_tasks_workers_or_packing(tmp_path: Path) -> None:
    drafts = [*PAGES, *(Draft(f"Template:别{n}", "", 10, f"Template:名{n}") for n in range(500))]
    data, index = multistream(drafts, 50)
    digests = []
    for number, (data_of_it, task_bytes, workers) in enumerate(((xml(drafts), 1 << 30, 1), (data, 1 << 13, 2))):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = [
            written(folder / "zhwiki-multistream-index.txt.bz2", index),
            written(folder / "zhwiki.xml", data_of_it),
        ]
        finished = side_input(source(), files, str(folder / "run"), execution=Execution(workers), task_bytes=task_bytes)
        digests.append(finished.manifest["files"][0]["sha256"])
    assert digests[0] == digests[1]


def test_of_a_name_in_two_dumps_one_is_taken_always_the_same(tmp_path: Path) -> None:
    first = written(tmp_path / "a.xml", xml([Draft("Template:Le", "", 10, "Template:Link-en")]))
    second = written(tmp_path / "b.xml", xml([Draft("Template:Le", "", 10, "Template:Ilh")]))
    found = [
        side_inputs.load(side_input(source(), files, str(tmp_path / f"run{number}")).url).redirects
        for number, files in enumerate(([first, second], [second, first]))
    ]
    assert found[0] == found[1] == {"Le": "Ilh"}


def test_a_finished_side_pass_reads_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "zhwiki.xml", xml(PAGES))
    first = side_input(source(), [file], str(tmp_path / "run"))
    monkeypatch.setattr(dump, "pages", None)
    again = side_input(source(), [file], str(tmp_path / "run"))
    assert (again.url, again.digest, again.fresh) == (first.url, first.digest, False)


def test_a_dry_run_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "run", None)
    file = written(tmp_path / "zhwiki.xml", xml(PAGES))
    with pytest.raises(stages.NotFinished, match="wiki_side_input_zhwiki"):
        side_input(source(), [file], str(tmp_path / "run"), execution=Execution(dry_run=True))


def test_of_a_name_that_is_defined_twice_the_latest_page_wins(tmp_path: Path) -> None:
    drafts = [Draft("Template:Le", "", 10, "Template:Link-en"), Draft("Module:CGroup/IT", IT, 828)]
    later = [Draft("Template:Le", "", 10, "Template:Ilh"), Draft("Module:CGroup/IT", "return {}", 828)]
    texts = [
        draft.xml(1).replace("2025-08", month) for month, both in (("2025-09", later), ("2025-07", drafts)) for draft in both
    ]
    file = written(tmp_path / "w.xml", (HEAD + "".join(texts) + CLOSING).encode())
    found = side_inputs.load(side_input(source(), [file], str(tmp_path / "run")).url)
    assert (found.redirects, found.groups) == ({"Le": "Ilh"}, {"IT": "return {}"})


def test_redirects_of_a_dump_that_tells_them_by_text_alone(tmp_path: Path) -> None:
    texts = [
        Draft(name, f"#REDIRECT [[{to}]]", 10).xml(1)
        for name, to in (("Template:Le", "Template:Link_en"), ("模板:甲", "模板:乙"))
    ]
    file = written(tmp_path / "w.xml", (HEAD + "".join(texts).replace("<ns>10</ns>", "") + CLOSING).encode())
    found = side_inputs.load(side_input(source(), [file], str(tmp_path / "run")).url)
    assert found.redirects == {"Le": "Link en", "甲": "乙"}
