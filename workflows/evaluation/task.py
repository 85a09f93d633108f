"""A task: its kind, its files, and what is where in them. Tasks that come with the program and your own are described alike.

Task(kind="pair", files="lcqmc/{split}.tsv", text=("text_a", 1), second=("text_b", 2), label=("label", 3))

[evaluation.task.complaints]                    the same in a recipe, or [complaints] in a file for `evaluate --tasks`
kind = "classification"
files = "complaints/{split}.jsonl"
text = "content"
label = "department"
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from workflows.evaluation.kinds import KINDS, KindName
from workflows.evaluation.metrics import Metric

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
FormatName = Literal["", "json", "csv", "tsv", "conll", "squad", "c3", "chid", "wsc"]
Field = str | int | tuple[str | int, ...]
Paths = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Task:
    """`[evaluation.task.NAME]`: a task of your own, which `tasks` then may name. See docs/evaluation.md."""

    kind: KindName
    """What an example is, and what is predicted; docs/evaluation.md has a table."""
    files: Paths = ""
    """Path of the files in the data folder, with `{split}` for train, dev and test; also compressed, also an absolute URL. Of a
    list, the first that exists is read. A `*` is anything: all files that match are read, in order of their names."""
    train: Paths = ""
    """Path of the training file, if `files` does not name it."""
    dev: Paths = ""
    """Path of the file that the best epoch is chosen by. Without one, a tenth of train is set aside."""
    test: Paths = ""
    """Path of the file that is scored. Without one, or if it has no labels, dev is scored, and a tenth of train is dev; without
    either, a tenth of train is dev and another is test."""
    optional: tuple[Split, ...] = ()
    """Splits that need not be there although a path is given."""
    format: FormatName = ""
    """Empty: by the name. Tables are `csv`, or `tsv` without quotes; `json` is objects, one a line or not, or an array of them;
    `conll` is an item and its tag a line; the others are those of known tasks."""
    delimiter: str = ""
    """What separates the fields of a table, if not a comma or a tab."""
    text: Field = ""
    """Field of the text, the first text of two, the question, or the passage: a name in the header or in JSON (`a.b` for b in
    a), or the number of a column, from 1, or from -1 backwards. Of a list, the one that the file has."""
    second: Field = ""
    """Field of the second text, the candidate, or the question about a passage."""
    choices: Field = ""
    """Field with the list of choices; or a list of fields with a choice each."""
    label: Field = "label"
    """Field of the label, the number, the tags, the entities or the answer."""
    group: Field = ""
    """Field of what the candidates of one question share; empty: its text."""
    labels: tuple[str, ...] = ()
    """All labels; empty: those of train. For `choice`, how choices are called; empty: 0, 1, ... or A, B, ..."""
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Other spellings of labels: what the file says = what is meant."""
    only: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Rows to read: field = its value; rows without the field are read, too."""
    leave_out: tuple[str, ...] = ()
    """Labels whose examples are left out, and counted."""
    separator: str = ""
    """What separates several labels in one field, or the items and the tags of a sentence; empty: a comma, or a space."""
    span_end: Literal["", "after", "last"] = ""
    """Whether the end of an entity is the place after its last character, or of that character. Empty: the one at which the
    entity's text is, if the file has it, else after."""
    first_character: bool = False
    """Whether an item is the first character of its column only, as in Weibo's 科0 技1."""
    metrics: tuple[Metric, ...] = ()
    """What is reported; its mean on dev chooses the best epoch. Empty: what is usual for the kind."""
    about: str = ""
    """What it is about, in a line."""

    def __post_init__(self) -> None:
        kind = KINDS[self.kind]
        known = (*kind.metrics, *kind.other_metrics)
        if unknown := [name for name in self.metrics if name not in known]:
            raise ValueError(f"metrics: {unknown[0]} is none of {self.kind}; choose from {', '.join(known)}")
        if not self.files and not self.train:
            raise ValueError("no files: give `files` with {split}, or `train`, `dev` and `test`")
        for path in paths(self.files):
            if "{split}" not in path:
                raise ValueError(f"files {path!r} has no {{split}}; name single files by train, dev and test")
        for name in self._needed():
            if not fields(getattr(self, name)):
                raise ValueError(f"{name} is missing: the field of a file that a {self.kind} needs")
        if 0 in (*fields(self.text), *fields(self.second), *fields(self.label)):
            raise ValueError("column 0: columns are counted from 1, or backwards from -1")
        if self.delimiter == "\n" or len(self.delimiter) > 8:
            raise ValueError(f"delimiter {self.delimiter!r} cannot separate fields")

    def _needed(self) -> Iterator[str]:
        """Yield the settings without which the files cannot be read."""
        if self.format in ("squad", "c3", "chid", "wsc"):
            return
        if self.kind != "tagging":  # whose file may be one of CoNLL's, with a known order
            yield "text"
        if self.kind in ("pair", "similarity", "ranking", "reading"):
            yield "second"
        if self.kind == "choice":
            yield "choices"

    def paths(self, split: Split) -> tuple[str, ...]:
        """Return the paths that a split's file may have, uncompressed."""
        own = paths({"train": self.train, "dev": self.dev, "test": self.test}[split])
        return own or tuple(path.format(split=split) for path in paths(self.files))

    def may_lack(self, split: Split) -> bool:
        """Return whether a split need not be there."""
        return split in self.optional or not self.paths(split)


def paths(value: Paths) -> tuple[str, ...]:
    """Return what may be one path or several as several."""
    return (value,) if isinstance(value, str) and value else tuple(value)


def fields(value: Field) -> tuple[str | int, ...]:
    """Return what may be one field or several as several."""
    return value if isinstance(value, tuple) else (value,) if value != "" else ()
