"""From what a recipe names (files, folders, globs, any fsspec URL) to a list of files with sizes and digests.

Digests are of content. They are remembered by URL, size and time of change (or etag) in `digests.json` of the output folder, so
that a rerun over 40 GB reads nothing to know that nothing changed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec

from pipeline import storage
from pipeline.errors import CorpusError, StorageError

CACHE = "digests.json"


@dataclass(frozen=True)
class InputFile:
    """One input file."""

    url: str
    name: str
    """Its path below what the recipe named: part of the identity of its documents, so that moving a corpus changes nothing."""
    size: int
    stamp: str
    """Time of change or etag: another one means that the digest must be taken anew."""


def expand(inputs: Sequence[str]) -> list[InputFile]:
    """All files of some URLs, folders (taken whole) and globs, sorted by name.

    Raises: CorpusError for an input that matches no file, a file named twice, or a name that is not UTF-8.
    """
    files = [file for url in inputs for file in _files(url)]
    names = [file.name for file in files]
    if len(set(names)) < len(names):  # two inputs hold files of one name: only the whole path tells them apart
        files = [InputFile(file.url, file.url, file.size, file.stamp) for file in files]
    if len({file.name for file in files}) < len(files):
        raise CorpusError(f"an input file is named twice among {', '.join(inputs)}; name each once")
    for file in files:
        if file.name.encode(errors="ignore").decode() != file.name:  # Python keeps such bytes as lone surrogates
            raise CorpusError(f"an input file has a name that is not UTF-8: {file.name!a}; rename it")
    return sorted(files, key=lambda file: file.name)


def _files(url: str) -> Iterable[InputFile]:
    with storage.explained(url):
        file_system, path = fsspec.core.url_to_fs(str(storage.local_path(url)) if storage.is_local(url) else url)
        if any(sign in path for sign in "*?[") and not file_system.exists(path):
            found = file_system.glob(path, detail=True)
            base = path[: min(path.index(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
        elif file_system.isdir(path):
            found, base = file_system.find(path, detail=True), path
        else:
            found = {path: file_system.info(path)} if file_system.exists(path) else {}
            base = path.rpartition("/")[0]
        entries = [(name, info) for name, info in found.items() if info["type"] == "file" and not _hidden(name, path, base)]
    if not entries:
        raise CorpusError(f"{url}: no such file, or nothing in it; check the input of the recipe")
    return [_input(file_system, name, info, base) for name, info in entries]


def _hidden(name: str, named: str, base: str) -> bool:
    """Whether a file, or a folder that holds it below what was named, begins with . or _: a tool's own business (`_SUCCESS`,
    `.cache/` of the Hugging Face hub). What is named itself is meant."""
    return name != named and any(part.startswith((".", "_")) for part in name.removeprefix(base).split("/"))


def _input(file_system: Any, name: str, info: dict[str, Any], base: str) -> InputFile:
    stamp = info.get("mtime") or info.get("ETag") or info.get("LastModified") or info.get("created") or ""
    return InputFile(str(file_system.unstrip_protocol(name)), name.removeprefix(base).lstrip("/"), info["size"], str(stamp))


def digests(files: Sequence[InputFile], root: str) -> dict[str, str]:
    """SHA-256 of each file by name, from the cache under `root` where size and stamp are the same."""
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
    """One digest of all files: their names and contents."""
    content = storage.json_bytes(digests(files, root))
    return hashlib.blake2b(content, digest_size=16).hexdigest()
