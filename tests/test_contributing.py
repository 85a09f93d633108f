"""The examples of docs/extending.md work as they are written: each is applied to a copy of the code, and its test passes.

In `path`, below `line`:                      the block follows the one line that reads so; also: above, in place of
In `path`, above the row of `name`:           a row of a Markdown table
New file `path`:                              the block is the file
In `path`, add 1 to `STAGE_VERSION`.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")

STEP = re.compile(
    r"(?:^|\. )(?:New file `(?P<new>[^`]+)`:|In `(?P<path>[^`]+)`, (?:(?P<where>above|below|in place of) (?P<row>the row of )?"
    r"`(?P<anchor>[^`]+)`:|add 1 to `(?P<number>\w+)`\.))$(?:\n\n^```\w+\n(?P<block>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
MOST_FILES, MOST_LINES = 2, 40
"""Files of code that an example changes, and lines that it adds to them."""
LARGER = {"A cleaning rule": 3, "A filter that measures": 3, "A stage": 3}
"""Examples that change more files: those that raise a version, and a stage, whose own module does not count."""


@dataclass(frozen=True)
class Step:
    """One change of an example."""

    path: str
    block: str
    where: str = "new"
    anchor: str = ""
    is_row: bool = False

    @property
    def is_code(self) -> bool:
        return self.path.endswith(".py") and not self.path.startswith("tests/")

    def apply(self, root: Path) -> None:
        """Change the file under `root`."""
        file = root / self.path
        if self.where == "new":
            assert not file.exists(), f"{self.path} exists already"
            file.write_text(self.block, encoding="utf-8")
            return
        text = file.read_text(encoding="utf-8")
        if self.where == "bump":
            version = re.compile(rf"(?<=^{self.anchor} = )\d+$", re.MULTILINE)
            file.write_text(version.sub(lambda number: str(int(number[0]) + 1), text), encoding="utf-8")
            return
        lines = text.splitlines(keepends=True)
        found = [number for number, line in enumerate(lines) if self._is_anchor(line.strip())]
        assert len(found) == 1, (
            f"docs/extending.md: {len(found)} lines of {self.path} read {self.anchor!r}, not one; correct the step"
        )
        start, end = found[0], found[0] + 1
        if self.where == "above":
            end = start
        elif self.where == "below":
            start = end
        lines[start:end] = [self.block]
        file.write_text("".join(lines), encoding="utf-8")

    def _is_anchor(self, line: str) -> bool:
        rows = (f"| {self.anchor} |", f"| `{self.anchor}` |")
        return line.startswith(rows) if self.is_row else line == self.anchor


def steps(section: str) -> Iterator[Step]:
    """The changes that a section asks for, in order."""
    for found in STEP.finditer(section):
        if found["new"]:
            yield Step(found["new"], found["block"])
        elif found["number"]:
            yield Step(found["path"], "", "bump", found["number"])
        else:
            yield Step(found["path"], found["block"], found["where"], found["anchor"], bool(found["row"]))


SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
EXAMPLES = {title: list(steps(section)) for title, section in SECTIONS.items() if STEP.search(section)}


def copied(root: Path) -> Path:
    """A copy of the code, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def run(root: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4_000:]}{done.stderr[-2_000:]}"
    return done.stdout


def test_every_block_of_code_belongs_to_a_step() -> None:
    """A step that is worded differently would not be tried."""
    assert sum(PAGE.count(f"\n```{kind}\n") for kind in ("python", "markdown", "text")) == sum(
        "```" in found[0] for section in SECTIONS.values() for found in STEP.finditer(section)
    )


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_short(title: str) -> None:
    changed = [step for step in EXAMPLES[title] if step.is_code]
    files = {step.path for step in changed if not (title == "A stage" and step.where == "new")}
    assert len(files) <= LARGER.get(title, MOST_FILES), sorted(files)
    for path in files:
        assert sum(step.block.count("\n") for step in changed if step.path == path) <= MOST_LINES, path


def test_the_lines_that_examples_name_are_there(tmp_path: Path) -> None:
    root = copied(tmp_path)
    for example in EXAMPLES.values():
        for step in example:
            step.apply(root)


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_passes_its_test(title: str, tmp_path: Path) -> None:
    root = copied(tmp_path)
    for step in EXAMPLES[title]:
        step.apply(root)
    tests = [step.path for step in EXAMPLES[title] if step.path.startswith("tests/")]
    assert len(tests) == 1
    run(root, "pytest", "-q", "-p", "no:cacheprovider", *tests)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_examples_together_pass_the_checks_and_the_tests_of_documents(tmp_path: Path) -> None:
    root = copied(tmp_path)
    for example in EXAMPLES.values():
        for step in example:
            step.apply(root)
    changed = sorted({step.path for example in EXAMPLES.values() for step in example if step.path.endswith(".py")})
    run(root, "ruff", "format", "--check", *changed)
    run(root, "ruff", "check", *changed)
    run(root, "mypy", "--no-incremental")
    for manual in ("cli", "recipe", "errors"):
        (root / "docs" / f"{manual}.md").write_text(run(root, "workflows.manual", manual), encoding="utf-8")
    run(root, "tests.stage_sources")
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    tests = (f"tests/test_{name}.py" for name in ("docs", "rooms", "stage_versions"))
    run(root, "pytest", "-q", "-p", "no:cacheprovider", *tests)
