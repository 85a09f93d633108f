"""Errors that a user can fix. Everything else is a bug of ours and keeps its traceback.

UserError               one line: what is wrong and how to fix it; the command exits with 2
+-- CorpusError         input text, vocabulary, shards
|   +-- DamagedError    a finished file that is no longer what was written
+-- StorageError        a folder or an object store that cannot be read or written
|   +-- StoreAwayError  a store that did not answer for as long as it is waited for
|   +-- NoSpaceError    a disk, or a quota, that is full
+-- RecipeError         an invalid setting
+-- CheckpointError     unusable weights or checkpoint folders
+-- ClusterError        workers that failed too often
|   +-- UnavailableError    no cluster, or no room in it, at the moment
|   +-- RayLostError        our own Ray ended
+-- TaskError           evaluation data that is missing or malformed
+-- RegistryError       a registered model, or a change of the champion, that cannot be
+-- MemoryFullError     too little memory

Messages may repeat names of files, URLs and text from anywhere. Every error shows them without secrets and without characters
that a terminal obeys.
"""

import errno

from pipeline.credentials import hide
from pipeline.redaction import printable

NO_MEMORY = "out of memory: free some, raise the limit (ulimit -v), or use fewer --workers; finished parts are kept"


class StoppedEarly(Exception):
    """Work that was asked to stop before its end, and did so in order. No error; but what needs its result cannot follow."""

    exit_code = 0
    """Exit code of the command."""


class UserError(Exception):
    """Something outside the program is wrong; the message says what, and what to do about it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(hide(message)))

    @property
    def lines(self) -> list[str]:
        """What to show: a line for each thing that is wrong."""
        return [" ".join(str(self).split())]


class CorpusError(UserError):
    """Input text, a vocabulary or shards that cannot be used."""


class DamagedError(CorpusError):
    """A finished file whose content is not what its manifest says: cut short, or bits have flipped.

    Not for a file that cannot be read at the moment: that is a StorageError.
    """


class StorageError(UserError):
    """A location that cannot be read or written: missing, forbidden, full, unreachable."""


class StoreAwayError(StorageError):
    """A store that did not answer for as long as a setting lets it be away."""


class NoSpaceError(StorageError):
    """A disk, or the quota of a user, that is full."""


class RecipeError(UserError):
    """A recipe, or a combination of settings, that is invalid."""


class CheckpointError(UserError):
    """Weights or a checkpoint folder that cannot be used."""


class ClusterError(UserError):
    """Workers that are unavailable, or that failed more often than the recipe allows."""


class UnavailableError(ClusterError):
    """A cluster that does not answer, or has no room for the workers, at the moment."""


class RayLostError(ClusterError):
    """A process of our own Ray that ended or froze: a new Ray mends it."""


class TaskError(UserError):
    """Evaluation data that is missing or not in the format that the task needs."""


class RegistryError(UserError):
    """A model that cannot be registered or promoted as it is, or a champion that another process has changed."""


class MemoryFullError(UserError):
    """Too little memory."""

    def __init__(self, message: str = NO_MEMORY) -> None:
        super().__init__(message)


_NO_ROOM_FOR_A_LIBRARY = ("failed to map segment", "cannot allocate memory", "Cannot allocate memory")
"""What the dynamic loader says."""


def is_memory_full(error: BaseException | None) -> bool:
    """Return whether an error came of too little memory: it, or what it was raised for.

    A library that cannot be loaded for want of memory is an ImportError, which packages often replace by one of their own.
    """
    while error is not None:
        if isinstance(error, MemoryError | MemoryFullError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, ImportError) and any(reason in str(error) for reason in _NO_ROOM_FOR_A_LIBRARY):
            return True
        error = error.__cause__ or error.__context__
    return False
