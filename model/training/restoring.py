"""The newest checkpoint of a training folder: rank 0 alone reads it, once, and hands it to the other workers.

    restored = newest(lambda: checkpoint.load_newest(output))
    restored.url, restored.state                on every worker
    model, optimizer = restored.tensors()       on every worker, from rank 0's memory over the process group

So a store is read once, however many machines there are, all workers have the same checkpoint, and it is checked while it is
read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from model.checkpoints.checkpoint import Checkpoint
from model.training import workers


@dataclass
class Restored:
    """A checkpoint to resume from, or none."""

    url: str | None
    state: dict[str, Any] | None
    """The content of its state.json."""
    _contents: Checkpoint | None
    """On rank 0."""

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights and optimizer state. Called once, by every worker; what rank 0 has read is freed."""
        contents, self._contents = self._contents, None
        model = workers.broadcast_tensors(contents.model if contents else None)
        return model, workers.broadcast_tensors(contents.optimizer if contents else None)


def newest(load: Callable[[], tuple[str, Checkpoint] | None]) -> Restored:
    """Load a checkpoint on rank 0, and say on every worker which.

    Raises: what `load` raises, on every worker.
    """
    contents: list[Checkpoint] = []

    def read() -> tuple[str, dict[str, Any]] | None:
        found = load()
        if found is None:
            return None
        contents.append(found[1])
        return found[0], found[1].state

    url, state = workers.broadcast_from_rank0(read) or (None, None)
    return Restored(url, state, contents[0] if contents else None)
