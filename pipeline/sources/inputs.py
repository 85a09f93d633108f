"""The files behind a recipe's `input` (files, folders, globs, any fsspec URL), with their sizes and digests.

Digests are of content. They are cached in `digests.json` of the output folder by URL, size and modification time (or etag), so
that a rerun over 40 GB need not read the input again to find it unchanged.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from pipeline import storage
from pipeline.errors import CorpusError, StorageError

CACHE = "digests.json"


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
    """Modification time or etag: when it changes, the digest is computed again."""


def expand(inputs: Sequence[str]) -> list[InputFile]:
    """Expand URLs, folders (recursively) and globs to a list of files, sorted by name.

    Raises: CorpusError for an input that matches no file, `**` next to other characters, a file named twice, a name that is not
        UTF-8, and a link that is broken or leads to another folder; StorageError for a folder without read permission.
    """
    files = [file for url in inputs for file in sorted(_files(url), key=lambda file: file.name)]
    if len({file.url for file in files}) < len(files):
        raise CorpusError(f"an input file is named twice among {', '.join(inputs)}; name each once")
    files = _with_unique_names(files)
    for file in files:
        if file.name.encode(errors="ignore").decode() != file.name:  # Python keeps such bytes as lone surrogates
            raise CorpusError(f"an input file has a name that is not UTF-8: {file.name!a}; rename it")
    return sorted(files, key=lambda file: file.name)


def _with_unique_names(files: Sequence[InputFile]) -> list[InputFile]:
    """Make names unique: the first file keeps its name, later ones take the shortest longer path that is free."""
    named: dict[str, InputFile] = {}
    for file in files:
        parts, depth = file.url.split("/"), file.name.count("/") + 1
        longer = ("/".join(parts[-length:]) for length in range(depth + 1, len(parts) + 1))
        name = next(name for name in (file.name, *longer) if name not in named)
        named[name] = replace(file, name=name)
    return [*named.values()]


def _files(url: str) -> Iterable[InputFile]:
    file_system, path = storage.connect(url)
    local = storage.is_local(url)
    found: dict[str, Any] = {}
    base = path.rpartition("/")[0]
    with storage.translate_error(url):
        if any(sign in path for sign in "*?[") and not file_system.exists(path):
            base = path[: min(path.index(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
            if any("**" in part and part != "**" for part in path.split("/")):
                raise CorpusError(f"{url}: ** must be a whole path component; write **/* to match files of any name")
            if local:
                _check_readable(base or "/", path.removeprefix(f"{base}/").split("/"))
            found = file_system.glob(path, detail=True)
        elif file_system.isdir(path):
            found, base = dict.fromkeys(_files_below(path)) if local else file_system.find(path, detail=True), path
        else:
            with contextlib.suppress(FileNotFoundError):
                found = {path: file_system.info(path)}
        found = {name: info for name, info in found.items() if not _is_hidden(name, path, base)}
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
    stamp = info.get("mtime") or info.get("ETag") or info.get("LastModified") or info.get("created") or ""
    return InputFile(str(file_system.unstrip_protocol(name)), name.removeprefix(base).lstrip("/"), info["size"], str(stamp))


def digests(files: Sequence[InputFile], root: str) -> dict[str, str]:
    """Return the SHA-256 of each file by name, from the cache under `root` when size and stamp are unchanged."""
    place = storage.join(root, CACHE)
    try:
        cache: dict[str, Any] = storage.read_json(place) if storage.exists(place) else {}
    except StorageError:
        cache = {}
    result, changed = {}, False
    for file in files:
        known = cache.get(file.url)
        if not known or (known["size"], known["stamp"]) != (file.size, file.stamp):
            known = {"size": file.size, "stamp": file.stamp, "sha256": storage.sha256(file.url)}
            cache[file.url], changed = known, True
        result[file.name] = str(known["sha256"])
    if changed:
        storage.write_json(place, cache)
    return result


def digest(files: Sequence[InputFile], root: str) -> str:
    """Return one digest of all files: their names and contents."""
    content = storage.json_bytes(digests(files, root))
    return hashlib.blake2b(content, digest_size=16).hexdigest()
