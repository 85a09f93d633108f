"""The command as a user types it, in its own process, with mistakes."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.commands import refused
from workflows.cli import commands, main
from workflows.preparing import Url
from workflows.stopping import RESUMES, STARTS_ANEW

ROOT = Path(__file__).parent.parent


def nezha_pipe(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from workflows.cli import main; main()", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )


def test_h_is_help() -> None:
    done = nezha_pipe("-h")
    assert done.returncode == 0 and "prepare" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "tinny"], "no recipe 'tinny'"),
        (["run", "tiny", "--set", "encoder.hiden_size=8"], "unknown key 'hiden_size'; did you mean 'hidden_size'?"),
        (["prepare", "--output", "out"], "give either a RECIPE or --corpus"),
        (["prepare", "--corpus", "text", "--output", "out"], "has no input; give files, folders or globs"),
        (["prepare", "--corpus", "text", "--input", "missing.txt", "--output", "out"], "missing.txt: no such file"),
        (["prepare", "--corpus", "demo", "--set", "filters.min_chars=3", "--output", "out"], "unknown key 'min_chars'"),
        (["prepare", "--corpus", "wikis", "--output", "out"], "'wikis' is not one of"),
        (["prepare", "tiny", "--variant", "zh-tw", "--output", "out"], "--variant: only with --corpus"),
        (
            ["prepare", "--corpus", "demo", "--max-bad-ratio", "much", "--output", "out"],
            "'much' is not a ratio: write 1% or 0.01",
        ),
        (
            ["prepare", "--corpus", "demo", "--masked-lm-prob", "2", "--output", "out"],
            "masked_lm_prob 2.0 is not between 0 and 1",
        ),
        (["prepare", "tiny", "--output", "out", "--runner", "flink"], "cannot see the local path"),
        (["prepare", "tiny", "--output", "out", "--runner", "ray", "--runner-option", "adress=a:1"], "only address=host:port"),
        (["pretrain", "tiny", "--data", "missing", "--output", "out"], "missing: no such folder; run nezha-pipe prepare"),
        (["pretrain", "tiny", "--data", "x", "--output", "y", "--workers", "4:2"], "--workers 4:2: the smaller number comes"),
        (["pretrain", "tiny", "--data", ".", "--output", "out"], ".: an empty folder, not the output folder of"),
        (["export", "missing", "--output", "out"], "missing: no such folder"),
        (["export", "missing", "--output", ""], "'--output': is empty; name a place, or . for this folder"),
        (
            ["prepare", "--corpus", "demo", "--dupe-factor", "100000000", "--output", "out"],
            "dupe_factor 100000000 is not between",
        ),
        (
            ["prepare", "--corpus", "demo", "--set", "masking.static_draws=100000", "--output", "out"],
            "static_draws 100000 is not",
        ),
        (["prepare", "--corpus", "demo", "--workers", "100000", "--output", "out"], "100,000 workers on a machine with"),
        (["evaluate", "missing", "--data", "missing", "--workers", "100000"], "100,000 workers on a machine with"),
        (["evaluate", "missing", "--data", "missing"], "missing: no such folder"),
        (
            ["evaluate", "x", "--data", "missing", "--output", "./x"],
            "the model is there; give its scores a folder of their own",
        ),
        (["run", "tiny", "--set", "phase.0.learning_rate=nan"], "learning_rate nan is not between 0 and inf"),
        (["verify", "missing"], "nothing to verify"),
        (["inspect", "missing"], "no such folder"),
        (["fill-mask", "missing", "中[MASK]"], "missing"),
        (["fill-mask", "missing", "中国"], "the text has no [MASK]"),
        (["evaluate", "missing", "--data", "missing", "--tasks", "nothing"], "nothing"),
        (["inspect", "nowhere://bucket/x"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = nezha_pipe(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: "), done.stderr
    assert done.stdout == ""


PLACES = [
    (name, parameter)
    for name, command in commands().items()
    for parameter in command.params
    if isinstance(parameter, click.Option) and isinstance(parameter.type, Url)
]


@pytest.mark.parametrize(("name", "option"), PLACES, ids=[f"{name} {option.opts[0]}" for name, option in PLACES])
def test_a_protocol_that_does_not_exist_is_refused_by_every_option(name: str, option: click.Option) -> None:
    done = CliRunner().invoke(main, [*name.split(), option.opts[0], "nowhere://bucket/x"])
    assert refused(done) == "nowhere://bucket/x: unknown protocol 'nowhere'; give a path, or a URL such as s3://bucket/folder"


@pytest.mark.parametrize(
    "arguments",
    [
        *(["models", *more, "--registry", "FILE"] for more in ([], ["--champion"], ["--history"], ["tiny"])),
        *(["compare", "a", "champion", "--registry", "FILE"], ["promote", "a", "--registry", "FILE"]),
        *(["rollback", "--registry", "FILE"], ["models", "--registry", "FILE/below"]),
        *(["plan", "tiny", "--output", "FILE"], ["run", "tiny", "--output", "FILE/below"], ["verify", "FILE"]),
        *(["schedule", "tiny", "--list", "--output", "FILE"], ["schedule", "tiny", "--cron", "0 3 1 * *", "--output", "FILE"]),
    ],
    ids=" ".join,
)
def test_a_file_where_a_folder_is_needed_is_said(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = [word.replace("FILE", str(tmp_path / "file")) for word in arguments]
    message = refused(CliRunner().invoke(main, given))
    assert message.startswith(str(tmp_path / "file"))
    assert message.endswith(": there is a file where a folder is needed; choose another place")


def test_an_empty_address_starts_no_cluster() -> None:
    message = refused(CliRunner().invoke(main, ["cluster", "check", "--address", ""]))
    assert message == "the address is empty: give that of a running Ray, such as head:6379"


def test_every_option_that_takes_a_url_is_one_of_these() -> None:
    others = {
        f"{name} {option.opts[0]}"
        for name, command in commands().items()
        for option in command.params
        if isinstance(option, click.Option) and option.metavar == "URL"
    }
    assert len(PLACES) > 20 and all(other.endswith(" --address") for other in others), "those are of servers"


def test_a_broken_corpus_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"content": "这是一篇新闻。"}\n{"content": "这是\n' * 40)
    done = nezha_pipe(
        "prepare", "--corpus", "news", "--input", "bad.jsonl", "--max-bad-ratio", "10%", "--output", "out", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "40 of 80 records cannot be read, max_bad_ratio allows 10.00% (bad.jsonl#" in done.stderr
    assert not list((tmp_path / "out").glob("*/manifest.json"))
    assert not (tmp_path / "out" / "data.json").exists()


PROGRAM = "from workflows.cli import main; main()"


@pytest.mark.parametrize("arguments", [["plan", "tiny"], ["--help"], ["--version"], ["cluster", "check", "--help"]])
def test_a_full_standard_output_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.splitlines() == [
        "Error: standard output: no space left; the work is done: run again, with room for the result"
    ]


@pytest.mark.parametrize("arguments", [["plan", "tiny"], ["--help"], ["run", "--help"]])
def test_a_closed_standard_output_is_one_line(arguments: list[str]) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (
        2,
        "Error: standard output is closed, and the result goes there; leave it open, or send it to /dev/null\n",
    )


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    program = f"{PROGRAM.partition(';')[0]}\ntry: main(['--version'])\nexcept SystemExit: print(open('/dev/zero').fileno())"
    command = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert int(done.stdout.splitlines()[-1]) > 2


@pytest.mark.parametrize(
    ("module", "command", "says"),
    [
        ("click", "plan", STARTS_ANEW),
        ("workflows.cli.jobs", "run", RESUMES),
        ("workflows.planning", "plan", STARTS_ANEW),
        ("workflows.assets", "run", RESUMES),
    ],
)
def test_ctrl_c_while_modules_load_is_one_line(module: str, command: str, says: str) -> None:
    program = f"""
import os, signal, sys
class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
sys.meta_path.insert(0, CtrlC())
{PROGRAM}
"""
    done = subprocess.run([sys.executable, "-c", program, command, "tiny"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", says)


@pytest.mark.parametrize("megabytes", [200, 700])
def test_too_little_memory_to_load_the_libraries_is_one_line(tmp_path: Path, megabytes: int) -> None:
    """With more, what happens depends on the moment: a library in C++ that cannot start a thread ends the process.

    What becomes of errors in tasks is in test_job.py.
    """
    program = "from workflows.cli import main; main()"
    limited = (
        f"ulimit -v {megabytes * 1024}; exec {sys.executable} -c '{program}' prepare --corpus demo --output {tmp_path}/out"
    )
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: out of memory")
