"""An export in other programs: transformers in three releases, sentence-transformers, accelerate, the exporters of torch.

Every topic of export_peer.py is tried with all four kinds of positions, and with transformers' own BERT, which must pass as
well where it can: it shows that a check is fair.
"""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from model.exporting.export import load_export
from tests import transformers_environments
from tests.test_export import TINY, make
from workflows.converting import convert

pytestmark = pytest.mark.slow

PEER = Path(__file__).parent / "export_peer.py"
SMALL = replace(TINY, max_position_embeddings=40)
KINDS = {
    "released": SMALL,
    "paper": replace(SMALL, relative_positions="paper"),
    "relative": replace(SMALL, positions="relative"),
    "absolute": replace(SMALL, positions="absolute"),
}
RELEASES = tuple(transformers_environments.PINS)
BERT_CANNOT = {("masks", "4.46"): "ValueError", ("masks", "4.57"): "ValueError", ("masks", "5.23"): "RuntimeError"}
"""What BERT's own class does not take, by topic and release: masks of four dimensions, then of three."""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exports")
    for kind, config in KINDS.items():
        make(root / kind, config, True)
    return {kind: root / kind for kind in KINDS}


def ask(release: str, topic: str, work: Path, folders: dict[str, Path], **variables: str) -> dict[str, list[str]]:
    """Return the problems of each kind of positions."""
    command = [transformers_environments.python(release), str(PEER), topic, str(work)]
    environment = {**os.environ, "HF_HOME": str(work / "home"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **variables}
    environment.pop("PYTHONPATH", None)
    run = subprocess.run(
        [*command, *(f"{kind}={folder}" for kind, folder in folders.items())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        cwd=work,
    )
    assert run.returncode == 0, run.stderr[-3_000:]
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    assert answer["transformers"].startswith(release)
    problems: dict[str, list[str]] = answer["problems"]
    return problems


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("topic", ["heads", "saving", "trainer", "sentences", "tracing", "masks", "labels", "offload"])
def test_programs_use_an_export_as_they_use_bert(tmp_path: Path, exports: dict[str, Path], topic: str, release: str) -> None:
    problems = ask(release, topic, tmp_path, exports)
    bert = "\n".join(problems.pop("bert"))
    assert problems == {kind: [] for kind in KINDS}
    if expected := BERT_CANNOT.get((topic, release)):
        assert expected in bert
    else:
        assert not bert
    if topic == "saving":
        for kind in KINDS:
            weights_come_back(tmp_path / f"saving-{kind}", tmp_path / kind)


def weights_come_back(saved: Path, out: Path) -> None:
    """`convert` reads what transformers saved, in one file or in parts, with the tokens that it added."""
    for name, tokens in (("AutoModelForMaskedLM", 28), ("AutoModelForMaskedLM grown", 30), ("AutoModelForPreTraining", 28)):
        facts = convert(str(saved / name), str(out / name))
        model, _, found, _ = load_export(str(out / name))
        assert facts["tokens"] == len(found) == tokens and facts["from"] == "ours"
        stored = safetensors.torch.load_file(saved / name / "model.safetensors")
        state = model.state_dict()
        assert all(torch.equal(weight, state[key]) for key, weight in stored.items())


@pytest.mark.parametrize("release", RELEASES)
def test_an_export_loads_without_network_home_or_the_right_to_write(
    tmp_path: Path, exports: dict[str, Path], release: str
) -> None:
    folder = tmp_path / "read-only"
    shutil.copytree(exports["released"], folder)
    for path in (*folder.iterdir(), folder):
        path.chmod(path.stat().st_mode & ~0o222)
    dead = "http://127.0.0.1:9"
    proxies = {name: dead for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")}
    for name, variables in (
        ("offline", {"HF_HUB_OFFLINE": "1"}),
        ("proxies", {"HF_HUB_OFFLINE": "0", **proxies}),
        ("no home", {"HOME": "/nonexistent", "HF_HUB_OFFLINE": "0"}),
    ):
        work = tmp_path / name
        work.mkdir()
        assert ask(release, "surroundings", work, {"released": folder}, **variables) == {"released": []}, name


@pytest.mark.parametrize("release", RELEASES)
def test_code_of_an_older_export_of_the_same_name_is_not_used(tmp_path: Path, exports: dict[str, Path], release: str) -> None:
    """Two folders are called `export`; transformers keeps code by that name."""
    older, newer, other, work = (tmp_path / name for name in ("older/export", "newer/export", "other", "work"))
    work.mkdir()
    for folder in (older, newer, other):
        shutil.copytree(exports["paper"], folder)
    for folder in (older, other):
        attention = folder / "attention_nezha.py"
        attention.write_text(attention.read_text("utf-8").replace("10_000.0 **", "20_000.0 **"), "utf-8")
    for _ in range(2):
        assert ask(release, "stale", work, {"newer": newer, "other": other}) == {"newer": []}
        assert ask(release, "surroundings", work, {"older": older}) == {"older": []}
