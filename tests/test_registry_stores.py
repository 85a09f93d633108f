"""The champion under fire: promotions at once, and processes that are killed at any moment; on a disk and on an S3 server."""

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import conditional
from tests import stores
from tests.scored import drawn, exported, scored
from tests.slow_processes import PATIENCE
from workflows.registry import entries, history, promotion
from workflows.registry.config import GateConfig

ROOT = Path(__file__).parents[1]
proxy, store = stores.proxy_fixture(), stores.store_fixture()
QUICK = GateConfig(resamples=1_000, require="no worse", margin=0.5)

PROMOTE = """
import sys
from pipeline.errors import RegistryError
from workflows.registry import entries, promotion
from workflows.registry.config import GateConfig
registry, folder = sys.argv[1:]
config = GateConfig(resamples=1_000, require="no worse", margin=0.5)
model = entries.register(registry, *entries.collect(folder, f"{folder}-scores"))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(promotion.promote(registry, model, config).champion, flush=True)
except RegistryError as error:
    print(error, flush=True)
"""


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Buckets have the same names in all servers."""
    conditional._known.clear()
    yield
    conditional._known.clear()


@pytest.fixture(params=["disk", "store"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    where: str = request.getfixturevalue("store") if request.param == "store" else str(tmp_path)
    return f"{where}/registry"


def made(tmp_path: Path, *names: str) -> list[str]:
    """Write models with scores on few examples."""
    for number, name in enumerate(names):
        model = exported(str(tmp_path / name), name)
        scored(f"{model}-scores", model, {"sentiment": drawn(2, 40, 0.8, number)})
    return [str(tmp_path / name) for name in names]


def begun(registry: str, folder: str) -> subprocess.Popen[str]:
    """Start a process that promotes a model when it is told to."""
    command = [sys.executable, "-c", PROMOTE, registry, folder]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def champion(registry: str) -> str:
    """Return the champion's name, after reading all that the history says: each record whole, each model registered."""
    past = history.records(registry)
    assert [record.number for record in past] == list(range(1, len(past) + 1))
    for record in past:
        assert record.content["champion"]["url"] == entries.read(registry, record.champion).url
    return past[-1].champion if past else ""


def test_of_several_processes_one_promotes_and_the_others_are_told(registry: str, tmp_path: Path) -> None:
    base, *folders = made(tmp_path, "base", "a", "b", "c")
    first = entries.register(registry, *entries.collect(base, f"{base}-scores"))
    promotion.promote(registry, first, QUICK)
    racers = [begun(registry, folder) for folder in folders]
    for racer in racers:
        assert racer.stdout and racer.stdout.readline() == "ready\n"
    for racer in racers:
        told(racer)
    said = [racer.communicate(timeout=PATIENCE)[0].strip() for racer in racers]
    now = champion(registry)
    # A slow one may have begun after another was done, and then won in its turn.
    promoted = [line for line in said if "another process was faster" not in line]
    assert now in promoted and len(history.records(registry)) == 1 + len(promoted)
    for line in said:
        assert line in promoted or "run again to be held against it" in line


def test_rollback_on_a_store(registry: str, tmp_path: Path) -> None:
    models = [entries.register(registry, *entries.collect(one, f"{one}-scores")) for one in made(tmp_path, "a", "b")]
    for model in models:
        promotion.promote(registry, model, QUICK)
    assert [promotion.rollback(registry).champion for _ in range(2)] == [models[0].name, models[1].name]
    assert champion(registry) == models[1].name


def begin_registering(registry: str, folder: str) -> int:
    """Register and promote a model in a process of its own, which begins with all modules loaded; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        promotion.promote(registry, entries.register(registry, *entries.collect(folder, f"{folder}-scores")), QUICK)
    finally:
        os._exit(0)


@pytest.mark.slow
def test_killed_at_any_moment_the_champion_is_the_old_or_the_new_model(tmp_path: Path) -> None:
    """200 kills, each at a random moment of registering a new model and promoting it."""
    registry, draw = str(tmp_path / "registry"), random.Random(1)
    first, *folders = made(tmp_path, *(f"m{number}" for number in range(204)))
    promotion.promote(registry, entries.register(registry, *entries.collect(first, f"{first}-scores")), QUICK)
    seconds = []
    for folder in folders[:3]:  # how long it takes here
        started = time.monotonic()
        os.waitpid(begin_registering(registry, folder), 0)
        seconds.append(time.monotonic() - started)
    now = champion(registry)
    assert now.startswith("m3-")
    outcomes: Counter[str] = Counter()
    for folder in folders[3:]:
        before, names = now, set(entries.names(registry))
        pid = begin_registering(registry, folder)
        time.sleep(draw.uniform(0, 1.2 * statistics.median(seconds)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        last = history.last(registry)
        assert last is not None
        now = last.champion
        new = now.startswith(f"{Path(folder).name}-")
        assert new or now == before
        # The champion and whatever was registered are whole, with their predictions.
        for name in {now, *entries.names(registry)} - names:
            assert len(entries.read(registry, name).scores["sentiment", "accuracy"].keys) == 40
        outcomes["new" if new else "registered" if set(entries.names(registry)) - names else "nothing"] += 1
    assert outcomes.total() == 200 and 0 < outcomes["new"] < 200, outcomes
    assert champion(registry) == now
    assert promotion.rollback(registry).champion != now
