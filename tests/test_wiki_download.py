"""Downloading the latest dump, from a test server that breaks connections, ignores ranges and sends wrong data."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import locks, storage
from pipeline.engine import stages
from pipeline.engine.execution import Execution
from pipeline.errors import CorpusError, StorageError
from pipeline.wiki.dumps.download import VARIABLE, download

FILE = "pages-articles-multistream.xml.bz2"
DATA = bytes(range(256)) * 12_000  # 3 MB
NAME = f"zhwiki-20250801-{FILE}"


class Server(ThreadingHTTPServer):
    """Wikimedia's folders of one wiki, with faults to inject."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str]] = []
        """Paths and Range headers."""
        self.ranges = True
        self.drop_after: int | None = None
        """Bytes after which a connection breaks."""
        self.busy = 0
        """Number of next responses that are 503."""
        self.sha1 = hashlib.sha1(DATA).hexdigest()
        self.tree = {
            f"/zhwiki/latest/zhwiki-latest-{FILE}-rss.xml": self.feed("20250801"),
            f"/zhwiki/20250801/{NAME}": DATA,
        }

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def sums(self) -> bytes:
        return f"{'0' * 40}  zhwiki-20250801-stub.xml.gz\n{self.sha1}  {NAME}\n".encode()

    @staticmethod
    def feed(date: str) -> bytes:
        link = f"http://download.wikimedia.org/zhwiki/{date}"
        return f"<rss><item><link>{link}</link><description>{link}/zhwiki-{date}-{FILE}</description></item></rss>".encode()

    def file_requests(self) -> list[str]:
        return [ranges for path, ranges in self.requests if path.endswith(FILE)]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests.append((self.path, self.headers.get("Range", "")))
        data = server.sums() if self.path.endswith("sha1sums.txt") else server.tree.get(self.path)
        if server.busy:
            server.busy -= 1
            return self.send_error(503)
        if data is None:
            return self.send_error(404)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")) if server.ranges else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        whole = server.drop_after is None or not self.path.endswith(FILE)
        self.wfile.write(data[start:] if whole else data[start : start + (server.drop_after or 0)])
        self.close_connection = True

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    monkeypatch.setenv(VARIABLE, server.base)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def _download(root: Path, **arguments: object) -> stages.Finished:
    return download(str(root), attempts=3, pause=0.0, **arguments)  # type: ignore[arg-type]


def _content(finished: stages.Finished) -> bytes:
    [entry] = finished.manifest["files"]
    assert entry["name"] == NAME
    return storage.read_bytes(finished.file(entry["name"]))


def test_the_latest_dump_arrives_whole_under_its_date(tmp_path: Path, server: Server) -> None:
    progress: list[tuple[int, int]] = []
    finished = _download(tmp_path, execution=Execution(report=lambda done, total, what: progress.append((done, total))))
    assert _content(finished) == DATA
    assert finished.manifest["url"] == f"{server.base}/zhwiki/20250801/{NAME}"
    assert Path(finished.url).parent == tmp_path / "downloads"
    assert progress[-1] == (len(DATA), len(DATA))
    assert progress == sorted(progress)


def test_a_finished_download_requests_nothing(tmp_path: Path, server: Server) -> None:
    _download(tmp_path)
    requests_before = len(server.requests)
    server.tree.clear()
    assert _content(_download(tmp_path)) == DATA
    assert len(server.requests) == requests_before


def test_a_connection_that_breaks_is_resumed_where_it_was(tmp_path: Path, server: Server) -> None:
    server.drop_after = 700_000
    assert _content(_download(tmp_path)) == DATA
    starts = [int(ranges.removeprefix("bytes=").rstrip("-") or 0) for ranges in server.file_requests()]
    assert len(starts) == 5
    assert starts == sorted(set(starts))


def test_the_next_run_goes_on_from_what_came(tmp_path: Path, server: Server) -> None:
    class Interrupted(Exception):
        pass

    def stop(done: int, total: int, what: str) -> None:
        if done > 1_500_000:
            raise Interrupted

    with pytest.raises(Interrupted):
        _download(tmp_path, execution=Execution(report=stop))
    assert not list(tmp_path.rglob("*.bz2"))
    [part] = tmp_path.rglob("*.part")
    size = part.stat().st_size
    assert _content(_download(tmp_path)) == DATA
    assert server.file_requests() == ["", f"bytes={size}-"]
    assert not list(tmp_path.rglob("*.part"))


def test_a_server_without_ranges_begins_anew(tmp_path: Path, server: Server) -> None:
    folder = Path(_download(tmp_path / "elsewhere").url).name
    part = tmp_path / "downloads" / folder / "work-download" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:1000])
    server.ranges = False
    assert _content(_download(tmp_path)) == DATA


def test_a_part_that_is_whole_is_only_checked(tmp_path: Path, server: Server) -> None:
    folder = Path(_download(tmp_path / "elsewhere").url).name
    part = tmp_path / "downloads" / folder / "work-download" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    assert _content(_download(tmp_path)) == DATA
    assert server.file_requests()[-1] == f"bytes={len(DATA)}-"


def test_the_part_of_an_older_dump_goes(tmp_path: Path, server: Server) -> None:
    folder = Path(_download(tmp_path / "elsewhere").url).name
    part = tmp_path / "downloads" / folder / "work-download" / f"zhwiki-20250701-{FILE}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"old")
    assert _content(_download(tmp_path)) == DATA
    assert not part.exists()


def test_other_bytes_than_announced_are_refused_and_removed(tmp_path: Path, server: Server) -> None:
    server.sha1 = "1" * 40
    with pytest.raises(CorpusError, match=f"{NAME}: .*not have the published SHA-1.*run again"):
        _download(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_busy_server_is_retried(tmp_path: Path, server: Server) -> None:
    server.busy = 2
    assert _content(_download(tmp_path)) == DATA


def test_connections_that_bring_nothing_end_with_one_line(tmp_path: Path, server: Server) -> None:
    server.drop_after = 0
    with pytest.raises(CorpusError, match=f"{NAME}: cannot be fetched .*the next run resumes there") as caught:
        _download(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_server_is_one_line_that_names_the_ways_out(tmp_path: Path, server: Server) -> None:
    with pytest.raises(CorpusError, match=f"cannot be fetched.*{VARIABLE}.*name a dump as input"):
        _download(tmp_path, base="http://127.0.0.1:9")


def test_a_wiki_without_a_finished_dump_is_an_error(tmp_path: Path, server: Server) -> None:
    server.tree[f"/zhwiki/latest/zhwiki-latest-{FILE}-rss.xml"] = b"<rss></rss>"
    with pytest.raises(CorpusError, match="no dump is listed"):
        _download(tmp_path)
    server.tree[f"/zhwiki/latest/zhwiki-latest-{FILE}-rss.xml"] = server.feed("20250820")
    with pytest.raises(CorpusError, match=r"no SHA-1 of .*20250820.* yet"):
        _download(tmp_path)


def test_a_dump_goes_into_a_store_too(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEZHA_PIPE_CACHE", str(tmp_path / "cache"))
    finished = download("memory://run", attempts=3, pause=0.0)
    assert _content(finished) == DATA
    assert not list(tmp_path.rglob("*.part"))


def test_what_other_runs_download_into_the_cache_stays(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEZHA_PIPE_CACHE", str(tmp_path / "cache"))
    others = tmp_path / "cache" / "downloads" / f"zhwiktionary-20250801-{FILE}.part"
    others.parent.mkdir(parents=True)
    others.write_bytes(b"half")
    part = others.with_name(f"{NAME}.part")
    with locks.locked(f"{part}.lock"), pytest.raises(StorageError, match="another run is working here"):
        download("memory://busy", attempts=3, pause=0.0)
    assert _content(download("memory://busy", attempts=3, pause=0.0)) == DATA
    assert list(tmp_path.rglob("*.*")) == [others] and others.read_bytes() == b"half"


def test_a_dry_run_downloads_nothing(tmp_path: Path, server: Server) -> None:
    with pytest.raises(stages.NotFinished, match="zhwiki"):
        _download(tmp_path, execution=Execution(dry_run=True))
    assert server.requests == []
