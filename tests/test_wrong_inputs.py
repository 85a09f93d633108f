"""Every command with everything that it may be given by mistake: one line and exit code 2, or it works; nothing hangs."""

import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from click.testing import CliRunner

from model.training.loop import train
from tests import corpus, tiny
from tests.training_folders import newest_of
from workflows.cli import main

pytestmark = pytest.mark.slow
SECONDS = 120
"""Longest time of one trial, on a busy machine: a hang is an error."""


def _name(folder: Path, name: str, content: bytes = b"") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a person may name, by what it is."""
    root = tmp_path_factory.mktemp("things")
    made = tiny.prepare(root / "shards")
    train(tiny.pretrain_run(made, root / "training"))
    checkpoint = newest_of(str(root / "training"))
    corpus.write_news(root / "news", 80)
    for arguments in (
        ["export", str(root / "training"), "--output", str(root / "export")],
        ["prepare", "--corpus", "news", "--input", str(root / "news"), "--output", str(root / "prepared")],
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    (root / "empty").mkdir()
    (root / "others").mkdir()
    _name(root / "others", "holiday.jpg", b"\xff\xd8\xff\xe0" + bytes(2_000))
    _name(root / "others", "notes.docx", b"PK\x03\x04" + bytes(100))
    with zipfile.ZipFile(root / "many.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.txt", "一篇文章。")
    os.mkfifo(root / "fifo")
    found = {
        "nothing": root / "missing",
        "an empty folder": root / "empty",
        "an empty file": _name(root, "empty.txt"),
        "a text": _name(root, "text.txt", "一篇文章，只有一句话。\n".encode()),
        "a page of an error": _name(root, "error.html", b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>"),
        "a Git LFS pointer": _name(root, "lfs.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
        "deep JSON": _name(root, "deep.json", b"[" * 200_000),
        "zeros": _name(root, "zeros.bin", bytes(100_000)),
        "an archive": root / "many.zip",
        "a name with an escape": _name(root, "a\x1b[31mb\n.txt", b"\xff\xfe\xfd"),
        "other files": root / "others",
        "a pipe": root / "fifo",
        "a device": Path("/dev/zero"),
        "a file of the kernel": Path("/proc/self/mem"),
        "a training folder": root / "training",
        "a checkpoint": Path(checkpoint or ""),
        "an export": root / "export",
        "an output of prepare": root / "prepared",
        "a stage": next((root / "prepared").glob("tokens_news-*")),
        "a URL without a server": Path("s3:/"),
        "a protocol that nobody has": Path("nowhere:/"),
    }
    urls = {"a URL without a server": "http://127.0.0.1:9/x.jsonl", "a protocol that nobody has": "nowhere://bucket/x"}
    return {name: urls.get(name, str(path)) for name, path in found.items()}


THINGS = (
    *("nothing", "an empty folder", "an empty file", "a text", "a page of an error", "a Git LFS pointer", "deep JSON", "zeros"),
    *("an archive", "a name with an escape", "other files", "a pipe", "a device", "a file of the kernel", "a training folder"),
    *("a checkpoint", "an export", "an output of prepare", "a stage", "a URL without a server", "a protocol that nobody has"),
)
USES: dict[str, Callable[[str, str, str], list[str]]] = {
    **{
        f"prepare {kind}": lambda x, export, out, kind=kind: ["prepare", "--corpus", kind, "--input", x, "--output", out]  # type: ignore[misc]
        for kind in ("text", "news", "baike", "wiki", "web", "tfrecord")
    },
    "prepare RECIPE": lambda x, export, out: ["prepare", x, "--output", out],
    "run RECIPE.toml": lambda x, export, out: ["run", f"{x}.toml", "--output", out],
    **{
        f"--set {key}": lambda x, export, out, key=key: [  # type: ignore[misc]
            *("prepare", "--corpus", "news", "--input", f"{Path(export).parent}/news", "--output", out),
            *("--set", f"{key}={x}", *(("--set", "masking.policy=entity") if key == "masking.phrases" else ())),
        ]
        for key in ("vocabulary.url", "dedup.withdrawn", "masking.phrases")
    },
    **{
        f"--set {key}": lambda x, export, out, key=key: [  # type: ignore[misc]
            *(
                "prepare",
                "--corpus",
                "news",
                "--input",
                f"{Path(export).parent}/news",
                "--output",
                out,
                "--set",
                f"{key}=['{x}']",
            ),
        ]
        for key in ("words.user_dictionary", "decontamination.inputs")
    },
    "pretrain --data": lambda x, export, out: ["pretrain", "tiny", "--data", x, "--output", out],
    "export": lambda x, export, out: ["export", x, "--output", out],
    "convert": lambda x, export, out: ["convert", x, out],
    "evaluate": lambda x, export, out: ["evaluate", x, "--data", x, "--output", out],
    "evaluate --data": lambda x, export, out: ["evaluate", export, "--data", x, "--output", out],
    "fill-mask": lambda x, export, out: ["fill-mask", x, "p7[MASK]"],
    "embed": lambda x, export, out: ["embed", x, "--input", x, "--output", out],
    "embed --input": lambda x, export, out: ["embed", export, "--input", x, "--output", out],
    "inspect": lambda x, export, out: ["inspect", x],
    "inspect --document": lambda x, export, out: ["inspect", x, "--document", "0a4f00c1b2d4e3f9"],
    "verify": lambda x, export, out: ["verify", x],
}
"""Commands that are given a thing, a good export and an output folder."""


@pytest.fixture
def limited() -> Iterator[None]:
    """Raise an error in this thread when a trial takes too long."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still at it after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("use", USES)
@pytest.mark.usefixtures("limited")
def test_a_wrong_thing_is_one_line(things: dict[str, str], tmp_path: Path, use: str, thing: str) -> None:
    arguments = USES[use](things[thing], things["an export"], str(tmp_path / "out"))
    done = CliRunner().invoke(main, arguments, prog_name="nezha-pipe")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert "Traceback" not in done.output
    assert not [character for character in done.output if not character.isprintable() and character not in "\n\t"], done.output
    if done.exit_code:
        last = done.stderr.splitlines()[-1]
        assert done.exit_code == 2 or use == "verify"
        assert last.startswith("Error: ") and len(last) < 1_000, done.stderr
        assert not [*tmp_path.glob("out/*/manifest.json")] or use.startswith(("prepare", "--set"))
