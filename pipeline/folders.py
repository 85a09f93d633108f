"""What a folder is, judged by the names in it, so that an error can say what was given where something else is expected.

describe("runs/encoder")                 "a training folder"
not_found("runs/encoder", "an exported model", {"a training folder": "export it first: ..."})
->  "runs/encoder: a training folder, not an exported model; export it first: ..."
"""

from collections.abc import Mapping

from pipeline import storage

MANIFEST = "manifest.json"
"""File that says what a finished stage is; written last."""
FILE = "a file"
MISSING = "no such folder"
EMPTY = "an empty folder"
TRAINING = "a training folder"
CHECKPOINT = "a checkpoint"
EXPORT = "an exported model"
OUTPUT = "an output folder of nezha-pipe"
STAGE = "the folder of one stage"
OTHER = "a folder that nezha-pipe did not write"
_MARKS = (
    ("best.json", TRAINING),
    ("attempt-0001", TRAINING),
    ("checkpoint.json", CHECKPOINT),
    ("tokenizer_config.json", EXPORT),
    ("data.json", OUTPUT),
    (MANIFEST, STAGE),
)
"""Names that only one kind of folder has, and which. The folder of a stage may be one of the others as well."""


def describe(url: str) -> str:
    """Return what a folder is: one of the constants above."""
    names = storage.list_names(url)
    if not names:
        return MISSING if not storage.exists(url) else EMPTY if storage.is_folder(url) else FILE
    for mark, kind in _MARKS:
        if mark in names:
            return kind
    return OUTPUT if stage_in(url, "") else OTHER


def stage_in(url: str, name: str) -> str:
    """Return the URL of a finished stage in an output folder whose folder's name begins with `name`; empty if none."""
    for folder in storage.list_names(url):
        if folder.startswith(name) and "-" in folder and storage.exists(storage.join(url, folder, MANIFEST)):
            return storage.join(url, folder)
    return ""


def not_found(url: str, wanted: str, hints: Mapping[str, str]) -> str:
    """Return the message for a folder that is not what is wanted.

    Args:
        hints: what to do, by what the folder is.
    """
    found = describe(url)
    hint = f"; {hints[found]}" if found in hints else ""
    return f"{url}: {found}" + (hint if found == MISSING else f", not {wanted}{hint}")
