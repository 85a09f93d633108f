"""Keys and tokens in what libraries say: in no error, stack trace, log or failure.txt, whoever prints it."""

import base64
import json
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster
import pytest

from cluster import driver, launch
from cluster.config import ClusterConfig
from cluster.tasks import _apply
from cluster.worker import work
from pipeline import credentials
from pipeline.credentials import hidden, hide
from pipeline.errors import StorageError
from tests import tiny

ROOT = Path(__file__).parents[1]
KEY, SECRET, SESSION = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY", "FwoGZXIvYXdzEBYaDKsession"
RAY_TOKEN, PROXY, STORE = "5f0c1e7a9b3d4486aa01b2c3d4e5f607", "proxy-p4ssword", "fsspec-s3cr3t"
SECRETS = (KEY, SECRET, SESSION, RAY_TOKEN, PROXY, STORE)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SESSION,
    "RAY_AUTH_TOKEN": RAY_TOKEN,
    "https_proxy": f"http://me:{PROXY}@127.0.0.1:9",
    "FSSPEC_GCS": json.dumps({"token": STORE, "project": "newspapers"}),
}
SAID = f"key {KEY} with {SECRET}, {SESSION}; {RAY_TOKEN} by http://me:{PROXY}@127.0.0.1:9; {STORE} of newspapers"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        assert not [secret for secret in SECRETS if secret in text], text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The key ASIAIOSFODNN7EXAMPLE is unknown", "The key *** is unknown"),
        ("Invalid header value b'Bearer abcdef0123\\n'", "Invalid header value b'Bearer ***\\n'"),
        ("AWS4-HMAC-SHA256 Credential=ABCDE/2026/s3, Signature=0123456789ab", "AWS4-HMAC-SHA256 Credential=***, Signature=***"),
        ("<Key>a</Key><AWSAccessKeyId>ABCDE1234</AWSAccessKeyId>", "<Key>a</Key><AWSAccessKeyId>***</AWSAccessKeyId>"),
        ('{"user": "me", "password": "opensesame", "n": 3}', '{"user": "me", "password": "***", "n": 3}'),
        ("aws_secret_access_key = opensesame", "aws_secret_access_key = ***"),
        ("x-amz-security-token: opensesame", "x-amz-security-token: ***"),
        ("?sv=2024&sig=opensesame&se=1", "?sv=2024&sig=***&se=1"),
        ("hf_abcdefghijklmnopqrst is no token", "*** is no token"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nend", "***\nend"),
        ("403 for 'https://b.cn/n?X-Amz-Signature=9f'", "403 for 'https://b.cn/n'"),
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden(text: str, shown: str) -> None:
    assert hide(text) == shown == hide(shown)


@pytest.mark.parametrize(
    "text",
    [
        "token: 3, tokens: 40,000, max_tokens = 8192",
        "unknown token '[MASK]' at line 3; the vocabulary has 21,128 tokens",
        "no setting masking.token; did you mean masking.tokens?",
        "segmenter plug:cut: cannot import plug; install it, or put it on PYTHONPATH",
        "runs/tiny/shards_news_64-3f9a0c1b2d4e: SHA-256 45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c",
        "password protected files are not read",
    ],
)
def test_what_only_speaks_of_tokens_and_keys_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token-mode")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "vocabulary")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "PYTHONPATH")
    monkeypatch.setenv("SHORT_TOKEN", "token")
    assert hide(text) == text


def test_values_of_the_environment_are_hidden_wherever_they_are(secrets: None) -> None:
    assert hide(SAID) == "key *** with ***, ***; *** by http://127.0.0.1:9; *** of newspapers"
    assert_no_secret(str(StorageError(SAID)), str(pickle.loads(pickle.dumps(StorageError(SAID)))))


class Odd(Exception):
    """Makes its message of something else than its arguments, as clients of stores do."""

    def __init__(self, response: str) -> None:
        super().__init__()
        self.response = response

    def __str__(self) -> str:
        return f"the store answered: {self.response}"


def failed() -> Exception:
    """An error as a run ends with: the store's own is its cause, and that of the connection its context."""
    try:
        try:
            try:
                raise ValueError(SAID)
            except ValueError:
                raise Odd(SAID)  # noqa: B904
        except Odd as error:
            raise OSError(5, SAID, "/a") from error
    except OSError as error:
        error.add_note(SAID)
        return error


def test_errors_are_hidden_with_their_causes_and_notes(secrets: None) -> None:
    error = failed()
    assert all(secret in "".join(traceback.format_exception(error)) for secret in SECRETS)
    shown = hidden(error)
    text = "".join(traceback.format_exception(shown))
    assert_no_secret(text)
    assert "Odd: the store answered: key *** with" in text and "ValueError: key *** with" in text and "in failed" in text
    plain = StorageError("a: not found")
    assert hidden(plain) is plain and hidden(ValueError(SAID)).args[0] == hide(SAID)


def test_an_error_that_is_its_own_cause_ends(secrets: None) -> None:
    first, second = ValueError(SAID), KeyError(SAID)
    first.__context__, second.__context__ = second, first
    assert_no_secret(str(hidden(first)), str(first.__context__))


def raise_it(*given: Any, **more: Any) -> Any:
    raise failed()


def test_no_secret_leaves_a_task_a_worker_a_driver_or_an_asset(
    secrets: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from model.training import loop

    def text_of(error: BaseException) -> str:
        return "".join(traceback.format_exception(error))

    with pytest.raises(Exception) as task:
        _apply(raise_it, 1, "")
    monkeypatch.setattr(loop, "train", raise_it)
    run = tiny.pretrain_run(tiny.prepare(tmp_path), tmp_path / "out")
    settings = {"run": run.to_json(), "threads": 1, "step_timeout_seconds": 45, "mark": str(tmp_path / "vocab.txt")}
    monkeypatch.setattr("pipeline.engine.places.unseen", lambda mark, files: "")
    with pytest.raises(Exception) as worker:
        work(settings)
    sent = driver.unpacked(driver.packed(failed()))
    assert_no_secret(*map(text_of, (task.value, worker.value, sent)))

    folder = tmp_path / "ray" / "session_latest" / "logs"
    folder.mkdir(parents=True)
    (folder / "worker-1.err").write_text(f":actor_name:RayTrainWorker\n{SAID}\n")
    storage = str(tmp_path / "out")
    told = launch._translate_error(failed(), run, ClusterConfig(workers=1), str(tmp_path / "ray"))
    written = (Path(storage) / launch.FAILURE).read_text()
    assert "RayTrainWorker" in written
    assert_no_secret(str(told), written)


def test_dagster_stores_no_secret(secrets: None) -> None:
    from workflows import assets, recipe
    from workflows.chain import Chain

    chain = Chain(recipe.load("tiny"), "nowhere")
    chain.run = raise_it  # type: ignore[method-assign]
    job = assets.definitions(chain).resolve_implicit_global_asset_job_def()
    with dagster.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        done = job.execute_in_process(instance=instance, run_config=quiet, raise_on_error=False)
        assert not done.success
        logs: Any = instance.all_logs(done.run_id)
        events = [event.to_json() for event in logs]
    assert any("the store answered" in event for event in events)
    assert_no_secret(*events)


PROGRAM = """
import logging, sys, threading, warnings
import click
from workflows.cli import main
from tests.test_credentials import SAID, failed

@click.command()
def fail():
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(failed()))
    thread.start()
    thread.join()
    logging.getLogger("botocore").warning("sent %s", SAID)
    try:
        raise failed()
    except OSError:
        logging.getLogger("asyncio").exception("never retrieved")
    raise failed()

main.add_command(fail)
main(["fail"])
"""


def test_a_bug_keeps_its_stack_trace_and_shows_no_secret() -> None:
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.count("Traceback") >= 3 and "never retrieved" in done.stderr, done.stderr
    assert done.stderr.rstrip().endswith("*** of newspapers")
    assert_no_secret(done.stdout, done.stderr)


class Echo(BaseHTTPRequestHandler):
    """A store that refuses, and repeats in its message what it was sent."""

    def do_GET(self) -> None:
        sent = " ".join(f"{name}: {value}" for name, value in self.headers.items())
        body = (
            '<?xml version="1.0"?><Error><Code>InvalidAccessKeyId</Code>'
            f"<Message>No key {KEY} ({base64.b64encode(b'x').decode()}); you sent {sent}</Message></Error>"
        ).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_store_that_repeats_the_key_is_shown_without_it(echo: str, tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        **{name: value for name, value in ENVIRONMENT.items() if name.startswith("AWS")},
        **{"AWS_ENDPOINT_URL": echo, "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1", "PYTHONPATH": str(ROOT)},
        **{"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull},
    }
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    prepare = ["prepare", "--corpus", "news", "--input", "s3://bucket/news.jsonl", "--output", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", program, *prepare], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "s3://bucket/news.jsonl" in done.stderr, done.stderr
    assert_no_secret(done.stdout, done.stderr)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or not [secret for secret in SECRETS if secret.encode() in path.read_bytes()], path


def test_log_lines_of_training_have_no_secret(secrets: None) -> None:
    import logging

    record = logging.LogRecord("a", logging.INFO, "a", 1, "stored %s", (SAID,), None)
    assert_no_secret(credentials.formatter("%(message)s").format(record))
