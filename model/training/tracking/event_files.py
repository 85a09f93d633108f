"""Rows of metrics for TensorBoard: `tensorboard --logdir runs` shows them while training runs.

    live/attempt-0002-000.out.tfevents.h1       of attempt 2, which resumed at step 200
        file_version "brain.Event:2"
        session_log START at step 201            TensorBoard forgets what attempt 1 wrote from there on
        summary of step 210                      train/loss 7.21, optimizer/learning_rate 9e-05, ...

An event file is a TFRecord file of Event messages (tensorboard/compat/proto/event.proto). The messages are those of
tensorboardX, which Ray Train brings along; its writer is not used: it names files by the clocks of machines, which may order
them wrongly, computes checksums in Python, and cannot continue after a full disk.
"""

import io
import platform
import time
from collections.abc import Iterable, Sequence
from typing import Any

from model.training.tracking.figures import figures
from model.training.tracking.growing import GrowingFile, GrowingFolder
from pipeline.tfrecords.tfrecord import write_records

VERSION = "brain.Event:2"


class EventFiles:
    """The event files of one attempt.

    Raises: ImportError without tensorboardX.
    """

    def __init__(self, folder: GrowingFolder, attempt: int, resumed: int) -> None:
        from tensorboardX.proto import event_pb2, summary_pb2

        self._event, self._summary = event_pb2, summary_pb2
        now = time.time()
        version = self._event.Event(wall_time=now, file_version=VERSION)
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        self._first = [self._event.Event(wall_time=now, step=resumed + 1, session_log=start)]
        """Written once, with the first rows."""
        suffix = f"out.tfevents.{platform.node()}"
        self._file = GrowingFile(folder, f"attempt-{attempt:04d}", suffix, _bytes([version]))

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows."""
        events = [*self._first]
        for row in rows:
            if found := figures(row):
                values = [self._summary.Summary.Value(tag=name, simple_value=value) for name, value in found.items()]
                summary = self._summary.Summary(value=values)
                events.append(self._event.Event(wall_time=row["time"], step=row["step"], summary=summary))
        if events:
            self._file.append(_bytes(events))
            self._first = []

    def close(self, ended: str) -> None:
        """Nothing is left to do."""


def _bytes(events: Iterable[Any]) -> bytes:
    file = io.BytesIO()
    write_records(file, (event.SerializeToString() for event in events))
    return file.getvalue()
