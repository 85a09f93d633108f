"""An export over an older one, ended at every write: the old folder, the new one, or one that nothing loads; never a mix."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from model.exporting.export import LAST, STALE, load_export
from model.exporting.replacement import UNFINISHED, replacing
from pipeline import storage
from pipeline.errors import CheckpointError, StorageError

OLD = {LAST: b"old", "vocab.txt": b"old words", "model.safetensors": b"old weights", "onnx/model.onnx": b"old graph"}
NEW = {LAST: b"new", "model.safetensors": b"new weights", "vocab.txt": b"new words", "README.md": b"new card"}


class Killed(BaseException):
    pass


def write(folder: str, files: dict[str, bytes]) -> None:
    with replacing(folder, LAST, STALE) as put:
        for name, content in files.items():
            put(name, content)


def visible(folder: str) -> dict[str, bytes]:
    """Return the files that programs see, by their name."""
    names = [name for name in storage.list_names(folder) if not name.startswith(".")]
    graphs = [f"onnx/{name}" for name in storage.list_names(storage.join(folder, "onnx"))]
    return {name: storage.read_bytes(storage.join(folder, name)) for name in (*names, *graphs) if name != "onnx"}


def is_whole_or_refused(found: dict[str, bytes], old: dict[str, bytes], new: dict[str, bytes]) -> None:
    if LAST in found:
        assert found in (old, new), f"a mix loads: {sorted(found)}"
    else:
        assert found.items() <= old.items() or found.items() <= new.items(), f"a mix: {sorted(found)}"


@contextmanager
def ended_after(steps: int, error: BaseException) -> Iterator[None]:
    """Raise `error` before step `steps` of those that change files."""
    left = steps

    def ending(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal left
            if left == 0:
                raise error
            left -= 1
            return step(*arguments)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open_write", "remove", "move"):
            patch.setattr(storage, name, ending(getattr(storage, name)))
        yield


@pytest.mark.parametrize("place", ["{tmp}", "memory://replaced"])
def test_ended_at_any_step_a_folder_is_old_or_new_or_refused_and_the_next_writer_tidies(tmp_path: Path, place: str) -> None:
    for steps in range(100):
        folder = storage.join(place.format(tmp=tmp_path), str(steps))
        write(folder, OLD)
        assert visible(folder) == OLD
        try:
            with ended_after(steps, Killed()):
                write(folder, NEW)
            break
        except Killed:
            is_whole_or_refused(visible(folder), OLD, NEW)
        write(folder, NEW)
        assert visible(folder) == NEW
        assert UNFINISHED not in storage.list_names(folder)
    assert 10 < steps < 99


def test_a_failure_before_the_last_file_is_written_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write(folder, OLD)
    for steps in range(1, 1 + len(NEW)):  # the first one removes what a killed writer left
        full = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(OSError), ended_after(steps, full):
            write(folder, NEW)
        assert visible(folder) == OLD


def test_temporary_files_of_killed_writers_go_and_a_second_writer_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".model.safetensors.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"kept")
    with replacing(str(tmp_path), LAST) as put:
        put(LAST, b"new")
        with pytest.raises(StorageError, match="another run is working here"), replacing(str(tmp_path), LAST):
            pass
    assert sorted(os.listdir(tmp_path)) == [LAST, "notes.txt"]


def test_a_file_is_taken_from_a_path(tmp_path: Path) -> None:
    (tmp_path / "graph").write_bytes(b"a graph")
    with replacing(str(tmp_path / "out"), LAST) as put:
        put("onnx/model.onnx", tmp_path / "graph")
        put(LAST, b"new")
    assert visible(str(tmp_path / "out")) == {LAST: b"new", "onnx/model.onnx": b"a graph"}


EXPORT = """
import json, os, shutil, signal, sys
from pathlib import Path
from model.exporting.export import LAST, STALE, export_model
from model.exporting.replacement import replacing
from tests.test_export import TINY, TOKENS, make
from model.heads import PretrainingModel

work, tokens = Path(sys.argv[1]), (*TOKENS[:5], *reversed(TOKENS[5:]))
make(work / "old", TINY, True)

def export(folder):
    import torch
    torch.manual_seed(3)
    with replacing(str(folder), LAST, STALE) as write:
        export_model(PretrainingModel(TINY, len(tokens)), tokens, False, write, {})

def kill_at(folder, left):
    changes = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
    def hook(event, arguments):
        nonlocal left
        if event in changes or (event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            if str(arguments[0]).startswith(str(folder)):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

export(work / "new")
for moment in range(1, 1_000):
    folder = work / f"killed-{moment:03}"
    shutil.copytree(work / "old", folder)
    child = os.fork()
    if not child:
        kill_at(folder, moment)
        export(folder)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    shutil.copytree(folder, work / f"again-{moment:03}")
    export(work / f"again-{moment:03}")
"""


@pytest.mark.slow
def test_killed_at_every_change_of_a_file_no_program_loads_a_mix(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    run = subprocess.run(
        [sys.executable, "-c", EXPORT, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr
    old, new = visible(str(tmp_path / "old")), visible(str(tmp_path / "new"))
    killed = sorted(tmp_path.glob("killed-*"))[:-1]
    assert len(killed) > 50 and old["vocab.txt"] != new["vocab.txt"]
    outcomes = set()
    for folder in killed:
        found = visible(str(folder))
        is_whole_or_refused(found, old, new)
        outcomes.add("old" if found == old else "new" if found == new else "refused")
        if LAST not in found:
            with pytest.raises(CheckpointError, match="writing this export was interrupted"):
                load_export(str(folder))
    assert outcomes == {"old", "new", "refused"}
    for folder in tmp_path.glob("again-*"):
        assert sorted(os.listdir(folder)) == sorted(new) and visible(str(folder)) == new


def test_a_full_disk_is_told_in_one_line_and_the_old_export_stays_whole(tmp_path: Path) -> None:
    write(str(tmp_path), OLD)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(StorageError) as full:
            write(str(tmp_path), {**NEW, "model.safetensors": bytes(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(full.value) and "larger than this system allows" in str(full.value)
    assert visible(str(tmp_path)) == OLD and UNFINISHED not in os.listdir(tmp_path)
