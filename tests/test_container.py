"""The container image, as far as that goes without Docker: what it copies builds the package, with pinned requirements."""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile and their arguments, each on one line."""
    plain = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in plain.splitlines() if line.strip()]


def copied() -> list[tuple[str, str]]:
    """What is copied from the project: source and target."""
    pairs = []
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            *sources, target = rest.split()
            pairs += [(source, target) for source in sources]
    return pairs


def in_context(path: str) -> bool:
    """Whether a file reaches Docker: the last rule of .dockerignore that fits decides."""
    kept = True
    for rule in IGNORED:
        pattern = rule.removeprefix("!")
        parts = [path, *map(str, Path(path).parents)]
        fits = any(
            fnmatch.fnmatch(part, pattern) or fnmatch.fnmatch(f"/{part}", pattern.replace("**/", "*/")) for part in parts
        )
        kept = rule.startswith("!") if fits else kept
    return kept


def test_what_is_copied_is_there_and_nothing_else_reaches_docker() -> None:
    assert {source for source, _ in copied()} >= {
        "constraints.txt",
        "pyproject.toml",
        "pipeline",
        "model",
        "cluster",
        "workflows",
    }
    for source, _ in copied():
        assert (ROOT / source).exists() and in_context(source), source
    for path in (
        "tests/test_container.py",
        ".git/config",
        ".env",
        "cluster/.env",
        "model/key.pem",
        "data/a.txt",
        "cluster/__pycache__/a.pyc",
    ):
        assert not in_context(path), f"{path} would be in the image"
    assert in_context("workflows/recipes/tiny.toml") and in_context("cluster/manifests/examples/aws.toml")


def test_the_image_runs_as_a_user_and_knows_no_secret() -> None:
    users = [rest for name, rest in instructions() if name == "USER"]
    assert users == ["1000"], "KubeRay's pods run as this user (cluster/manifests/pods.py)"
    assert not re.search(r"(?i)token|secret|password|_key\b|https?://", TEXT)
    assert not [rest for name, rest in instructions() if name == "ADD"]


def test_every_installation_is_pinned() -> None:
    lines = [line for name, rest in instructions() if name == "RUN" for line in rest.split("&&") if "pip install" in line]
    assert len(lines) == 2 and all("--constraint constraints.txt" in line for line in lines)
    (spec,) = re.findall(r"'\.\[([\w,]+)\]'", lines[1])
    extras = spec.split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    wanted = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(one) for one in wanted]
    while todo:
        one = todo.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in seen or key[0] == "setuptools" or not holds(one.marker, frozenset()):  # which comes with Python's image
            continue
        seen.add(key)
        assert key[0] in pinned, f"{one.name} is not in constraints.txt: the image would get any version"
        try:
            further = [Requirement(text) for text in requires(one.name) or []]
        except PackageNotFoundError:
            continue
        for each in further:
            if holds(each.marker, key[1]):
                each.marker = None
                todo.append(each)
    assert len(seen) > 100


def holds(marker: Marker | None, extras: frozenset[str]) -> bool:
    """Whether a requirement applies here with these extras."""
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""}) | {""})


@pytest.mark.slow
def test_the_package_is_built_from_what_the_image_gets(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for source, target in copied():
        for path in tracked:
            if (path == source or path.startswith(f"{source}/")) and in_context(path):
                place = tmp_path / "source" / (path if target == "./" else f"{target}{path.removeprefix(source)}")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, place)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (entry,) = [name for name in inside if name.endswith("entry_points.txt")]
        assert "nezha-pipe = workflows.cli:main" in archive.read(entry).decode()
    rooms = ("pipeline/", "model/", "cluster/", "workflows/")
    lacking = {path for path in tracked if path.startswith(rooms)} - inside
    assert not lacking, f"package-data in pyproject.toml lacks {sorted(lacking)}"
