"""The files behind a recipe's `input` (files, folders, globs, any fsspec URL), with their sizes and digests.

Digests are of content. They are cached in `digests.json` of the output folder by URL and stamp (inode, size and times, or the
etag in an object store), so that a rerun over 40 GB need not read the input again to find it unchanged. A file that was written
just before it was read is not cached: it might be written again within the same tick of the file system's clock.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from pipeline import storage
from pipeline.errors import CorpusError, UserError
from pipeline.redaction import redact

CACHE = "digests.json"
SETTLED_SECONDS = 2.0
"""Age from which another content of a file must have another stamp: the coarsest clock of a file system ticks that often."""

_ABOUT = re.compile(
    r"(?:(?:readme|licen[cs]e|copying)(?:[._-][\w-]+)*|notice|citation|authors|changelog)(?:\.(?:md|markdown|txt|rst|html|bib|cff))?",
    re.IGNORECASE,
)
"""Names of files about a corpus."""
_ABOUT_DATA = frozenset(("dataset_info.json", "dataset_infos.json", "dataset_dict.json"))
"""What Hugging Face datasets write next to data; `state.json` too, beside the first of them."""
_PROSE, _CODE = (".md", ".markdown", ".rst"), (".py", ".sh")


@dataclass(frozen=True)
class InputFile:
    """One input file."""

    url: str
    name: str
    """Path below what the recipe named. Part of the identity of the file's documents, so that moving a corpus changes nothing.

    When an earlier input already has a file of that name, parent folders are added until the name is unique: `news.jsonl` of
    2024/, then `2025/news.jsonl`. So adding an input behind the others renames nothing."""
    size: int
    stamp: str
    """What changes whenever the file is written (see `storage.stamp`); "" if the store has nothing of the kind."""
    written: float = 0.0
    """Time of the last change of a local file, in seconds."""

    @property
    def shown_url(self) -> str:
        """The URL without user name, password and signature: the same tomorrow, with another signature."""
        return redact(self.url)

    @property
    def version(self) -> str:
        """The part of the stamp that a change of the content alone can change: without the time of change (ctime) of a local
        file, which a new name, link or owner changes too."""
        return self.stamp.partition(" ctime=")[0]


def expand(inputs: Sequence[str], skipped: list[str] | None = None) -> list[InputFile]:
    """Expand URLs, folders (recursively) and globs to a list of files, sorted by name.

    Files about a corpus that are beside its data (README, LICENSE, `dataset_info.json`) are left out; their names are added to
    `skipped`. A file that is named itself is always there.

    Raises: CorpusError for an input that matches no file, `**` next to other characters, a file named twice, a name that is not
        UTF-8, and a link that is broken or leads to another folder; StorageError for a folder without read permission.
    """
    files: list[InputFile] = []
    for url in inputs:
        found = sorted(_files(url), key=lambda file: file.name)
        about = _about_data([file.name for file in found])
        files += (file for file in found if file.name not in about)
        if skipped is not None:
            skipped += sorted(about)
    if len({file.url for file in files}) < len(files):
        raise CorpusError(f"an input file is named twice among {', '.join(inputs)}; name each once")
    files = _with_unique_names(files)
    for file in files:
        if file.name.encode(errors="ignore").decode() != file.name:  # Python keeps such bytes as lone surrogates
            raise CorpusError(f"an input file has a name that is not UTF-8: {file.name!a}; rename it")
    return sorted(files, key=lambda file: file.name)


def _about_data(names: Sequence[str]) -> set[str]:
    """Return which files of an input are about its data.

    A README among pages of Markdown is one of them. Scripts are left out where there is a README or the like: in a repository.
    """
    if len(names) == 1:
        return set()
    about = {name for name in names if _ABOUT.fullmatch(os.path.basename(name)) or os.path.basename(name) in _ABOUT_DATA}
    folders = {os.path.dirname(name) for name in about if os.path.basename(name) == "dataset_info.json"}
    about |= {name for name in names if os.path.basename(name) == "state.json" and os.path.dirname(name) in folders}
    if about:
        about |= {name for name in names if name.endswith(_CODE)}
    data = [name for name in names if name not in about]
    if all(name.endswith(_PROSE) for name in data):
        about = {name for name in about if data and not os.path.basename(name).lower().startswith("readme")}
    return about


def _with_unique_names(files: Sequence[InputFile]) -> list[InputFile]:
    """Make names unique: the first file keeps its name, later ones take the shortest longer path that is free."""
    named: dict[str, InputFile] = {}
    for file in files:
        parts, depth = file.shown_url.split("/"), file.name.count("/") + 1
        longer = ("/".join(parts[-length:]) for length in range(depth + 1, len(parts) + 1))
        # URLs that differ only in what is not shown of them get numbers.
        numbered = (f"{file.name}~{number}" for number in itertools.count(2))
        name = next(name for name in itertools.chain([file.name], longer, numbered) if name not in named)
        named[name] = replace(file, name=name)
    return [*named.values()]


def _files(url: str) -> Iterable[InputFile]:
    return storage.at_store(url, lambda file_system, path: _found(url, file_system, path))


def _found(url: str, file_system: Any, path: str) -> Iterable[InputFile]:
    local, web = storage.is_local(url), url.startswith(("http://", "https://"))
    found: dict[str, Any] = {}
    base = redact(path).rpartition("/")[0]
    # The ? of a web address begins its query.
    if any(sign in path for sign in ("*[" if web else "*?[")) and storage.info_of(file_system, path) is None:
        base = path[: min(path.index(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
        if any("**" in part and part != "**" for part in path.split("/")):
            raise CorpusError(f"{url}: ** must be a whole path component; write **/* to match files of any name")
        if local:
            _check_readable(base or "/", path.removeprefix(f"{base}/").split("/"))
        found = file_system.glob(path, detail=True)
    elif (not web or url.endswith("/")) and file_system.isdir(path):
        found, base = dict.fromkeys(_files_below(path)) if local else file_system.find(path, detail=True), path
    elif (known := storage.info_of(file_system, path)) is not None:
        found = {path: known}
    found = {name: info for name, info in found.items() if not _is_hidden(redact(name), redact(path), base)}
    if local:  # fsspec's lists say "other" of links
        found = {name: _resolve(file_system, name) for name in found}
    entries = [(name, info) for name, info in found.items() if info["type"] == "file"]
    if not entries:
        raise CorpusError(
            f"{url}: no such file, or an empty folder; check the input (names that begin with . or _ are skipped)"
        )
    return [_input(file_system, name, info, base) for name, info in entries]


def _files_below(folder: str) -> Iterator[str]:
    """Yield the files, and links to files, below a local folder. An unreadable folder is an error, not an empty one."""
    for place, folders, names in os.walk(folder, onerror=_raise_storage_error):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for link in filter(os.path.islink, (os.path.join(place, name) for name in folders)):
            if not f"{os.path.realpath(link)}/".startswith(f"{os.path.realpath(folder)}/"):
                raise CorpusError(f"{link}: a link to a folder elsewhere; name that folder as an input too, or remove the link")
        yield from (os.path.join(place, name) for name in names)


def _check_readable(folder: str, wanted: Sequence[str]) -> None:
    """Check the folders that a glob visits: fsspec's own glob takes an unreadable local folder for an empty one."""
    names: list[str] = []
    with storage.translate_error(folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = os.listdir(os.path.join(folder, "."))  # the . requires search permission as well
    first, deeper = wanted[0], wanted if wanted[0] == "**" else wanted[1:]
    for name in names if deeper else ():
        place = os.path.join(folder, name)
        if fnmatchcase(name, first) and not name.startswith((".", "_")) and os.path.isdir(place) and not os.path.islink(place):
            _check_readable(place, deeper)


def _raise_storage_error(error: OSError) -> None:
    with storage.translate_error(error.filename):
        raise error


def _resolve(file_system: Any, name: str) -> dict[str, Any]:
    """Return fsspec's info about a local file, or about the target of a link."""
    try:
        found: dict[str, Any] = file_system.info(name)
    except OSError as error:
        if not os.path.islink(name):
            raise
        raise CorpusError(f"{name}: a broken link; remove it, or restore its target") from error
    return found


def _is_hidden(name: str, named: str, base: str) -> bool:
    """Return whether the name of a file, or of a folder between it and the input, begins with . or _.

    Tools mark their bookkeeping so (`_SUCCESS`, the Hugging Face hub's `.cache/`). A hidden path that the recipe names is read.

    """
    return name != named and any(part.startswith((".", "_")) for part in name.removeprefix(base).split("/"))


def _input(file_system: Any, name: str, info: dict[str, Any], base: str) -> InputFile:
    url, shown = str(file_system.unstrip_protocol(name)), redact(name).removeprefix(base).lstrip("/")
    if info["size"] is None:
        raise CorpusError(f"{url}: the server does not say how large it is; fetch it first")
    if not storage.is_local(url):
        return InputFile(url, shown, info["size"], storage.stamp_of(info))
    status = os.stat(name)
    return InputFile(url, shown, status.st_size, storage.local_stamp(status), status.st_ctime)


def digests(files: Sequence[InputFile], root: str) -> dict[str, str]:
    """Return the SHA-256 of each file by name, from the cache under `root` when its stamp is unchanged.

    Raises: StorageError for a file, or a cache, that cannot be read.
    """
    place = storage.join(root, CACHE)
    cache = _read_cache(place)
    result, changed = {}, False
    for file in files:
        known = cache.get(file.shown_url)
        if known is None or not file.stamp or known.get("stamp") != file.stamp:
            started = time.time()
            known = {"stamp": file.stamp, "sha256": storage.sha256(file.url)}
            if file.stamp and started - file.written > SETTLED_SECONDS:
                cache[file.shown_url], changed = known, True
        result[file.name] = str(known["sha256"])
    if changed:
        storage.write_json(place, cache)
    return result


def _read_cache(place: str) -> dict[str, Any]:
    """Return the cached digests; none if there are none yet, or the file was not written by this program."""
    if not storage.exists(place):
        return {}
    try:
        cache = json.loads(storage.read_bytes(place))
    except ValueError:
        return {}
    return {url: known for url, known in cache.items() if isinstance(known, dict)} if isinstance(cache, dict) else {}


def forget(root: str) -> None:
    """Forget the digests of all inputs, so that every file is read again, whatever its stamp says."""
    storage.remove(storage.join(root, CACHE))


@contextlib.contextmanager
def unchanged(
    what: str, named: Sequence[str], files: Sequence[InputFile], known: Mapping[str, str], root: str, folder: str
) -> Iterator[None]:
    """Check that input is the same when the block ends as when its digests were computed.

    Args:
        what: what the files are, for the message.
        named: what they were named by.
        files: what that stood for.
        known: their digests by name.
        folder: where the block writes; removed if the input has changed, because it may hold parts made of both.

    Raises: CorpusError when a file was added, removed or written meanwhile, also in place of an error that this caused.
    """
    error: UserError | None = None
    try:
        yield
    except UserError as raised:
        error = raised
    if _is_same(named, files, known, root, is_read=error is None):
        if error is not None:
            raise error
        return
    storage.remove(folder)
    raise CorpusError(f"{what}: its input changed while it was being read; run again once it is complete") from error


def _is_same(named: Sequence[str], files: Sequence[InputFile], known: Mapping[str, str], root: str, *, is_read: bool) -> bool:
    """Compare files with what they were. If they were not read to the end, their stamps have to do."""
    try:
        now = expand(named)
    except UserError:
        return not is_read  # gone, or out of reach: the error of the block says more
    if {file.url: file.version for file in now} != {file.url: file.version for file in files}:
        return False
    # Named one by one, files may have other names: compare by URL.
    again = dict(zip((file.url for file in now), digests(now, root).values(), strict=True)) if is_read else {}
    return all(again[file.url] == known[file.name] for file in files if is_read)


def versions(files: Sequence[InputFile]) -> str:
    """Return the stamps of all files: parts of a killed run are only resumed if they were made of the same."""
    return "\n".join(f"{file.name} {file.stamp}" for file in files)


def digest(known: Mapping[str, str]) -> str:
    """Return one digest of all files, given the digest of each by its name."""
    return hashlib.blake2b(storage.json_bytes(dict(known)), digest_size=16).hexdigest()
