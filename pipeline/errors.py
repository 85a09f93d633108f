"""Errors that a user can fix. Everything else is a bug of ours and keeps its traceback.

UserError               one line: what is wrong and how to fix it; the command exits with 2
+-- CorpusError         input text, vocabulary, shards
+-- StorageError        a folder or an object store that cannot be read or written
+-- RecipeError         an invalid setting
+-- CheckpointError     unusable weights or checkpoint folders
+-- ClusterError        workers that are unavailable, or that failed too often
+-- TaskError           evaluation data that is missing or malformed
"""


class UserError(Exception):
    """Something outside the program is wrong; the message says what, and what to do about it."""


class CorpusError(UserError):
    """Input text, a vocabulary or shards that cannot be used."""


class StorageError(UserError):
    """A location that cannot be read or written: missing, forbidden, full, unreachable."""


class RecipeError(UserError):
    """A recipe, or a combination of settings, that is invalid."""


class CheckpointError(UserError):
    """Weights or a checkpoint folder that cannot be used."""


class ClusterError(UserError):
    """Workers that are unavailable, or that failed more often than the recipe allows."""


class TaskError(UserError):
    """Evaluation data that is missing or not in the format that the task needs."""
