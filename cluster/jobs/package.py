"""The package of a job: our rooms, the recipe, and what to call, as a zip. Nothing else travels.

Which files are part of a room is said here, not what is left out: data, `.git` and environment files that lie among them stay.
The same content gives the same bytes, which Ray keeps once.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.session import ROOT
from pipeline.errors import ClusterError

ROOMS = ("pipeline", "model", "cluster", "workflows")
DATA = {
    "pipeline/cleaning/web": ".json",
    "cluster/manifests/examples": ".toml",
    "workflows/recipes": ".toml",
    "workflows/report": ".jinja",
    "workflows/report/languages": ".toml",
}
"""Folders with files of ours other than Python, and what the names of these end with."""
JOB = "job.json"
"""File in the package that says what to call (cluster/jobs/entry.py)."""
LIMIT = 2_000_000
"""Most bytes of a package: every machine fetches it, and Ray's head keeps it in memory."""


@dataclass(frozen=True)
class Package:
    """Files by their names in the package."""

    files: Mapping[str, bytes]

    def zipped(self) -> bytes:
        """Return the zip.

        Raises: ClusterError if it is too large.
        """
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                entry = zipfile.ZipInfo(name)  # of 1980: the same bytes at any time
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, content)
        data = target.getvalue()
        if len(data) > LIMIT:
            name = max(self.files, key=lambda name: len(self.files[name]))
            raise ClusterError(
                f"the package of the job has {len(data):,} bytes, more than {LIMIT:,}; its largest file is {name}"
                f" ({len(self.files[name]):,} bytes)"
            )
        return data


def package(job: Mapping[str, Any], extra: Mapping[str, bytes]) -> Package:
    """Return the package of a job.

    Args:
        job: content of job.json.
        extra: other files at its top, such as the recipe.
    """
    files = {name: path.read_bytes() for name, path in room_files().items()}
    return Package({**files, **extra, JOB: json.dumps(job, ensure_ascii=False).encode()})


def room_files() -> dict[str, Path]:
    """Return the files of our rooms by their names below the folder that contains the rooms."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            name = path.relative_to(ROOT)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
            ours = path.suffix == ".py" or path.suffix == DATA.get(str(name.parent))
            if ours and not hidden and path.is_file():
                found[str(name)] = path
    return found
