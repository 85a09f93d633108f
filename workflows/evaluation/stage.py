"""The stage `scores`: the export fine-tuned and scored on tasks, next to the same network without pretraining."""

from typing import Any

from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import Finished, Stage
from workflows.evaluation.config import EvaluationConfig, data_digest
from workflows.evaluation.run import evaluate, file_entries

STAGE_VERSION = 2


def scores(
    config: EvaluationConfig,
    model_id: str,
    export: Finished,
    tasks: Finished | None,
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """Score an export.

    Args:
        model_id: name of the model in the scores.
        tasks: the stage `tasks`, used unless `config` names a folder of tasks.

    Raises: TaskError if files of a task are missing or malformed.
    """
    # The location of the files changes no score.
    settings = {"evaluation": {name: value for name, value in stages.plain(config).items() if name != "data"}}
    if config.data:
        url, digest = storage.absolute(config.data), data_digest(config)
    else:
        assert tasks is not None, "a step of scores needs tasks"
        url, digest = tasks.url, tasks.digest
    stage = Stage("scores", STAGE_VERSION, settings, {"export": export.digest, "tasks": digest})

    def body(folder: str) -> dict[str, Any]:
        for read in (export, tasks):
            if read is not None:
                stages.check(read)
        found = evaluate(
            export.url,
            url,
            config,
            folder,
            model_id=model_id,
            workers=execution.workers,
            threads=1,
            report=execution.report,
        )
        return {"files": file_entries(folder, found), "n": len(found)}

    return stages.run(root, stage, body, execution)
