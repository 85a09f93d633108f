"""Documents say what is true: tables are what the code has, what they show happens, the tree in the README is the real one."""

import re
import subprocess
import tomllib
import typing
from dataclasses import fields
from pathlib import Path

import click
import pytest

from pipeline import config
from pipeline.cleaning import cleaning, language, pii
from pipeline.cleaning.quality import RULES
from pipeline.config import FilterConfig
from pipeline.examples import shards
from pipeline.sources.formats import compression, detection
from pipeline.sources.formats.fields import KNOWN_FORMATS
from pipeline.wiki.conversion.converter import Converter
from pipeline.wiki.conversion.groups import Groups
from pipeline.wiki.rendering import mend, render
from workflows.chain import Chain
from workflows.cli import main
from workflows.manual import MANUALS
from workflows.preparing import BERT_SETTINGS, CORPORA, RUNNERS
from workflows.recipe import Recipe, as_dict, build, load
from workflows.report.display_names import DISPLAY_NAMES
from workflows.report.funnel import DUPLICATES, WITHHELD

ROOT = Path(__file__).parent.parent


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CORPORA_PAGE = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def commands() -> dict[str, click.Command]:
    return dict(main.commands)


def table(page: str, *header: str) -> list[list[str]]:
    """The rows of the one table whose header begins with these cells, without backticks."""
    lines = page.splitlines()
    starts = [number for number, line in enumerate(lines) if cells(line)[: len(header)] == list(header)]
    assert len(starts) == 1, f"{len(starts)} tables begin with {' | '.join(header)}"
    rows = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(cells(line))
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]


def block(page: str, name: str) -> str:
    """The one fenced block of a name."""
    (found,) = re.findall(rf"^```{name}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return str(found)


def becomes(page: str, name: str) -> list[tuple[str, str]]:
    """Pairs of a block with lines `before  ->  after`."""
    pairs = [re.split(r" +-> +", line) for line in block(page, name).splitlines()]
    return [(before, after) for before, after in pairs]


def known(alias: object) -> set[str]:
    """The values of a Literal."""
    return set(typing.get_args(alias))


@pytest.mark.parametrize("name", commands())
def test_a_command_has_help_with_an_example_and_every_option_has_its_own(name: str) -> None:
    command = commands()[name]
    assert command.help and "Example" in command.help and f"nezha-pipe {name}" in command.help
    helps = [option.help for option in command.params if isinstance(option, click.Option)]
    assert all(helps), f"{name}: an option without help"
    assert len(set(helps)) == len(helps), f"{name}: two options share one help text"


@pytest.mark.parametrize("name", MANUALS)
def test_a_manual_is_what_the_program_says_of_itself(name: str) -> None:
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == MANUALS[name](), "run `make docs`"


def test_every_setting_of_a_recipe_has_a_line_in_the_manual() -> None:
    manual = MANUALS["recipe"]()
    for name, content in as_dict(load("tiny")).items():
        for table in content if isinstance(content, list) else [content]:
            for setting in table if isinstance(table, dict) else [name]:
                assert f"| `{setting}` |" in manual, f"{name}.{setting}"
    assert "|  |" not in manual, "a setting has no string under its field that says what it means"


def test_the_tree_in_the_readme_is_the_real_one() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```tree\n(.*?)```", readme, re.DOTALL)
    assert block, "the README has no ```tree block"
    shown, folder = set(), ""
    for line in block[1].splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        folder = name if name.endswith("/") and not indent else folder if indent else ""
        shown.add(name if not indent else folder + name)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    rooms = {f"{room}/" for room in ("pipeline", "model", "cluster", "workflows", "tests", "benchmarks", "docs")}
    top = {f"{name.split('/')[0]}/" if "/" in name else name for name in tracked}
    files = {name for name in tracked if name.split("/")[0] in ("pipeline", "model", "cluster", "workflows")}
    direct = {name for name in files if name.count("/") == 1 and not name.endswith("__init__.py")}
    folders = {"/".join(name.split("/")[:2]) + "/" for name in files if name.count("/") > 1}
    assert shown == top | rooms | direct | folders


def test_documents_name_only_files_and_commands_that_exist() -> None:
    for page in PAGES:
        text = without_code(page)
        new = set(re.findall(r"New file `([^`]+)`:", text))
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
            linked = page.parent / target if target else page
            assert linked.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}#{anchor}"
        for command in re.findall(r"nezha-pipe ([a-z][a-z-]+)", text):
            assert command in commands(), f"{page.name} names nezha-pipe {command}"
        for target in re.findall(r"\bmake ([a-z-]+)", text):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"{page.name} names make {target}"
        for path in re.findall(r"`?\b((?:pipeline|model|cluster|workflows|tests|benchmarks|docs)/[\w/.-]+\.\w+)", text):
            assert (ROOT / path).exists() or path in new, f"{page.name} names {path}"


def without_code(page: Path) -> str:
    """A page without what the reader is to write."""
    return re.sub(r"^```python\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What links can name in a page: its headings, as the web shows them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_have_only_options_that_the_command_has(page: Path) -> None:
    text = without_code(page).replace("\\\n", " ")
    for name, words in re.findall(r"nezha-pipe ([a-z][a-z-]+)([^\n`]*)", text):
        options = {option for one in commands()[name].params for option in (*one.opts, *one.secondary_opts)}
        for option in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", words.partition("#")[0]):
            assert option in options, f"{page.name}: nezha-pipe {name} has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_and_options_that_the_text_names_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    recipe = as_dict(load("tiny"))
    for name, setting in re.findall(r"`([a-z]+)\.([a-z_]+)\b[^`.(]*`", text):
        if isinstance(recipe.get(name), dict) and setting != "py":
            assert setting in recipe[name], f"{page.name}: the recipe has no {name}.{setting}"
    options = {
        option for command in commands().values() for one in command.params for option in (*one.opts, *one.secondary_opts)
    }
    for option in re.findall(r"`(--[a-z][a-z-]*)[ `]", text):
        assert option in options, f"{page.name}: no command has {option}"


def test_recipes_in_documents_load() -> None:
    recipes = [text for page in PAGES for text in re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.M)]
    assert recipes
    for text in recipes:
        recipe = build(tomllib.loads(text), "a recipe of the documents")
        assert {source.kind for source in recipe.source} == {"wiki", "baike", "news"}
        assert recipe.corpus().sequence_lengths == (128, 512)


def test_the_table_of_filters_is_what_decides() -> None:
    shown = [row[:4] for row in table(CORPORA_PAGE, "reason", "setting", "default")]
    defaults = {rule.name: getattr(FilterConfig(), rule.threshold) for rule in RULES}
    assert shown == [[rule.name, rule.threshold, plain(defaults[rule.name]), rule.applies_to] for rule in RULES]
    for field in fields(FilterConfig):
        assert f"`{field.name}`" in CORPORA_PAGE
    assert f"`judge_from_characters` ({FilterConfig().judge_from_characters})" in CORPORA_PAGE.replace("\n", " ")
    assert f"`judge_from_lines` ({FilterConfig().judge_from_lines})" in CORPORA_PAGE.replace("\n", " ")


def plain(value: typing.Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"{value:,}"


def test_the_tables_of_files_are_what_is_recognised() -> None:
    assert {row[0] for row in table(CORPORA_PAGE, "format")} == set(detection.FORMATS)
    for row in table(CORPORA_PAGE, "format"):
        cut = detection.FileFormat(row[0]).splittable or row[0] in (
            "MediaWiki dump",
            "Parquet",
        )
        assert cut == row[3].startswith(("yes", "by row groups")), row
    assert all(f"`{name}`" in CORPORA_PAGE for name in known(compression.Compression) - {""})


def test_the_table_of_fields_is_what_is_read() -> None:
    shown = [(row[1].split(), row[2], row[3].split(", ")) for row in table(CORPORA_PAGE, "the fields of")]
    assert shown == [([*known_format.required], known_format.title, [*known_format.text]) for known_format in KNOWN_FORMATS]


def test_what_can_be_chosen_is_named() -> None:
    assert {row[0] for row in table(CORPORA_PAGE, "kind")} == known(config.Kind) == set(CORPORA)
    assert {row[0] for row in table(CORPORA_PAGE, "pairs.task")} == known(config.PairTask)
    assert {row[0] for row in table(CORPORA_PAGE, "pairs.layout")} == known(config.Layout)
    assert {row[0] for row in table(CORPORA_PAGE, "masking.policy")} == known(config.MaskingPolicy)
    assert all(f"`{name}`" in CORPORA_PAGE for name in known(config.Variant) | {*language.LANGUAGES, *language.SCRIPTS})
    assert dict(table(CORPORA_PAGE, "option")) == {
        f"--{name.replace('_', '-')}": where for name, where in BERT_SETTINGS.items()
    }
    runners = (ROOT / "docs" / "runners.md").read_text(encoding="utf-8")
    assert {name for row in table(runners, "--runner") for name in re.findall(r"\b[a-z]+\b", row[0])} - {"default"} == set(
        RUNNERS
    )


def test_reasons_and_rules_are_those_of_the_report() -> None:
    reasons = [row[0] for row in table(CORPORA_PAGE, "reason", "the document")]
    assert {*reasons} - {"a filter's"} == {*WITHHELD, *DUPLICATES}
    rules = [row[0] for row in table(CORPORA_PAGE, "rule")]
    assert len(set(rules)) == len(rules) and set(rules) <= DISPLAY_NAMES.keys()


def test_wikitext_becomes_what_the_page_shows() -> None:
    for wikitext, prose in becomes(CORPORA_PAGE, "wikitext"):
        rendered = render(wikitext, title="柏林", list_items=True, redirects={})
        converted = Converter("zh-cn", Groups({})).convert(rendered.text, title="柏林", note_ta=rendered.note_ta)
        assert mend(converted.text)[0] == prose


def test_cleaning_does_what_the_page_shows() -> None:
    for line in block(CORPORA_PAGE, "boilerplate").splitlines():
        assert cleaning.clean(f"第一段。\n{line}\n第二段。") == ("第一段。\n第二段。", {"boilerplate"})
    for line in block(CORPORA_PAGE, "prose").splitlines():
        assert cleaning.clean(f"第一段。\n{line}\n第二段。") == (f"第一段。\n{line}\n第二段。", set())
    for before, after in becomes(CORPORA_PAGE, "personal"):
        assert pii.mask(before)[0] == after


def test_the_table_of_shards_is_their_schema() -> None:
    shown = [name for row in table(ARCHITECTURE, "column", "type") for name in row[0].split(", ")]
    assert shown == shards.schema(21_128).names


def test_every_stage_of_the_data_has_a_row(tmp_path: Path) -> None:
    recipe: Recipe = build(tomllib.loads(block(CORPORA_PAGE, "toml")), "the example")
    steps = {re.sub(r"_(wiki|baike|news)(_\d+)?$", "", name) for name in Chain(recipe, str(tmp_path)).data_steps()}
    shown = {row[0].partition("_<")[0] for row in table(ARCHITECTURE, "stage", "reads")}
    assert shown == steps | {"tasks", "wiki_side_input", "evaluation", "data_report"}
