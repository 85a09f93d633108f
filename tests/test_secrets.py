"""Passwords and signatures in URLs: read with, but never written down, printed or part of an identity."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.sources import inputs
from tests import corpus
from tests.commands import digests, manifest, prepare, refused
from tests.slow_processes import descendants
from tests.test_ray_start import LOOPBACK, listening

ROOT = Path(__file__).parents[1]
USER, PASSWORD, TOKEN = "reader-of-news", "b1946ac92492d2347c", "591785b794601e212b260e25"
SECRETS = (USER, PASSWORD, TOKEN)
KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCY"
"""Of a store, in the environment."""


class Server(ThreadingHTTPServer):
    """Serves files to who has the password and a token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.tokens = [TOKEN]
        self.status = 0
        """Status of every answer; 0 = as it should be."""

    def url(self, name: str, token: str = TOKEN, password: str = PASSWORD) -> str:
        return f"http://{USER}:{password}@127.0.0.1:{self.server_address[1]}/{name}?token={token}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        password = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        allowed = parse_qs(parts.query).get("token", [""])[0] in self.server.tokens
        data = self.server.files.get(parts.path.lstrip("/"))
        if self.server.status:
            return self.send_error(self.server.status)
        if not allowed or self.headers.get("Authorization") != f"Basic {password}":
            return self.send_error(403, f"wrong token in {self.path}")
        if data is None:
            return self.send_error(404)
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("ETag", f'"{hash(data):x}"')
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server()
    server.files["news.jsonl"] = (corpus.write_news(tmp_path / "news", 200) / "news.jsonl").read_bytes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def assert_no_secret(folder: Path, *texts: str, secrets: Sequence[str] = SECRETS) -> None:
    """Assert that no file, no name and none of the texts has a secret in it, as it is or encoded."""
    wanted = [form for secret in secrets for form in (secret, base64.b64encode(secret.encode()).decode())]
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in wanted if secret.encode() in data or secret in str(path)], path
    for text in texts:
        assert not [secret for secret in wanted if secret in text], text


def test_prepare_writes_no_secret_and_a_new_signature_changes_nothing(server: Server, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = prepare("--corpus", "news", "--input", server.url("news.jsonl"), "--json", output=output)
    assert first.exit_code == 0, first.output
    assert_no_secret(output, first.stdout, first.stderr)
    before = digests(output)

    server.tokens = ["another"]
    again = prepare("--corpus", "news", "--input", server.url("news.jsonl", "another"), "--json", output=output)
    assert (again.exit_code, json.loads(again.stdout)) == (0, json.loads(first.stdout))
    assert digests(output) == before, "nothing ran again"

    (tmp_path / "local").mkdir()
    (tmp_path / "local/news.jsonl").write_bytes(server.files["news.jsonl"])
    local = prepare("--corpus", "news", "--input", tmp_path / "local", "--json", output=tmp_path / "here")
    assert json.loads(local.stdout)["shards"] == json.loads(first.stdout)["shards"], "documents are called the same"


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_an_error_names_the_file_but_no_secret(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    done = prepare("--corpus", "news", "--input", server.url("news.jsonl"), output=tmp_path / "out")
    message = refused(done)
    assert message.startswith(f"http://127.0.0.1:{server.server_address[1]}/news.jsonl: ")
    assert ("no such file" in message) == (status == 404), "what cannot be read now is not absent"
    assert_no_secret(tmp_path / "out", done.output, done.stderr)


def test_two_files_that_differ_in_what_is_hidden_get_two_names(server: Server) -> None:
    server.tokens += map(str, range(5))
    names = {file.name for file in inputs.expand([server.url("news.jsonl", str(token)) for token in range(5)])}
    assert len(names) == 5 and "news.jsonl" in names
    assert not [name for name in names if any(secret in name for secret in SECRETS)]


def test_a_list_of_phrases_and_a_vocabulary_with_secrets_in_their_urls(server: Server, tmp_path: Path) -> None:
    server.files["phrases.txt"] = "北京大学\n长江学者\n".encode()
    output = tmp_path / "out"
    settings = ["--set", "masking.policy=entity", "--set", f"masking.phrases={server.url('phrases.txt')}"]
    done = prepare("--corpus", "news", "--input", tmp_path / "news", *settings, output=output)
    assert done.exit_code == 0, done.output
    assert_no_secret(output, done.stdout, done.stderr)
    assert manifest(output, "shards_news_128")["masking"]["phrases"].endswith("/phrases.txt")


RECIPE = """
name = "secret"
validation_ratio = 0.1
[[source]]
name = "news"
kind = "news"
input = ["{url}"]
[vocabulary]
size = 600
[encoder]
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 64
[training]
checkpoint_every = 2
validate_every = 2
[[phase]]
sequence_length = 64
batch_size = 4
steps = 4
learning_rate = 1e-3
[cluster]
workers = 1
cpus_per_worker = 0.5
"""


class Seen:
    """What other users of the machine, and other machines, see of a program and of all that it starts."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        """Command lines, which every user sees in `ps`."""
        self.environments: set[str] = set()
        """Environments, which the same user sees in `ps eww`."""
        self.addresses: dict[str, set[str]] = {}
        """Addresses that something listens on, with the command lines of their processes."""

    def watch(self, program: "subprocess.Popen[str]") -> None:
        """Look until the program ends."""
        while program.poll() is None:
            processes = {program.pid: "", **descendants(program.pid)}
            self.lines.update(processes.values())
            for pid in processes:
                with contextlib.suppress(OSError):  # ended meanwhile
                    self.environments.update(Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0"))
            for address, lines in listening(processes).items():
                self.addresses.setdefault(address, set()).update(lines)
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_run_shows_no_secret_and_listens_to_this_machine_alone(server: Server, tmp_path: Path) -> None:
    """A secret in a URL is in no file, output, command line or environment; one in an environment is in none of the others."""
    (tmp_path / "secret.toml").write_text(RECIPE.format(url=server.url("news.jsonl")))
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    command = [sys.executable, "-c", program, "run", str(tmp_path / "secret.toml"), "--output", str(tmp_path / "out")]
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp"), "AWS_SECRET_ACCESS_KEY": KEY}
    seen = Seen()
    for _ in range(2):  # the second finds everything finished
        with subprocess.Popen(
            [*command, "--workers", "2"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            watcher = threading.Thread(target=seen.watch, args=(run,), daemon=True)
            watcher.start()
            stdout, stderr = run.communicate()
            watcher.join()
        assert run.returncode == 0, stderr
        assert_no_secret(tmp_path / "out", stdout, stderr, secrets=(*SECRETS, KEY))
        assert_no_secret(tmp_path / "tmp", *seen.lines, secrets=(*SECRETS, KEY))
        assert_no_secret(tmp_path / "tmp", *seen.environments)
    for part in ("raylet", "RayTrainWorker", "loky"):
        assert any(part in line for line in seen.lines), f"{part} was not seen"
    assert f"AWS_SECRET_ACCESS_KEY={KEY}" in seen.environments, "what was looked at are the environments"
    assert seen.addresses and seen.addresses.keys() <= LOOPBACK, seen.addresses
    assert list((tmp_path / "out").glob("report-*/report.html"))
