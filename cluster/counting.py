"""Counting failures of a training, by the checkpoints in its folder. Needs neither Ray nor torch."""

from collections.abc import Callable

from model.checkpoints.listing import committed
from pipeline.errors import StorageError


def newest_checkpoint(output: str) -> str | None:
    """URL of the newest checkpoint in a training folder."""
    return next(committed(output), None)


class Failures:
    """Failures in a row, without a new checkpoint between them.

    Args:
        output: the training folder.
        limit: how many are allowed.
        newest: returns what is new in the folder after each success.
    """

    def __init__(self, output: str, limit: int, newest: Callable[[str], str | None] = newest_checkpoint) -> None:
        self.output, self.limit, self._find = output, limit, newest
        self.count = 0
        self._last = self._newest(None)

    def allows_another(self) -> bool:
        """Count a failure; returns whether work may go on."""
        newest = self._newest(self._last)
        self.count = self.count + 1 if newest == self._last else 1
        self._last = newest
        return self.count <= self.limit

    def _newest(self, unknown: str | None) -> str | None:
        try:
            return self._find(self.output)
        except StorageError:
            return unknown
