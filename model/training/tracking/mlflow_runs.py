"""Rows of metrics as a run of MLflow, in the experiment "nezha-pipe": `[training] mlflow = "sqlite:////runs/mlflow.db"`.

    live/mlflow.json     {"run": "9c2f...", "uri": "sqlite:////runs/mlflow.db"}     a resumed training continues its run

A figure in MLflow cannot be taken back, so what an earlier attempt wrote already is left out when its steps are repeated: they
give the same figures. After a rollback they do not: then the run is deleted, and a new one begins with the rows that still
count. So does the first one of a training that had begun without MLflow.
"""

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from model.training.tracking.figures import figures
from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.redaction import redact

EXPERIMENT = "nezha-pipe"
FILE = "mlflow.json"
BATCH = 1_000
"""Most figures in one call, by MLflow's rules."""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Environment variables, where the user has set none: report nothing to its makers, and do not wait for minutes."""


def need_package(uri: str) -> None:
    """Raise RecipeError if runs of MLflow are wanted, and it is not installed."""
    if uri and importlib.util.find_spec("mlflow") is None:
        raise RecipeError(f"training.mlflow = {redact(uri)!r} needs MLflow: pip install 'mlflow>=3', or leave it empty")


class MlflowRun:
    """The run of a training folder.

    Args:
        folder: URL of the folder with mlflow.json.
        history: returns the rows of earlier attempts that still count.
    """

    def __init__(
        self, uri: str, folder: str, name: str, rolled_back: bool, history: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> None:
        for variable, value in QUIET.items():
            os.environ.setdefault(variable, value)
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._marks: dict[str, int] = {}
        """By the figures of `_mark`, the last step that is written."""
        self._fresh = False
        url, known = storage.join(folder, FILE), {"uri": redact(uri)}
        found = storage.read_json(url) if storage.exists(url) else {}
        self.run = found.get("run") if found.get("uri") == known["uri"] else None
        if self.run and rolled_back:
            self._client.delete_run(self.run)
            self.run = None
        if self.run:
            self._client.update_run(self.run, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        self.run = self._client.create_run(number, run_name=name).info.run_id
        self._fresh = True
        self.write(list(history()))
        storage.write_json(url, {**known, "run": self.run})

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; those that were written before are left out."""
        from mlflow.entities import Metric

        batch: list[Any] = []
        marks: dict[str, int] = {}
        for row in rows:
            found = figures(row)
            if not found or row["step"] <= self._last(mark := _mark(row)):
                continue
            metrics = [Metric(name, value, int(row["time"] * 1_000), row["step"]) for name, value in found.items()]
            if len(batch) + len(metrics) > BATCH:
                self._log(batch, marks)
                batch, marks = [], {}
            batch, marks = [*batch, *metrics], {**marks, mark: row["step"]}
        if batch:
            self._log(batch, marks)

    def _log(self, batch: Sequence[Any], marks: Mapping[str, int]) -> None:
        self._client.log_batch(self.run, metrics=batch)
        self._marks |= marks

    def _last(self, mark: str) -> int:
        """Return the last step of rows of a kind in the run."""
        if mark not in self._marks:
            history = [] if self._fresh else self._client.get_metric_history(self.run, mark)
            self._marks[mark] = max((one.step for one in history), default=-1)
        return self._marks[mark]

    def close(self, ended: str) -> None:
        """Mark the run as ended."""
        self._client.set_terminated(self.run, {"finished": "FINISHED"}.get(ended, "KILLED" if "stopped" in ended else "FAILED"))


def _mark(row: Mapping[str, Any]) -> str:
    """Return the figure that tells up to which step rows such as this one were written."""
    if row["kind"] == "validation":
        return f"validation/{row['source']}/masked_accuracy"
    return f"slow/rank_{row['rank']}" if row["kind"] == "slow" else "optimizer/learning_rate"
