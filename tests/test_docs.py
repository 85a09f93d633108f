"""The documents are true: their tables equal the code's, their examples work, the README's tree is the real one."""

import re
import subprocess
import tomllib
import typing
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import click
import pytest

from pipeline import compression, config
from pipeline.cleaning import cleaning, language, pii
from pipeline.cleaning.quality import RULES
from pipeline.config import FilterConfig
from pipeline.examples import shards
from pipeline.sources.formats import detection
from pipeline.sources.formats.fields import KNOWN_FORMATS
from pipeline.wiki.conversion.converter import Converter
from pipeline.wiki.conversion.groups import Groups
from pipeline.wiki.rendering import mend, render
from workflows.chain import Chain
from workflows.cli import commands
from workflows.cli.jobs.submitting import COMMANDS
from workflows.kinds import DATA_KINDS
from workflows.manual import MANUALS
from workflows.manual.errors import errors as errors_page
from workflows.manual.errors import group_of, messages
from workflows.manual.errors import line as line_of_error
from workflows.preparing import BERT_SETTINGS, CORPORA, RUNNERS
from workflows.recipe import Recipe, as_dict, build, load
from workflows.report.display_names import DISPLAY_NAMES
from workflows.report.funnel import DUPLICATES, WITHHELD

ROOT = Path(__file__).parent.parent


ROOMS = ("pipeline", "model", "cluster", "workflows", "tests", "benchmarks")
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CORPORA_PAGE = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def table(page: str, *header: str) -> list[list[str]]:
    """The rows of the one table whose header begins with these cells, without backticks."""
    lines = page.splitlines()
    starts = [number for number, line in enumerate(lines) if cells(line)[: len(header)] == list(header)]
    assert len(starts) == 1, f"{len(starts)} tables begin with {' | '.join(header)}: leave one, with this header"
    rows = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(cells(line))
    return rows


def differences(shown: Iterable[object], real: Iterable[object]) -> str:
    """What to add to a page and what to remove from it: "add x; remove y"; "" if both have the same."""
    shown, real = list(shown), list(real)
    advice = [f"add {one}" for one in real if one not in shown] + [f"remove {one}" for one in shown if one not in real]
    return "; ".join(advice)


def cells(line: str) -> list[str]:
    """The cells of a line of a table, without backticks."""
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]


def block(page: str, name: str) -> str:
    """The one fenced block of a name."""
    (found,) = re.findall(rf"^```{name}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return str(found)


def becomes(page: str, name: str) -> list[tuple[str, str]]:
    """The pairs in a block of lines `before  ->  after`."""
    pairs = [re.split(r" +-> +", line) for line in block(page, name).splitlines()]
    return [(before, after) for before, after in pairs]


def known(alias: object) -> set[str]:
    """The values of a Literal."""
    return set(typing.get_args(alias))


@pytest.mark.parametrize("name", commands())
def test_a_command_has_help_with_an_example_and_every_option_has_its_own(name: str) -> None:
    command = commands()[name]
    example = command.help and "Example" in command.help and f"nezha-pipe {name}" in command.help
    assert example, f"nezha-pipe {name}: add an example to the docstring of its function in workflows/cli/"
    helps = [option.help for option in command.params if isinstance(option, click.Option)]
    assert all(helps), f"nezha-pipe {name}: write help for every option"
    assert len(set(helps)) == len(helps), f"nezha-pipe {name}: two options have the same help; say how they differ"


@pytest.mark.parametrize("name", MANUALS)
def test_a_manual_is_what_the_program_says_of_itself(name: str) -> None:
    current = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == MANUALS[name]()
    assert current, f"docs/{name}.md is out of date: run `make docs`"


def test_every_setting_of_a_recipe_has_a_line_in_the_manual() -> None:
    manual = MANUALS["recipe"]()
    for name, content in as_dict(load("tiny")).items():
        for table in content if isinstance(content, list) else [content]:
            for setting in table if isinstance(table, dict) else [name]:
                assert f"| `{setting}` |" in manual, f"docs/recipe.md lacks {name}.{setting}: see workflows/manual/pages.py"
    empty = [line for line in manual.splitlines() if "|  |" in line]
    assert not empty, f"write a string under the field, which says what it means: {empty[0]}"


def test_the_tree_in_the_readme_is_the_real_one() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```tree\n(.*?)```", readme, re.DOTALL)
    assert block, "README.md: add the ```tree block under 'What is where'"
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
    advice = differences(sorted(shown), sorted(top | rooms | direct | folders))
    assert not advice, f"README.md, ```tree block: {advice}"


def test_documents_name_only_files_and_commands_that_exist() -> None:
    for page in PAGES:
        text = without_code(page)
        new = set(re.findall(r"New file `([^`]+)`:", text))
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
            linked = page.parent / target if target else page
            assert linked.exists(), f"{page.name} links to {target}, which is gone: correct the link"
            assert not anchor or anchor in anchors(linked), f"{page.name}: {target} has no heading #{anchor}: correct the link"
        for command, _ in named(text):
            assert command in commands(), f"{page.name}: there is no `nezha-pipe {command}`: correct it"
        for target in re.findall(r"\bmake ([a-z-]+)", text if page.name != "errors.md" else ""):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"{page.name}: there is no `make {target}`: correct it"
        for path in re.findall(r"`?\b((?:pipeline|model|cluster|workflows|tests|benchmarks|docs)/[\w/.-]+\.\w+)", text):
            assert (ROOT / path).exists() or path in new, f"{page.name} names {path}, which is gone: correct the path"


def test_code_refers_only_to_modules_that_exist() -> None:
    """As in `(see overview.py)`."""
    files = {str(path.relative_to(ROOT)): path for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    for name, path in files.items():
        for module in re.findall(r"\((?:see )?([\w/]+\.py)\)", path.read_text(encoding="utf-8")):
            assert any(f"/{one}".endswith(f"/{module}") for one in files), f"{name} names {module}, which is gone: correct it"


def named(text: str) -> list[tuple[str, str]]:
    """The commands that a text names, and the rest of their lines: `nezha-pipe cluster render --kind aws`."""
    found = []
    for word, rest in re.findall(r"nezha-pipe ([a-z][a-z-]+)([^\n`]*)", text):
        second = re.match(r" ([a-z][a-z-]+)(.*)", rest)
        group = isinstance(commands().get(word), click.Group)
        found.append((f"{word} {second[1]}", second[2]) if group and second else (word, rest))
    return found


def without_code(page: Path) -> str:
    """A page without what the reader is to write."""
    return re.sub(r"^```python\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What links can name in a page: its headings, as the web shows them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "errors.md"], ids=lambda page: page.name)
def test_command_lines_have_only_options_that_the_command_has(page: Path) -> None:
    text = without_code(page).replace("\\\n", " ")
    for name, words in named(text):
        inside = COMMANDS.values() if name == "submit" else []  # whose options come after its own
        options = {
            option
            for command in (commands()[name], *inside)
            for one in command.params
            for option in (*one.opts, *one.secondary_opts)
        }
        for option in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", words.partition("#")[0]):
            assert option in options, f"{page.name}: `nezha-pipe {name}` has no {option}: correct it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_and_options_that_the_text_names_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    recipe = as_dict(load("tiny"))
    for name, setting in re.findall(r"`([a-z]+)\.([a-z_]+)\b[^`.(]*`", text):
        if isinstance(recipe.get(name), dict) and setting not in ("py", "json", "toml", "html"):
            assert setting in recipe[name], f"{page.name}: no setting `{name}.{setting}`: correct it"
    options = {
        option for command in commands().values() for one in command.params for option in (*one.opts, *one.secondary_opts)
    }
    for option in re.findall(r"`(--[a-z][a-z-]*)[ `]", text):
        assert option in options, f"{page.name}: no command has {option}: correct it"


def test_the_example_of_a_recipe_loads() -> None:
    recipe = build(tomllib.loads(example_recipe()), "the recipe in docs/corpora.md")
    assert {source.kind for source in recipe.source} == {"wiki", "baike", "news"}
    assert recipe.corpus().sequence_lengths == (128, 512)


def example_recipe() -> str:
    """The recipe in docs/corpora.md. All blocks of TOML are checked by tests/test_blocks.py."""
    (found,) = re.findall(r"^```toml\n(name = .*?)^```", CORPORA_PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_table_of_filters_is_what_decides() -> None:
    shown = [row[:4] for row in table(CORPORA_PAGE, "reason", "setting", "default")]
    defaults = {rule.name: getattr(FilterConfig(), rule.threshold) for rule in RULES}
    real = [[rule.name, rule.threshold, plain(defaults[rule.name]), rule.applies_to] for rule in RULES]
    advice = differences(shown, real)
    assert not advice, f"docs/corpora.md, Filters: {advice}"
    assert shown == real, "docs/corpora.md, Filters: put the rows in the order of RULES"
    for field in fields(FilterConfig):
        assert f"`{field.name}`" in CORPORA_PAGE, f"docs/corpora.md, Filters: describe `{field.name}`"
    for name in ("judge_from_characters", "judge_from_lines"):
        text = f"`{name}` ({getattr(FilterConfig(), name)})"
        assert text in CORPORA_PAGE.replace("\n", " "), f"docs/corpora.md, Filters: write {text}"


def plain(value: typing.Any) -> str:
    """A default as the table shows it: `200,000`, `zh, yue`."""
    return ", ".join(value) if isinstance(value, tuple) else f"{value:,}"


def test_the_tables_of_files_are_what_is_recognised() -> None:
    rows = table(CORPORA_PAGE, "format")
    advice = differences([row[0] for row in rows], detection.FORMATS)
    assert not advice, f"docs/corpora.md, Files: {advice}"
    for row in rows:
        cut = detection.FileFormat(row[0]).splittable or row[0] in ("MediaWiki dump", "Parquet")
        assert cut == row[3].startswith(("yes", "by row groups")), f"docs/corpora.md, Files: correct the last cell of {row[0]}"
    for name in known(compression.Compression) - {""}:
        assert f"`{name}`" in CORPORA_PAGE, f"docs/corpora.md, Files: name the compression `{name}`"


def test_the_table_of_fields_is_what_is_read() -> None:
    shown = [(row[1].split(), row[2], row[3].split(", ")) for row in table(CORPORA_PAGE, "the fields of")]
    real = [([*known_format.required], known_format.title, [*known_format.text]) for known_format in KNOWN_FORMATS]
    advice = differences(shown, real)
    assert not advice, f"docs/corpora.md, Title and text: {advice}"
    assert shown == real, "docs/corpora.md, Title and text: put the rows in the order of KNOWN_FORMATS"


@pytest.mark.parametrize(
    ("header", "real"),
    [
        ("kind", known(config.Kind)),
        ("pairs.task", known(config.PairTask)),
        ("pairs.layout", known(config.Layout)),
        ("masking.policy", known(config.MaskingPolicy)),
    ],
)
def test_a_table_of_values_has_them_all(header: str, real: set[str]) -> None:
    advice = differences([row[0] for row in table(CORPORA_PAGE, header)], sorted(real))
    assert not advice, f"docs/corpora.md, table {header}: {advice}"


def test_what_can_be_chosen_is_named() -> None:
    assert known(config.Kind) == set(CORPORA), "CORPORA in workflows/preparing.py and Kind in pipeline/config.py differ"
    for name in sorted(known(config.Variant) | {*language.LANGUAGES, *language.SCRIPTS}):
        assert f"`{name}`" in CORPORA_PAGE, f"docs/corpora.md: name `{name}` among variants, languages or scripts"
    options = {f"--{name.replace('_', '-')}": where for name, where in BERT_SETTINGS.items()}
    advice = differences(table(CORPORA_PAGE, "option"), [[name, where] for name, where in options.items()])
    assert not advice, f"docs/corpora.md, options of create_pretraining_data.py: {advice}"
    runners = (ROOT / "docs" / "runners.md").read_text(encoding="utf-8")
    shown = {name for row in table(runners, "--runner") for name in re.findall(r"\b[a-z]+\b", row[0])} - {"default"}
    assert not (advice := differences(sorted(shown), RUNNERS)), f"docs/runners.md, table --runner: {advice}"


def test_reasons_and_rules_are_those_of_the_report() -> None:
    reasons = [row[0] for row in table(CORPORA_PAGE, "reason", "the document")]
    advice = differences(reasons, ["a filter's", *WITHHELD, *DUPLICATES])
    assert not advice, f"docs/corpora.md, reasons to drop a document: {advice}"
    rules = [row[0] for row in table(CORPORA_PAGE, "rule")]
    assert len(set(rules)) == len(rules), "docs/corpora.md, Cleaning: a rule has two rows"
    for rule in rules:
        assert rule in DISPLAY_NAMES, (
            f"docs/corpora.md, Cleaning: {rule} is not in workflows/report/display_names.py; correct it"
        )


def test_wikitext_becomes_what_the_page_shows() -> None:
    for wikitext, prose in becomes(CORPORA_PAGE, "wikitext"):
        rendered = render(wikitext, title="柏林", list_items=True, redirects={})
        converted = Converter("zh-cn", Groups({})).convert(rendered.text, title="柏林", note_ta=rendered.note_ta)
        mended = mend(converted.text)[0]
        assert mended == prose, f"docs/corpora.md, Wikipedia: {wikitext} becomes {mended}; correct the line or the code"


def test_cleaning_does_what_the_page_shows() -> None:
    for line in block(CORPORA_PAGE, "boilerplate").splitlines():
        gone = cleaning.clean(f"第一段。\n{line}\n第二段。") == ("第一段。\n第二段。", {"boilerplate"})
        assert gone, f"docs/corpora.md, Cleaning: {line} stays; correct the block or the code"
    for line in block(CORPORA_PAGE, "prose").splitlines():
        kept = cleaning.clean(f"第一段。\n{line}\n第二段。") == (f"第一段。\n{line}\n第二段。", set())
        assert kept, f"docs/corpora.md, Cleaning: {line} is removed; correct the block or the code"
    for before, after in becomes(CORPORA_PAGE, "furniture"):
        left = cleaning.clean(before)[0]
        assert left == after, f"docs/corpora.md, Cleaning: {before} becomes {left}; correct the line or the code"
    for before, after in becomes(CORPORA_PAGE, "personal"):
        masked = pii.mask(before)[0]
        assert masked == after, f"docs/corpora.md, Personal data: {before} becomes {masked}; correct the line or the code"


def test_the_table_of_shards_is_their_schema() -> None:
    shown = [name for row in table(ARCHITECTURE, "column", "type") for name in row[0].split(", ")]
    real = shards.schema(21_128).names
    assert shown == real, f"docs/architecture.md, The shard row: {differences(shown, real) or 'put the rows in order'}"


def test_every_kind_of_data_stage_has_a_row(tmp_path: Path) -> None:
    shown = [row[0].partition("_<")[0] for row in table(ARCHITECTURE, "stage", "reads")]
    real = [kind.name for kind in DATA_KINDS]
    assert shown == real, f"docs/architecture.md, Data stages: {differences(shown, real) or 'put the rows in order'}"
    recipe: Recipe = build(tomllib.loads(example_recipe()), "the example")
    chain = Chain(recipe, str(tmp_path))
    kinds = {chain.steps[name].kind for name in chain.data_names()}
    assert kinds == set(real) - {"tasks", "wiki_side_input", "evaluation", "replay", "data_report"}, (
        "docs/corpora.md: the example recipe should have every kind of data step; correct it"
    )


def test_the_page_of_errors_has_the_message_of_every_place_that_raises_one() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    found = messages()
    # Classes, and what a function returns, are found too.
    for message in ("a tar archive", "is the champion already", "the cluster at … has a job of this id already"):
        assert any(message in one.text for one in found), f"workflows/manual/errors.py no longer finds: {message}"
    for one in found:
        assert not one.text or f"\n{line_of_error(one.text)}\n" in page, (
            f"docs/errors.md lacks {one.path}:{one.line}: run `make docs`"
        )


def test_every_error_stands_beside_what_to_do_about_it() -> None:
    assert line_of_error("…: a tar archive; unpack it") == "| …: a tar archive | unpack it |"
    assert line_of_error("nothing to compare: give --over or --variant") == "| nothing to compare | give --over or --variant |"
    assert line_of_error("…: is |empty|") == "- …: is \\|empty\\|"
    for one in messages():
        assert group_of(one.path).advice, f"{one.path}: write advice for its group in workflows/manual/advice.py"
    for section in errors_page().split("\n## ")[1:]:
        rows, _, listed = section.partition(" This goes for:\n")
        assert "\n- " not in rows and "\n|" not in listed and "as above" not in section and "|  |" not in section
