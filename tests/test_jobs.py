"""Jobs of a Ray cluster: what travels, what is refused in one line, and the whole way with a real head and its dashboard."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from cluster.config import ClusterConfig
from cluster.counting import Failures
from cluster.jobs import package as packages
from cluster.jobs import training
from cluster.jobs.connection import Connection, Job, token
from cluster.jobs.entry import RESULT
from cluster.jobs.folder import facts, newest_result
from cluster.jobs.following import follow
from cluster.jobs.package import LIMIT, package, room_files
from cluster.stops import PassedOn, Stops
from model.checkpoints import checkpoint
from model.training.loop import train
from model.training.stopping import StopReason
from pipeline import storage
from pipeline.engine.execution import News
from pipeline.errors import ClusterError, RecipeError
from tests import tiny
from tests.commands import refused
from tests.ray_head import COMMAND, PATIENCE, SECRET, Head, head, why_not
from tests.slow_processes import descendants, wait_for
from tests.test_chain import RECIPE as CHAIN
from tests.test_supervisor import newest, prepared
from workflows import recipe as recipes
from workflows.chain import Chain
from workflows.cli import main
from workflows.cli.jobs.following import JobDisplay
from workflows.cli.jobs.submitting import work

ROOT = Path(__file__).parent.parent
RECIPE = 'name = "My model"\n[[source]]\nname = "news"\nkind = "news"\ninput = ["s3://bucket/news"]\n'
PHASE = "[[phase]]\nsequence_length = 24\nbatch_size = 16\nsteps = 10\n"
ENTRY = "cluster.jobs.entry"
CHAIN_STEPS = 1_500
"""Of a training that still goes on when `run` has been started again."""


def invoke(*words: object, **environment: str) -> Result:
    """Run our command in this process."""
    env: dict[str, str | None] = {"RAY_AUTH_MODE": "disabled", "RAY_API_SERVER_ADDRESS": None, **environment}
    result = CliRunner().invoke(main, [*map(str, words)], prog_name="nezha-pipe", env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "my.toml"
    path.write_text(RECIPE + PHASE)
    return str(path)


# What travels


def test_the_package_has_the_rooms_and_the_recipe_and_nothing_else(recipe: str) -> None:
    made = work(recipe, ["pretrain", "--data", "s3://bucket/data"], [], "s3://bucket/run").submission.package()
    with zipfile.ZipFile(io.BytesIO(made.zipped())) as archive:
        names = archive.namelist()
        assert archive.read("my.toml").decode() == RECIPE + PHASE
    listed = subprocess.run(["git", "ls-files", *packages.ROOMS], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        missing = set(listed.stdout.split()) - set(names)
        assert not missing, f"DATA in cluster/jobs/package.py lacks the folder of {missing}"
    assert set(names) - set(room_files()) == {"my.toml", "job.json"}
    assert len(made.zipped()) < LIMIT
    assert made.zipped() == made.zipped(), "Ray would keep each"


def test_what_lies_among_our_files_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"pipeline/a.py", "workflows/recipes/tiny.toml", "workflows/report/page.html.jinja"}
    others = {
        "pipeline/.env",
        ".env",
        "model/.git/config.py",
        "model/__pycache__/a.py",
        "workflows/news.jsonl",
        "cluster/key.pem",
    }
    others |= {"pipeline/secrets.json", "workflows/mine.toml", "data/a.py", "model/weights.safetensors", ".venv/b.py"}
    for name in ours | others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    assert set(package({}, {}).files) == {*ours, "job.json"}


def test_a_package_that_is_too_large_is_refused_by_the_name_of_its_largest_file() -> None:
    with pytest.raises(ClusterError, match=r"more than 2,000,000; its largest file is my\.toml \(3,000,000 bytes\)"):
        package({}, {"my.toml": os.urandom(3_000_000)}).zipped()


def test_dry_run_lists_the_package_and_hides_secrets(recipe: str) -> None:
    output = "s3://key:wJalrXUtnFEMI@bucket/run"
    result = invoke("submit", recipe, "--output", output, "--dry-run", "pretrain", "--data", "/shared/data", "--workers", "2:8")
    assert result.exit_code == 0
    *files, total, command = result.stdout.splitlines()
    assert {"my.toml", "job.json", "cluster/jobs/entry.py"} <= {line.split()[1] for line in files}
    assert total.endswith("as a package")
    assert command.startswith("job my-model-pretrain-") and "pretrain my.toml --output s3://bucket/run" in command
    assert "--workers 2:8 --set cluster.address=auto" in command and "wJalrXUtnFEMI" not in result.output


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ([], "run my.toml --set seed=3 --output /x --set cluster.address=auto"),
        (["prepare"], "prepare my.toml --set seed=3 --output /x --runner ray --runner-option address=auto --workers 2"),
        (
            ["prepare", "--workers", "9", "--runner", "direct"],
            "prepare my.toml --set seed=3 --output /x --workers 9 --runner direct",
        ),
        (["pretrain", "--data", "/d"], "pretrain my.toml --set seed=3 --output /x --data /d --set cluster.address=auto"),
    ],
)
def test_a_command_gets_its_options_and_runs_on_the_cluster_of_its_job(recipe: str, command: list[str], arguments: str) -> None:
    assert " ".join(work(recipe, command, ["seed=3"], "/x").submission.arguments) == arguments


def test_a_model_is_evaluated() -> None:
    made = work("s3://bucket/my-nezha", ["evaluate", "--data", "/tasks"], [], "s3://bucket/scores")
    assert made.submission.arguments == [
        "evaluate",
        "s3://bucket/my-nezha",
        "--output",
        "s3://bucket/scores",
        "--data",
        "/tasks",
    ]
    assert made.submission.id.startswith("my-nezha-evaluate-") and made.places == ["/tasks"]
    with pytest.raises(RecipeError, match="evaluate takes a model"):
        work("s3://bucket/my-nezha", ["evaluate", "--data", "/tasks"], ["seed=3"], "s3://bucket/scores")


def test_the_same_command_recipe_and_output_are_the_same_job(recipe: str) -> None:
    def job(output: str = "s3://bucket/run", *settings: str, command: tuple[str, ...] = ("prepare",)) -> str:
        return work(recipe, command, settings, output).submission.id

    same = {
        job(),
        job("s3://bucket/run/"),
        job("s3://key:secret@bucket/run"),
        job("s3://bucket/run", "cluster.workers=7"),
        job("s3://bucket/run", "source.0.input=s3://other:signature@bucket/news"),
        job(command=("prepare", "--workers", "3")),
    }
    others = {job("s3://bucket/other"), job("s3://bucket/run", "seed=3"), job(command=("run",))}
    assert len(same) == 1 and len(same | others) == 4


def test_metadata_has_no_secret(recipe: str) -> None:
    submission = work(recipe, [], ["source.0.input=https://me:hunter2@a.cn/n.gz"], "s3://key:hunter2@bucket/run").submission
    assert submission.metadata == {"nezha-pipe": "run", "recipe": "My model", "output": "s3://bucket/run"}
    assert "hunter2" not in submission.id


# What is refused


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--output", "run"], "run: a relative path means nothing on the cluster: give an absolute one"),
        (["--output", "/x", "pretrain", "--data", "data"], "data: a relative path means nothing"),
        (["--output", "/x", "--set", "source.0.input=news/*.jsonl"], "news/*.jsonl: a relative path means nothing"),
        (["--output", "/x", "--set", "vocabulary.url=vocab.txt", "prepare"], "vocab.txt: a relative path means nothing"),
        (["--output", "/x", "--set", "source.0.input=[]"], "source 'news' has no input"),
        (["--output", "/x", "--set", "encoder.hiden_size=8"], "unknown key 'hiden_size'"),
        (["--output", "/x", "train"], "submit: no command 'train'; after the recipe comes one of pretrain, prepare"),
        (["--output", "/x", "--no-wait", "--supervise"], "--no-wait and --supervise exclude one another"),
        (["--output", "/x"], "--address: give the address of its dashboard, such as http://10.0.0.1:8265"),
        (["--output", "/x", "--address", "auto"], "--address auto: give the address of its dashboard"),
        (["--output", "/x", "--address", "ray://10.0.0.1:10001"], "--address ray://10.0.0.1:10001: give the address"),
        (["--output", "/x", "--address", "http://127.0.0.1:1"], "no Ray dashboard answers at http://127.0.0.1:1 (Connection"),
    ],
)
def test_a_mistake_is_one_line(recipe: str, words: list[str], line: str) -> None:
    assert line in refused(invoke("submit", recipe, *words))


def test_an_option_that_the_command_does_not_have_is_refused_here(recipe: str) -> None:
    result = invoke("submit", recipe, "--output", "/x", "--address", "http://127.0.0.1:1", "pretrain", "--dta", "/d")
    assert result.exit_code == 2 and "No such option '--dta'" in result.stderr
    result = invoke("submit", recipe, "--output", "/x", "--address", "http://127.0.0.1:1", "pretrain")
    assert result.exit_code == 2 and "Missing option '--data'" in result.stderr


class Answers(BaseHTTPRequestHandler):
    """Answers every request as the server says."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization", ""))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *words: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.status, self.content = 200, b""
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def test_another_ray_and_what_is_no_ray_are_refused(server: Server) -> None:
    server.content = json.dumps({"ray_version": "2.9.3"}).encode()
    line = refused(invoke("jobs", "--address", server.url))
    assert f"the cluster at {server.url} has Ray 2.9.3, here is 2." in line
    server.content = b"<html>"
    assert "is no Ray dashboard" in refused(invoke("jobs", "--address", server.url))
    server.status = 404
    assert "is no Ray dashboard" in refused(invoke("jobs", "--address", server.url))


def test_the_address_given_is_the_one_asked_and_gets_the_token(server: Server) -> None:
    server.content = json.dumps({"ray_version": "2.9.3"}).encode()
    elsewhere = {"RAY_ADDRESS": "http://127.0.0.1:1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "abc"}
    refused(invoke("jobs", "--address", server.url, **elsewhere))
    assert set(server.seen) == {"Bearer abc"}


def test_rays_token_is_found_as_ray_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token() == ""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ClusterError, match="RAY_AUTH_MODE is token, but there is none"):
        token()
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("from-home\n")
    assert token() == "from-home"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other"))
    with pytest.raises(ClusterError, match="other cannot be read: No such file"):
        token()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert token() == "from-variable"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert token() == ""


# What runs in the job


def entry(folder: Path, **job: Any) -> "subprocess.CompletedProcess[str]":
    """Run the entry of a package, in a folder, as Ray does."""
    with zipfile.ZipFile(io.BytesIO(package(job, {"a.py": b"import nowhere\n"}).zipped())) as archive:
        archive.extractall(folder)
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return subprocess.run([sys.executable, "-m", ENTRY], cwd=folder, env=env, capture_output=True, text=True)


def here(**changes: Any) -> dict[str, Any]:
    import ray

    job = {"module": "workflows.cli", "function": "main", "arguments": ["plan", "tiny", "--json"]}
    python, ray_version = f"{sys.version_info[0]}.{sys.version_info[1]}", ".".join(ray.__version__.split(".")[:2])
    return {**job, "python": python, "ray": ray_version, **changes}


def test_the_entry_calls_the_command_and_marks_its_result(tmp_path: Path) -> None:
    done = entry(tmp_path, **here())
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (result,) = [line for line in done.stderr.splitlines() if line.startswith(RESULT)]
    assert json.loads(result.removeprefix(RESULT))["steps"]["report"] == "to do"
    done = entry(tmp_path, **here(arguments=["plan", "nothing"]))
    assert done.returncode == 2 and done.stderr.startswith("Error: no recipe 'nothing'")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"python": "3.9"}, r"Error: `python` on the cluster is .*, and the job was submitted with 3.9: use the same"),
        ({"ray": "2.9"}, r"Error: `python` on the cluster is .* with Ray 2\..*, and the job was submitted with 2.9"),
        ({"module": "a"}, r"Error: .* on the cluster has no package nowhere: install what nezha-pipe needs there"),
    ],
)
def test_another_python_ray_or_environment_is_one_line(tmp_path: Path, changes: dict[str, str], line: str) -> None:
    done = entry(tmp_path, **here(**changes))
    assert done.returncode == 2 and re.fullmatch(line + ".*\n", done.stderr), done.stderr


def test_a_signal_to_all_processes_of_a_tree_is_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver gets it twice, from whoever sends it and from its supervisor. A second one ends it."""
    monkeypatch.setattr(PassedOn, "count", 0)
    stops = Stops(str(tmp_path))
    with stops.listening():
        stops.pass_on(1)
        for passed_on in (0, 1):
            PassedOn.count += passed_on
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("passed_on", [0, 1])
def test_a_second_sigterm_to_one_process_ends_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed_on: int
) -> None:
    monkeypatch.setattr(PassedOn, "count", 0)
    stops = Stops(str(tmp_path))
    with stops.listening():
        stops.pass_on(1)
        PassedOn.count += passed_on
        signal.raise_signal(signal.SIGTERM)
        PassedOn.count += passed_on
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)


# What is shown


def job(status: str, exit_code: int | None = None, message: str = "") -> Job:
    return Job("a-1", status, message, exit_code, 1.0, 2.0, {})


def test_the_exit_code_is_that_of_a_local_run() -> None:
    ends = [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", -9, 137), ("FAILED", None, 1), ("STOPPED", None, 143)]
    assert [job(status, code).code for status, code, _ in ends] == [wanted for *_, wanted in ends]
    assert [job(status, code).died for status, code, _ in ends] == [False, False, True, True, False]


def test_a_log_is_shown_as_a_local_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "2026-11-29 17:00:41,198\tINFO job_manager.py:568 -- Runtime env is setting up.",
        "Running entrypoint for job a-1: exec env PYTHONSAFEPATH= python -m cluster.jobs.entry",
        "[ 1/2] documents_news: 12 of 40 files (30 %)",
        "[ 1/2] documents_news         17,469 documents  1.2 s",
        "[ 2/2] dedup                  unchanged",
        "[ 2/2] pretrain: step 5 of 10, loss 3.2 (50 %)",
        "result: s3://bucket/run/report.html",
        "Error: \x1b[2Jno room [in here]",
    ]
    with JobDisplay() as display:
        for line in lines:
            display.line(line)
    shown = [lines[2], lines[3], lines[4], "Error: \\u001b[2Jno room [in here]"]  # progress only now and then
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in shown))
    assert display.results == ["s3://bucket/run/report.html"]


def test_a_log_that_breaks_off_as_its_job_ends_is_read_once_more() -> None:
    """What Ray passes on of a job that still runs may end before the last lines, and the job be over when it is asked for."""
    log = ["[ 1/1] pretrain\n", f"{RESULT}here\n"]

    class BreaksOff:
        reads = 0

        def info(self, job: str) -> Job:
            return Job(job, "SUCCEEDED" if self.reads else "RUNNING", "", 0, None, None, {})

        async def tail(self, job: str) -> AsyncIterator[str]:
            self.reads += 1
            for text in log[: self.reads]:
                yield text

    lines: list[str] = []
    assert follow(cast(Connection, BreaksOff()), "a-1", lines.append, lines.append).status == "SUCCEEDED"
    assert lines == ["[ 1/1] pretrain", f"{RESULT}here"]


def test_the_log_of_a_training_is_reports_and_a_result() -> None:
    said: list[tuple[int, int, str, bool]] = []
    log = training._Log(lambda done, total, what: said.append((done, total, what, isinstance(what, News))))
    facts = {"step": 5, "steps": 10, "attempt": 1, "last_checkpoint": "a", "best_checkpoint": None}
    for line in [
        "2026-11-29 17:00:41,198\tINFO job_manager.py:568 -- Runtime env is setting up.",
        "[ 1/1] pretrain: step 5 of 10, loss 3.2 (50 %)",
        "pretrain: restarting after a failure (attempt 2)",
        f"{RESULT}{json.dumps({**facts, 'best_validation_loss': None, 'stopped_by': 'sigterm'})}",
    ]:
        log.line(line)
    news = "pretrain: restarting after a failure (attempt 2)"
    assert said == [(50, 100, "pretrain: step 5 of 10, loss 3.2", False), (0, 0, news, True)]
    assert log.result and log.result.step == 5 and log.result.stopped_by is StopReason.SIGTERM


@pytest.mark.parametrize(
    ("status", "code", "line", "error"),
    [
        ("FAILED", 2, "Error: no shards", "^no shards$"),
        ("FAILED", 1, "Traceback", "job a-1 ended with exit code 1: its log says why: nezha-pipe logs a-1"),
        ("STOPPED", None, "", r"job a-1 has ended \(stopped\) without a result"),
    ],
)
def test_a_training_without_a_result_is_one_line(status: str, code: int | None, line: str, error: str) -> None:
    log = training._Log(lambda done, total, what: None)
    log.line(line)
    with pytest.raises(ClusterError, match=error):
        training._refuse(job(status, code), log)


def test_the_address_of_a_dashboard_makes_training_a_job(tmp_path: Path, data: Path, server: Server) -> None:
    server.content = json.dumps({"ray_version": "2.9.3"}).encode()
    words = ["pretrain", data / "recipe.toml", "--data", data, "--output", tmp_path / "out"]
    assert "has Ray 2.9.3, here is 2." in refused(invoke(*words, "--set", f"cluster.address={server.url}"))
    assert (
        not ClusterConfig(address="10.0.0.1:6379").takes_jobs and not ClusterConfig(address="ray://10.0.0.1:10001").takes_jobs
    )


# What a folder says


def attempt(folder: Path, number: int, *steps: int) -> None:
    for step in steps:
        place = folder / f"attempt-{number:04d}" / f"checkpoint-{step:08d}"
        place.mkdir(parents=True)
        (place / "checkpoint.json").write_text("{}")


def test_status_of_a_training_folder_needs_no_cluster(tmp_path: Path) -> None:
    attempt(tmp_path, 1, 20, 40)
    row = {"step": 55, "steps": 1200, "loss": 5.20417, "tokens_per_second": 3310.2, "updated": time.time() - 300, "attempt": 1}
    storage.write_json(str(tmp_path / "progress.json"), row)
    storage.write_json(str(tmp_path / "best.json"), {"checkpoint": "attempt-0001/checkpoint-00000020", "step": 20})
    (tmp_path / "failure.txt").write_text("rank 1 is gone\nTraceback")
    result = invoke("status", tmp_path)
    assert result.exit_code == 0
    found = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    assert {name: text.strip() for name, text in found.items()} == {
        "folder": f"{tmp_path} (a training folder)",
        "attempts": "1",
        "step": "55 of 1,200, loss 5.204, 3,310 tokens/s",
        "last sign of life": "5 min ago",
        "newest checkpoint": "attempt-0001/checkpoint-00000040",
        "resumes at step": "40",
        "best checkpoint": "attempt-0001/checkpoint-00000020 (step 20)",
        "last failure": f"rank 1 is gone ({tmp_path}/failure.txt)",
    }
    assert json.loads(invoke("status", tmp_path, "--json").stdout) == {**facts(str(tmp_path)), "time": []}


def test_status_says_where_the_time_went(tmp_path: Path) -> None:
    run = tiny.pretrain_run(tiny.prepare(tmp_path / "corpus"), tmp_path / "run")
    train(run)
    result = invoke("status", run.output)
    assert result.exit_code == 0 and "where the time went: " in result.stdout and "  computing " in result.stdout
    (spent,) = json.loads(invoke("status", run.output, "--json").stdout)["time"]
    assert spent["step"] == 20 and spent["attempts"] == 1 and spent["seconds"]["computing"] > 0


def test_status_of_a_run_has_its_stages_and_its_training(tmp_path: Path) -> None:
    for stage in ("documents_news-3f9a", "dedup-11aa"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "manifest.json").write_text("{}")
    attempt(tmp_path / "checkpoint-77bb", 2, 30)
    found = facts(str(tmp_path))
    assert (found["finished"], found["training"]) == ("dedup, documents_news", "checkpoint-77bb")
    assert found["resumes at step"] == "30"


def test_status_of_another_folder_and_of_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert "a folder that nezha-pipe did not write" in refused(invoke("status", tmp_path))
    assert "no such folder" in refused(invoke("status", tmp_path / "nothing"))
    assert "no such folder; if it is the id of a job, give the --address" in refused(invoke("status", "tiny-run-1-1"))


def test_deaths_of_a_job_are_counted_by_what_is_new_in_its_folder(tmp_path: Path) -> None:
    deaths = Failures(str(tmp_path), 1, newest_result)
    assert deaths.allows_another() and not deaths.allows_another()
    (tmp_path / "dedup-11aa").mkdir()
    (tmp_path / "dedup-11aa" / "manifest.json").write_text("{}")
    assert deaths.allows_another() and not deaths.allows_another()
    attempt(tmp_path / "checkpoint-77bb", 1, 30)
    assert deaths.allows_another() and not deaths.allows_another()


# The whole way


class Proxy:
    """A way to a port that can be closed, with all that is under way on it, and opened again."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self._sockets: list[socket.socket] = []
        self.open()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self.port = listener.getsockname()[1]
        self._sockets.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        while self._sockets:
            one = self._sockets.pop()
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self.target))
                self._sockets += [here, there]
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()
        except OSError:
            return

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Head]:
    if reason := why_not():
        pytest.skip(reason)
    with head(cpus=4) as found:
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data"))


def pretraining(data: Path, output: Path, *settings: str) -> list[str]:
    """The words of a submission."""
    changed = [word for setting in settings for word in ("--set", setting)]
    return ["submit", str(data / "recipe.toml"), *changed, "--output", str(output), "pretrain", "--data", str(data)]


def jobs_of(cluster: Head, output: Path) -> list[dict[str, str]]:
    done = cluster.run("jobs", "--json")
    assert done.returncode == 0, done.stderr
    return [job for job in json.loads(done.stdout) if job["output"] == str(output)]


@pytest.mark.slow
def test_a_job_is_followed_to_its_end_and_the_same_submission_follows_it_too(cluster: Head, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = pretraining(data, output, "phase.0.steps=60")
    (job_id,) = cluster.run(*words[:-3], "--no-wait", *words[-3:]).stdout.split()
    follower = cluster.start(*words)
    clash = cluster.run(*pretraining(data, output, "phase.0.steps=61"))
    assert clash.returncode == 2 and f"job {job_id} writes into this folder" in clash.stderr
    out, err = follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 0, err
    assert out == f"{next(checkpoint.committed(str(output)))}\n" and newest(output) == 60
    first, *lines = err.splitlines()
    assert first == f"job {job_id} is there already: following it"
    end = next(number for number, line in enumerate(lines) if line.startswith("where the time went: "))
    assert end > 0 and all(line.startswith("[ 1/1] ") for line in lines[:end]), err

    (known,) = jobs_of(cluster, output)
    assert (known["job"], known["status"], known["exit code"]) == (job_id, "succeeded", "0")
    status = cluster.run("status", job_id.rpartition("-")[0]).stdout
    assert job_id in status and "attempt-0001/checkpoint-00000060" in status
    log = cluster.run("logs", job_id).stdout
    assert "Running entrypoint" in log and f"{RESULT}{output}" in log
    assert "has ended already: succeeded" in cluster.run("stop", job_id).stderr


@pytest.mark.slow
def test_following_outlives_its_dashboard_and_stopping_keeps_the_step(cluster: Head, data: Path, tmp_path: Path) -> None:
    """A job is followed through a way that breaks for 30 s, left by Ctrl-C, stopped, and submitted again."""
    output, proxy = tmp_path / "out", Proxy(cluster.port)
    words = pretraining(data, output, "phase.0.steps=1000000", "training.checkpoint_every=1000000")
    with (tmp_path / "err").open("w") as file:
        follower = subprocess.Popen(
            [*COMMAND, *words],
            env={**cluster.environment, "RAY_API_SERVER_ADDRESS": proxy.address, "NEZHA_PIPE_PROGRESS_SECONDS": "0"},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )

    def shown() -> str:
        return (tmp_path / "err").read_text()

    wait_for(lambda: "step" in shown(), follower, seconds=PATIENCE)
    closed = time.monotonic()
    proxy.close()
    wait_for(lambda: "no Ray dashboard answers" in shown() and time.monotonic() - closed > 30, follower, seconds=PATIENCE)
    proxy.open()
    wait_for(lambda: "step" in shown().partition("the dashboard answers again\n")[2], follower, seconds=PATIENCE)
    steps = [int(line.split()[4].replace(",", "")) for line in shown().splitlines() if "pretrain: step" in line]
    assert steps == sorted(set(steps)), "nothing is shown twice"
    job_id = shown().split()[1]
    follower.send_signal(signal.SIGINT)
    assert (follower.wait(PATIENCE), follower.communicate()[0]) == (130, "")
    last = shown().splitlines()[-1]
    assert last.startswith(f"Job {job_id} goes on. To look at it again: nezha-pipe logs {job_id} -f --address {proxy.address}")
    assert "Traceback" not in shown()

    assert jobs_of(cluster, output)[0]["status"] == "running"
    assert cluster.run("stop", job_id).returncode == 0
    end = cluster.run("logs", job_id, "-f")
    step = newest(output)
    assert end.returncode == 143, end.stderr
    assert f"pretraining stopped at step {step:,} of 1,000,000 on SIGTERM; run again: it resumes there" in end.stderr
    assert step > 0 and end.stdout == f"{next(checkpoint.committed(str(output)))}\n"

    again = cluster.run(*words[:-3], "--no-wait", *words[-3:])
    assert again.stdout.strip() == job_id.removesuffix("1") + "2"
    resumed = wait_for(lambda: (output / "attempt-0002" / "attempt.json").exists(), seconds=PATIENCE)
    assert resumed and storage.read_json(str(output / "attempt-0002" / "attempt.json"))["step"] == step
    cluster.run("stop", again.stdout.strip())
    wait_for(lambda: jobs_of(cluster, output)[-1]["status"] == "stopped", seconds=PATIENCE)


@pytest.mark.slow
def test_a_step_follows_the_job_that_it_had_submitted_before_its_process_was_killed(
    cluster: Head, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["pretrain", data / "recipe.toml", "--data", data, "--output", output, "--json"]
    words += ["--set", f"cluster.address={cluster.address}", "--set", "phase.0.steps=400"]
    first = cluster.start(*words, NEZHA_PIPE_PROGRESS_SECONDS="0")
    wait_for(lambda: newest(output), first, seconds=PATIENCE)
    first.kill()
    first.wait(PATIENCE)
    (known,) = jobs_of(cluster, output)
    assert known["status"] == "running"
    again = cluster.run(*words, NEZHA_PIPE_PROGRESS_SECONDS="0")
    assert again.returncode == 0, again.stderr
    assert f"pretrain: job {known['job']} runs already: following it" in again.stderr
    assert "pretrain: step " in again.stderr and "Running entrypoint" not in again.stderr
    assert json.loads(again.stdout)["step"] == 400 == newest(output)
    assert [(job["job"], job["status"]) for job in jobs_of(cluster, output)] == [(known["job"], "succeeded")]
    assert [path.name for path in output.glob("attempt-*")] == ["attempt-0001"]


@pytest.mark.slow
def test_a_run_that_was_killed_in_training_attaches_to_its_job_again(cluster: Head, tmp_path: Path) -> None:
    """`run` with the address of a dashboard in its recipe: one job, and the weights of a run that needs no cluster."""
    text = CHAIN.replace("workers = 2", "workers = 1").replace("seeds = 1", "seeds = 1\nbaseline = false")
    text = text.replace("_every = 4", "_every = 100").replace("steps = 8", f"steps = {CHAIN_STEPS}")
    (tmp_path / "local.toml").write_text(text)
    (tmp_path / "mini.toml").write_text(text.replace("[cluster]", f'[cluster]\naddress = "{cluster.address}"'))
    words = ["run", tmp_path / "mini.toml", "--output", tmp_path / "out", "--workers", "1"]
    first = cluster.start(*words, NEZHA_PIPE_PROGRESS_SECONDS="0")

    def training() -> Path | None:
        return next((folder for folder in (tmp_path / "out").glob("checkpoint-*") if newest(folder)), None)

    folder = wait_for(training, first, seconds=PATIENCE)
    first.kill()
    first.wait(PATIENCE)
    (known,) = jobs_of(cluster, folder)
    assert known["status"] == "running" and not (folder / "manifest.json").exists()
    again = cluster.run(*words, NEZHA_PIPE_PROGRESS_SECONDS="0")
    assert again.returncode == 0, again.stderr
    assert f"pretrain: job {known['job']} runs already: following it" in again.stderr
    assert "pretrain: step " in again.stderr and "Running entrypoint" not in again.stderr
    assert [(job["job"], job["status"]) for job in jobs_of(cluster, folder)] == [(known["job"], "succeeded")]
    assert [path.name for path in folder.glob("attempt-*")] == ["attempt-0001"]

    local = Chain(recipes.load(str(tmp_path / "local.toml")), str(tmp_path / "local")).run("checkpoint")
    assert storage.base_name(local.url) == folder.name, "where it trains decides nothing"
    best = f"{local.manifest['best']}/model.safetensors"
    assert (folder / best).read_bytes() == storage.read_bytes(local.file(best))


@pytest.mark.slow
def test_a_supervised_job_that_is_killed_has_a_next_attempt(cluster: Head, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = pretraining(data, output, "phase.0.steps=400")
    process = cluster.start(*words[:-3], "--supervise", *words[-3:])
    wait_for(lambda: newest(output), process, seconds=PATIENCE)
    (entered,) = [pid for pid, name in descendants(cluster.process.pid).items() if ENTRY in name and "exec" not in name]
    os.kill(entered, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert newest(output) == 400 and out == f"{next(checkpoint.committed(str(output)))}\n"
    assert "ended with exit code -9: submitting the next attempt" in err
    assert [(job["status"], job["exit code"]) for job in jobs_of(cluster, output)] == [("failed", "137"), ("succeeded", "0")]
    assert storage.read_json(str(output / "attempt-0002" / "attempt.json"))["step"] >= 20


@pytest.mark.slow
def test_an_error_comes_back_as_it_is_and_no_secret_is_shown_anywhere(cluster: Head, data: Path, tmp_path: Path) -> None:
    signed = "http://me:hunter2@127.0.0.1:1/news.jsonl?token=591785b794601e21"
    words = ["submit", "tiny", "--output", tmp_path / "out", "--set", f"source.0.input={signed}", "--set", "source.0.kind=news"]
    process = cluster.start(*words, "prepare")
    seen: set[str] = set()
    while process.poll() is None:
        seen |= set(descendants(cluster.process.pid).values())
        time.sleep(0.05)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, ""), err
    last = err.splitlines()[-1]
    assert last.startswith("Error: ") and "http://127.0.0.1:1/news.jsonl" in last
    (known,) = jobs_of(cluster, tmp_path / "out")
    assert known["exit code"] == "2"
    listed = _get(cluster, "/api/jobs/")
    log = cluster.run("logs", known["job"]).stdout
    assert ENTRY in listed and any(ENTRY in name for name in seen)
    for secret in ("hunter2", "591785b794601e21", SECRET, cluster.token):
        for where, text in {"ps": " ".join(seen), "metadata": listed, "log": log, "output": err}.items():
            assert secret not in text, where


def _get(cluster: Head, path: str) -> str:
    headers = {"Authorization": f"Bearer {cluster.token}"}
    with urllib.request.urlopen(urllib.request.Request(f"{cluster.address}{path}", headers=headers)) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
def test_tokens_and_ids_that_are_wrong_are_one_line(cluster: Head) -> None:
    missing = cluster.run("jobs", RAY_AUTH_MODE="disabled")
    wrong = cluster.run("jobs", RAY_AUTH_TOKEN="0" * 64)
    unknown = [cluster.run(*words) for words in (["status", "a-b-1"], ["logs", "a-b-1", "-f"], ["stop", "a-b-1"])]
    for done in (missing, wrong, *unknown):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "asks for a token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH" in missing.stderr
    assert "refuses the token" in wrong.stderr
    assert all("a-b-1: the cluster at" in done.stderr and "knows no such job" in done.stderr for done in unknown)
