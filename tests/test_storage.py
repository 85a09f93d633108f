"""Storage: complete files or none, one-line errors, canonical JSON."""

import errno
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import RecipeError, StorageError


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a full disk needs the right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("place", ["{tmp}/deep/er/file", "file://{tmp}/file", "memory://whole/file"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, place: str) -> None:
    url = place.format(tmp=tmp_path)
    with pytest.raises(KeyError), storage.open_write(url) as file:
        file.write("半".encode() * 10_000)
        raise KeyError
    assert not storage.exists(url)
    storage.write_bytes(url, b"old")
    with pytest.raises(KeyError), storage.open_write(url) as file:
        file.write(b"new")
        raise KeyError
    assert storage.read_bytes(url) == b"old"
    storage.write_bytes(url, b"new")
    assert storage.read_bytes(url) == b"new"
    folder = url.rpartition("/")[0]
    assert storage.list_names(folder) == ["file"]
    if storage.is_local(url):
        assert os.listdir(storage.local_path(folder)) == ["file"], "a temporary file was left"


def test_unfinished_files_are_not_listed(tmp_path: Path) -> None:
    with storage.open_write(str(tmp_path / "b")):
        assert os.listdir(tmp_path)
        assert storage.list_names(str(tmp_path)) == []
    assert storage.list_names(str(tmp_path / "none")) == []
    assert storage.list_names("memory://no/such/folder") == []


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    for url in (str(tmp_path / "none"), "memory://missing/none"):
        for read in (storage.read_bytes, storage.file_size, storage.sha256):
            with pytest.raises(StorageError, match=f"^{url}: not found$"):
                read(url)
    storage.remove(str(tmp_path / "none"))
    storage.remove("memory://missing/none")


def test_a_folder_that_may_not_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        tmp_path.chmod(0o755)
        for parent in tmp_path.parents[:-1]:
            parent.chmod(parent.stat().st_mode | 0o011)
        program = (
            f"import os, sys; sys.path[:0] = {sys.path!r}\n"
            "from pipeline import storage; from pipeline.errors import StorageError\n"
            "os.setuid(65534)\n"  # nobody: root may write anywhere
            f"try: storage.write_bytes({str(tmp_path / 'x')!r}, b'x')\n"
            "except StorageError as error: print(error)"
        )
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        if "No module" in found.stderr or "Permission" in found.stderr:
            pytest.skip("the program's own files cannot be read by the user nobody")
        assert found.stdout == f"{tmp_path / 'x'}: permission denied; check the owner of the folder, or the credentials\n"
    else:
        tmp_path.chmod(0o555)
        with pytest.raises(StorageError, match="permission denied; check the owner"):
            storage.write_bytes(str(tmp_path / "x"), b"x")


def test_a_full_disk_is_told_in_one_line_and_leaves_what_was_there(tiny_disk: Path) -> None:
    url = str(tiny_disk / "file")
    storage.write_bytes(url, b"old")
    with pytest.raises(StorageError, match="no space left; free some and run again, finished parts are kept"):
        storage.write_bytes(url, b"x" * 100_000)
    assert storage.read_bytes(url) == b"old"
    assert os.listdir(tiny_disk) == ["file"]
    storage.write_bytes(url, b"y" * 40_000)
    assert storage.file_size(url) == 40_000


def test_a_full_disk_of_temporary_files_is_not_taken_for_a_full_store() -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        with pytest.raises(StorageError) as error, storage.open_write("memory://full/file") as file:
            file.write(bytes(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert str(error.value).startswith(
        f"{tempfile.gettempdir()}, where memory://full/file is written first: the file is larger"
    )
    assert not storage.exists("memory://full/file")


def test_errors_of_the_device_are_told_with_the_place() -> None:
    with pytest.raises(StorageError, match=r"^here: no space left"), storage.translate_error("here"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageError, match=r"^here: .*Input/output error$"), storage.translate_error("here"):
        raise OSError(errno.EIO, "Input/output error")


def test_a_store_that_cannot_be_reached_may_come_back() -> None:
    from botocore import exceptions

    from pipeline.storage_errors import is_temporary

    for name in ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "ConnectionClosedError"):
        assert is_temporary(getattr(exceptions, name)(endpoint_url="http://b", proxy_url="http://p", error="none")), name
    assert not is_temporary(exceptions.NoCredentialsError())


@pytest.mark.parametrize("text", ["abc", "nan", "-1"])
def test_a_timeout_that_is_no_number_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NEZHA_PIPE_STORE_TIMEOUT", text)
    with pytest.raises(RecipeError, match=f"NEZHA_PIPE_STORE_TIMEOUT={text}: not a number of seconds; 0 tries once"):
        storage.exists("memory://a/b")


def test_errors_of_store_clients_are_told_in_one_line() -> None:
    from botocore.exceptions import EndpointConnectionError, NoCredentialsError

    with pytest.raises(StorageError, match=r"^s3://b/k: Unable to locate credentials$"), storage.translate_error("s3://b/k"):
        raise NoCredentialsError
    with pytest.raises(StorageError, match="Could not connect"), storage.translate_error("s3://b/k"):
        raise EndpointConnectionError(endpoint_url="http://nowhere")


def test_our_own_bugs_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match="bug"), storage.translate_error("here"):
        raise ValueError("bug")


def test_an_unknown_protocol_is_told_in_one_line() -> None:
    for use in (storage.read_bytes, storage.exists, lambda url: storage.write_bytes(url, b"")):
        with pytest.raises(StorageError, match=r"^s4://bucket/x: .*s4"):
            use("s4://bucket/x")


def test_a_place_in_memory_serves_like_a_disk() -> None:
    root = "memory://round/trip"
    storage.write_json(storage.join(root, "deep", "a.json"), {"名": "新闻"})
    storage.write_bytes(storage.join(root, "b"), bytes(range(10)))
    assert storage.read_json(storage.join(root, "deep", "a.json")) == {"名": "新闻"}
    assert storage.read_range(storage.join(root, "b"), 3, 6) == b"\3\4\5"
    assert (storage.exists(root), storage.exists(storage.join(root, "c"))) == (True, False)
    assert storage.file_size(storage.join(root, "b")) == 10
    assert storage.list_names(root) == ["b", "deep"]
    storage.remove(root)
    assert not storage.exists(storage.join(root, "b"))


def test_a_range_of_a_local_file(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "b"), bytes(range(10)))
    assert storage.read_range(str(tmp_path / "b"), 3, 6) == b"\3\4\5"
    assert storage.read_range(f"file://{tmp_path}/b", 8, 20) == b"\x08\t"


@pytest.mark.parametrize("says_so", [True, False])
def test_a_web_server_that_sends_no_ranges_is_told_in_one_line(tmp_path: Path, says_so: bool) -> None:
    """Python's own server is one of them: it answers a request for a part with the whole file."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            if says_so:
                self.send_header("Accept-Ranges", "none")
            super().end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    (tmp_path / "a").write_bytes(bytes(12 << 20))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/a"
    problem = f"^{url}: its server sends files only as a whole"
    try:
        with storage.open_read(url) as file:
            assert len(file.read(1 << 20)) == 1 << 20
        for start in (0, 8 << 20):
            with pytest.raises(StorageError, match=problem):
                storage.read_range(url, start, start + (1 << 20))
        with (
            pytest.raises(StorageError, match=problem),
            storage.open_read(url) as file,
        ):
            file.seek(8 << 20)
            file.read(1)
    finally:
        server.shutdown()
        server.server_close()


def test_equal_contents_are_equal_json_bytes() -> None:
    assert storage.json_bytes({"b": 1, "a": "中"}) == storage.json_bytes({"a": "中", "b": 1})
    assert storage.json_bytes({"b": [1], "a": "中"}) == '{\n  "a": "中",\n  "b": [\n    1\n  ]\n}\n'.encode()


def test_a_damaged_json_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"half": ')
    with pytest.raises(StorageError, match=r"a\.json: not valid JSON"):
        storage.read_json(str(tmp_path / "a.json"))


def test_names_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.join("s3://b/run/", "shards", "a.arrow") == "s3://b/run/shards/a.arrow"
    assert storage.base_name("s3://b/run/a.arrow") == "a.arrow"
    assert storage.base_name("s3://b/run/") == "run"
    assert [storage.is_local(url) for url in ("a/b", "/a", "file:///a", "s3://a", "memory://a")] == [True] * 3 + [False] * 2
    assert storage.absolute("runs/a") == storage.absolute(f"file://{tmp_path}/runs/a") == f"{tmp_path}/runs/a"
    assert storage.absolute("s3://b/run/") == "s3://b/run"


def test_places_that_cannot_be_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    places = {
        "~nobody-of-this-name/x": "there is no such user",
        f"{tmp_path}/loop": "symbolic links form a loop",
        f"{tmp_path}/a\0b": "a NUL character",
        f"{tmp_path}/pipe": "a pipe or a device",
    }
    for url, message in places.items():
        with pytest.raises(StorageError, match=message) as caught:
            storage.read_bytes(storage.absolute(url))
        assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError, match=f"^{place}: "):
            storage.make_folder(place)


def test_no_file_takes_the_place_of_a_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="a pipe or a device, which a file would replace; name a file"):
        storage.write_bytes(str(tmp_path / "pipe"), b"x")
    assert (tmp_path / "pipe").is_fifo() and os.listdir(tmp_path) == ["pipe"]
