"""From what a recipe names (files, folders, globs, any fsspec URL) to a list of files with sizes and digests.

Digests are of content. They are cached_stage by URL, size and time of change (or etag) in `digests.json` of the output folder, so
that a rerun over 40 GB reads nothing to know that nothing changed.
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
    """Its path below what the recipe named: part of the identity of its documents, so that moving a corpus changes nothing.

    Where an input before it has a file of that name, folders above are added until they tell the two apart: `news.jsonl` of
    2024/, then `2025/news.jsonl`. So an input that is added behind the others renames nothing.
    """
    size: int
    stamp: str
    """Time of change or etag: another one means that the digest must be taken anew."""


def expand(inputs: Sequence[str]) -> list[InputFile]:
    """All files of some URLs, folders (taken whole) and globs, sorted by name.

    Raises: CorpusError for an input that matches no file, a ** beside other signs, a file named twice, a name that is
        not UTF-8, or a link that leads nowhere or to a folder elsewhere; StorageError for a folder that may not be read.
    """
    files = [file for url in inputs for file in sorted(_files(url), key=lambda file: file.name)]
    if len({file.url for file in files}) < len(files):
        raise CorpusError(f"an input file is named twice among {', '.join(inputs)}; name each once")
    files = _told_apart(files)
    for file in files:
        if file.name.encode(errors="ignore").decode() != file.name:  # Python keeps such bytes as lone surrogates
            raise CorpusError(f"an input file has a name that is not UTF-8: {file.name!a}; rename it")
    return sorted(files, key=lambda file: file.name)


def _told_apart(files: Sequence[InputFile]) -> list[InputFile]:
    """The files, no two of one name: the first keeps its own, the shortest longer path that is free is that of the next."""
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
    with storage.explained(url):
        if any(sign in path for sign in "*?[") and not file_system.exists(path):
            base = path[: min(path.index(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
            if any("**" in part and part != "**" for part in path.split("/")):
                raise CorpusError(f"{url}: ** stands for folders, by itself between two /; write **/* where any name will do")
            if local:
                _look(base or "/", path.removeprefix(f"{base}/").split("/"))
            found = file_system.glob(path, detail=True)
        elif file_system.isdir(path):
            found, base = dict.fromkeys(_below(path)) if local else file_system.find(path, detail=True), path
        else:
            with contextlib.suppress(FileNotFoundError):
                found = {path: file_system.info(path)}
        found = {name: info for name, info in found.items() if not _hidden(name, path, base)}
        if local:  # fsspec's lists say "other" of links
            found = {name: _followed(file_system, name) for name in found}
        entries = [(name, info) for name, info in found.items() if info["type"] == "file"]
    if not entries:
        raise CorpusError(
            f"{url}: no such file, or nothing in it; check the input (names that begin with . or _ are passed by)"
        )
    return [_input(file_system, name, info, base) for name, info in entries]


def _below(folder: str) -> Iterator[str]:
    """Files, and links to files, below a local folder. A folder that may not be read is an error, not an empty one."""
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for link in filter(os.path.islink, (os.path.join(place, name) for name in folders)):
            if not f"{os.path.realpath(link)}/".startswith(f"{os.path.realpath(folder)}/"):
                raise CorpusError(f"{link}: a link to a folder elsewhere; name that folder as an input too, or remove the link")
        yield from (os.path.join(place, name) for name in names)


def _look(folder: str, wanted: Sequence[str]) -> None:
    """Look where a glob looks: fsspec's own takes a local folder that may not be read for an empty one."""
    names: list[str] = []
    with storage.explained(folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = os.listdir(os.path.join(folder, "."))  # the . asks for the right to enter, too
    first, deeper = wanted[0], wanted if wanted[0] == "**" else wanted[1:]
    for name in names if deeper else ():
        place = os.path.join(folder, name)
        if fnmatchcase(name, first) and not name.startswith((".", "_")) and os.path.isdir(place) and not os.path.islink(place):
            _look(place, deeper)


def _refuse(error: OSError) -> None:
    with storage.explained(error.filename):
        raise error


def _followed(file_system: Any, name: str) -> dict[str, Any]:
    """What a local file is, or what a link leads to."""
    try:
        found: dict[str, Any] = file_system.info(name)
    except OSError as error:
        if not os.path.islink(name):
            raise
        raise CorpusError(f"{name}: a link that leads nowhere; remove it, or bring back what it leads to") from error
    return found


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
