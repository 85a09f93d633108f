"""What a person can mend, drawn as a tree. Everything else is our bug and keeps its traceback.

UserError               one line: what is wrong, and how to mend it; the command exits with 2
+-- CorpusError         input text, vocabulary, shards
+-- StorageError        a folder or an object store that cannot be read or written
+-- RecipeError         a setting that cannot be
+-- CheckpointError     weights or a checkpoint folder that is not what it should be
+-- ClusterError        workers that cannot be had, or that failed too often
+-- TaskError           evaluation data that is missing or malformed
"""


class UserError(Exception):
    """Something outside the program is wrong; the message says what, and what to do about it."""


class CorpusError(UserError):
    """Input text, a vocabulary or shards that cannot be used."""


class StorageError(UserError):
    """A place that cannot be read or written: missing, forbidden, full, unreachable."""


class RecipeError(UserError):
    """A recipe, or a combination of settings, that makes no sense."""


class CheckpointError(UserError):
    """Weights or a checkpoint folder that is not what it should be."""


class ClusterError(UserError):
    """Workers that cannot be had, or that failed more often than the recipe allows."""


class TaskError(UserError):
    """Evaluation data that is missing or not in the form that the task needs."""
