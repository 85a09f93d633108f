"""An object store for tests: a local S3 server in a process of its own, behind a proxy that can break connections.

proxy, store = stores.proxy_fixture(), stores.store_fixture()
def test_it(store: str, proxy: Proxy) -> None: ...              store: the URL of an empty bucket

python -m tests.stores PORT [without-conditions]                the server
"""

import contextlib
import io
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.slow_processes import PATIENCE

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "2",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


WITHOUT = "without-conditions"


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class Proxy:
    """Forwards connections to a server; closes the next `drop` ones, half of them at once, half after some bytes."""

    def __init__(self, server: int) -> None:
        self.server, self.drop, self.dropped = server, 0, 0
        self.accepted, self.every = 0, 0
        """Connections so far, and every how many of them one is closed too (0: none)."""
        self.broken = False
        """Whether every connection breaks, open ones included."""
        self.refused = 0
        """How many of the next connections are answered: too many requests."""
        self.cut, self.cuts = b"", 0
        """Requests that begin with this are not passed on, and their connections break; how many there were."""
        self.read = 0
        """Bytes that the server has sent."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            limit = -1
            self.accepted += 1
            if self.drop > 0 or self.broken or (self.every and self.accepted % self.every == 0):
                self.drop -= 1
                self.dropped += 1
                limit = 0 if self.dropped % 2 else 150
            threading.Thread(target=self._pass_on, args=(client, limit), daemon=True).start()

    def _pass_on(self, client: socket.socket, limit: int) -> None:
        """Copy both ways; close after `limit` bytes of answer (-1: never)."""
        if self.refused > 0:
            self.refused -= 1
            with client:
                client.recv(1 << 16)
                client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                client.recv(1 << 16)  # a connection that is closed with bytes unread is reset, before the answer is read
            return
        with client, socket.create_connection(("127.0.0.1", self.server)) as server:
            while limit:
                for end in select.select([client, server], [], [])[0]:
                    try:
                        data = end.recv(limit if end is server and limit > 0 else 1 << 16)
                        if end is client and self.cut and data.startswith(self.cut):
                            self.cuts += 1
                            return
                        (client if end is server else server).sendall(data)
                        self.read += len(data) if end is server else 0
                    except OSError:
                        return
                    if not data or self.broken:
                        return
                    if end is server and limit > 0:
                        limit -= len(data)


@contextlib.contextmanager
def served(*options: str) -> Iterator[Proxy]:
    """Run an S3 server behind a proxy."""
    port = free_port()
    command = [sys.executable, "-m", "tests.stores", str(port), *options]
    root = Path(__file__).parents[1]
    server = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, "the S3 server does not start"
                time.sleep(0.1)
        yield Proxy(port)
    finally:
        server.kill()
        server.wait()


def proxy_fixture() -> Any:
    """Return a fixture: the proxy of an S3 server, for all tests of a file."""

    @pytest.fixture(scope="module")
    def proxy() -> Iterator[Proxy]:
        pytest.importorskip("moto", reason="moto serves S3 here: pip install nezha-pipe[dev]")
        pytest.importorskip("s3fs")
        with served() as found:
            yield found

    return proxy


def store_fixture() -> Any:
    """Return a fixture: the URL of an empty folder in the store."""

    @pytest.fixture
    def store(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
        import s3fs

        from pipeline.engine import processes

        for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("NEZHA_PIPE_CACHE", str(tmp_path / "cache"))
        # Workers have the environment of their start: those of an earlier test know no credentials.
        processes.pool.replace_workers()
        s3fs.S3FileSystem.clear_instance_cache()
        bucket = f"corpora-{abs(hash(request.node.name)):x}"
        s3fs.S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}"
        proxy.drop, proxy.every, proxy.broken, proxy.refused, proxy.cut = 0, 0, False, 0, b""
        s3fs.S3FileSystem.clear_instance_cache()

    return store


Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def one_write_at_a_time(application: Application, conditions: bool) -> Application:
    """Let a server decide about a condition and write in one go, as S3 does: moto looks first and writes later.

    Without `conditions` it knows none, as older servers that speak S3.
    """
    writing = threading.Lock()

    def answer(environment: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environment, start)
        for name in () if conditions else ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
            environment.pop(name, None)
        if length := environment.get("CONTENT_LENGTH"):  # a slow client must not keep others out
            environment["wsgi.input"] = io.BytesIO(environment["wsgi.input"].read(int(length)))
        with writing:
            return application(environment, start)

    return answer


def serve(port: int, conditions: bool) -> None:
    """Serve S3 until this process ends."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    os.environ["MOTO_PORT"] = str(port)
    application = one_write_at_a_time(DomainDispatcherApplication(create_backend_app), conditions)
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    serve(int(sys.argv[1]), WITHOUT not in sys.argv)
