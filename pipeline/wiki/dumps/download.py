"""The latest dump of a Wikipedia, from Wikimedia: 3 GB, over unreliable connections.

    runs/wiki/downloads/zhwiki-1f0c5a7d9e3b/                            a stage: once finished, nothing is requested again
        zhwiki-20250801-pages-articles-multistream.xml.bz2              complete, with the SHA-1 that Wikimedia publishes
        work-download/zhwiki-20250801-...xml.bz2.part                   while downloading; the next run resumes at its end

The date of the latest dump is in the feed `latest/zhwiki-latest-pages-articles-multistream.xml.bz2-rss.xml`; its checksum is in
the folder of that date, which never changes. To get a newer dump, remove the stage's folder. https://dumps.wikimedia.org/
"""

import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline import locks, storage
from pipeline.engine.execution import SERIAL, Execution, Report
from pipeline.engine.stages import WORK, FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError

STAGE_VERSION = 1
BASE = "https://dumps.wikimedia.org"
VARIABLE = "NEZHA_PIPE_WIKIMEDIA"
"""Environment variable with the address of a mirror of Wikimedia's dumps."""
_NAME = "pages-articles-multistream.xml.bz2"
_AGENT = {"User-Agent": "nezha-pipe (corpus preparation; python-requests)"}  # Wikimedia requires a descriptive one
_TIMEOUT = (20, 60)
"""Seconds to connect, and to wait for the next bytes."""
_RETRIES = 3
_CHUNK = 1 << 16
"""Bytes read from a connection at once: at most this much is lost when it breaks."""


@dataclass(frozen=True)
class Dump:
    """A dump announced by the server."""

    url: str
    sha1: str

    @property
    def name(self) -> str:
        return storage.base_name(self.url)


def download(
    root: str, *, wiki: str = "zhwiki", base: str = "", execution: Execution = SERIAL, attempts: int = 8, pause: float = 1.0
) -> Finished:
    """Download the latest dump of a wiki, unless a stage has it; `execution.report` counts bytes.

    Args:
        base: address of a mirror; "" = that of the environment's NEZHA_PIPE_WIKIMEDIA, or else Wikimedia itself.
        attempts: connections in a row that may bring nothing.
        pause: seconds after the first of them; each next wait is twice as long.

    Raises: CorpusError when the server cannot be reached, has no dump, or sends something else than it announced; StorageError
        when another run is downloading the same dump.
    """
    stage = Stage(wiki, STAGE_VERSION, {"file": _NAME}, {})
    server = _Server((base or os.environ.get(VARIABLE) or BASE).rstrip("/"), attempts, pause)

    def body(folder: str) -> dict[str, object]:
        dump = server.latest(wiki)
        part = _part(folder, dump.name)
        # The folder may be a cache, in which other runs download other wikis, or this dump for another store.
        with locks.locked(f"{part}.lock"), storage.translate_error(str(part)):
            for other in part.parent.glob(f"{wiki}-*.part"):
                if other != part:
                    other.unlink()  # of an older dump
            server.fetch(dump.url, part, execution.report)
            _check(part, dump)
            _move(part, storage.join(folder, dump.name))
        return {"files": [FileEntry.of(folder, dump.name)], "url": dump.url, "sha1": dump.sha1}

    return run_stage(storage.join(root, "downloads"), stage, body, execution)


def _part(folder: str, name: str) -> Path:
    """Return the path of the partial file: in the stage's folder, or in a local cache if that folder is in an object store."""
    if storage.is_local(folder):
        return storage.local_path(folder) / f"{WORK}download" / f"{name}.part"
    cache = os.environ.get("NEZHA_PIPE_CACHE") or Path.home() / ".cache" / "nezha-pipe"
    return Path(cache) / "downloads" / f"{name}.part"


def _move(part: Path, url: str) -> None:
    if storage.is_local(url):
        part.replace(storage.local_path(url))
        return
    with part.open("rb") as source, storage.open_write(url) as target:
        shutil.copyfileobj(source, target, _CHUNK)
    part.unlink()


def _check(part: Path, dump: Dump) -> None:
    digest = hashlib.sha1(usedforsecurity=False)
    with part.open("rb") as file:
        while data := file.read(_CHUNK):
            digest.update(data)
    if digest.hexdigest() != dump.sha1:
        part.unlink()
        raise CorpusError(f"{dump.url}: the download does not have the published SHA-1; it was removed, run again")


class _Server:
    """Wikimedia's server, or a mirror. Retries when connections break."""

    def __init__(self, base: str, attempts: int, pause: float) -> None:
        self.base, self.attempts, self.pause = base, attempts, pause
        self.session = requests.Session()
        self.session.headers.update(_AGENT)
        # 429 and 503 mean busy; their Retry-After is respected.
        retry = Retry(total=_RETRIES, backoff_factor=pause, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
        self.session.mount("http://", HTTPAdapter(max_retries=retry))
        self.session.mount("https://", HTTPAdapter(max_retries=retry))

    def latest(self, wiki: str) -> Dump:
        """Return the newest finished dump."""
        feed = self._text(f"{self.base}/{wiki}/latest/{wiki}-latest-{_NAME}-rss.xml")
        dates = re.findall(rf"{wiki}-(\d{{8}})-{re.escape(_NAME)}", feed)
        if not dates:
            raise CorpusError(f"{self.base}/{wiki}/latest: no dump is listed; download one and name it as input")
        folder = f"{self.base}/{wiki}/{max(dates)}"
        name = f"{wiki}-{max(dates)}-{_NAME}"
        sums = self._text(f"{folder}/{wiki}-{max(dates)}-sha1sums.txt")
        found = re.search(rf"^([0-9a-f]{{40}})\s+\*?{re.escape(name)}\s*$", sums, re.MULTILINE)
        if not found:
            raise CorpusError(
                f"{folder}: no SHA-1 of {name} yet; the dump is being made: run again later, or name another as input"
            )
        return Dump(f"{folder}/{name}", found[1])

    def _text(self, url: str) -> str:
        try:
            answer = self.session.get(url, timeout=_TIMEOUT)
            answer.raise_for_status()
        except requests.RequestException as error:
            raise CorpusError(_unreachable(url, error)) from error
        return answer.text

    def fetch(self, url: str, part: Path, report: Report) -> None:
        """Download a file, resuming at the end of the partial one."""
        fruitless = 0
        error: Exception | None = None
        while fruitless < self.attempts:
            size = part.stat().st_size if part.exists() else 0
            try:
                if self._receive(url, part, size, report):
                    return
            except requests.RequestException as broken:
                error = broken
                refused = broken.response is not None and broken.response.status_code < 500
                if refused:
                    break
            came = part.stat().st_size if part.exists() else 0
            fruitless = 0 if came > size else fruitless + 1
            if fruitless < self.attempts:
                time.sleep(min(self.pause * 2**fruitless, 60))
        raise CorpusError(_unreachable(url, error) + "; the partial download is kept, the next run resumes there") from error

    def _receive(self, url: str, part: Path, size: int, report: Report) -> bool:
        """Download over one connection; return whether the file is complete."""
        # No compression: byte ranges must refer to the file itself.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
        with self.session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing to resume: the file is complete, or of another dump
                total = _total(answer.headers.get("Content-Range", ""))
                if total != size:
                    part.unlink()
                return total == size
            answer.raise_for_status()
            if answer.status_code != 206:  # the server does not support ranges and starts over
                size = 0
            total = size + int(answer.headers.get("Content-Length", 0))
            with part.open("ab" if size else "wb") as file:
                for data in answer.iter_content(_CHUNK):
                    file.write(data)
                    size += len(data)
                    report(size, total, f"{storage.base_name(url)}: {size / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        return size >= total


def _total(content_range: str) -> int:
    """Return the size in `bytes */1234`, or -1."""
    size = content_range.rpartition("/")[2]
    return int(size) if size.isdecimal() else -1


def _unreachable(url: str, error: Exception | None) -> str:
    reason = " ".join(str(error or "the connection breaks before any data arrives").split())[:200]
    return f"{url}: cannot be fetched ({reason}); check the network, set {VARIABLE} to a mirror, or name a dump as input"
