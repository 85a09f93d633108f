"""The command `evaluate`: its options, and what it prints."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipeline import storage
from pipeline.redaction import redact
from workflows.cli.console import echo
from workflows.cli.errors import UserMistake
from workflows.cli.options import json_option, output_option
from workflows.preparing import URL

if TYPE_CHECKING:
    from workflows.evaluation.config import EvaluationConfig
    from workflows.evaluation.grid.executors import Executor
    from workflows.evaluation.scores import Score

DEFAULT_TASKS = ("sentiment", "entities")


@click.command()
@click.argument("model")
@click.option("--data", type=URL, help="Folder with the files of the tasks. Default: that of the TOML file in --tasks.")
@click.option(
    "--tasks",
    metavar="A,B",
    help="Tasks to score, or a TOML file with tasks of your own: docs/evaluation.md.  [default: those of --preset, or"
    " sentiment,entities]",
)
@click.option(
    "--preset",
    default="",
    metavar="NAME",
    help="Published settings of each task: nezha-2019 or nezha-2019-large (the paper's table 3). Options beside it count.",
)
@click.option(
    "--grid",
    multiple=True,
    metavar="SETTING=A,B",
    help="Values to try, of learning_rate, batch_size, epochs or max_length; repeatable: each with each. Dev decides.",
)
@click.option("--seeds", type=click.IntRange(1), metavar="N", default=3, show_default=True, help="Fine-tuning runs per task.")
@click.option(
    "--epochs", type=click.IntRange(1), metavar="N", default=3, show_default=True, help="Passes over the training examples."
)
@click.option("--learning-rate", type=float, metavar="RATE", default=3e-5, show_default=True, help="Peak learning rate.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", default=32, show_default=True, help="Examples per step.")
@click.option(
    "--max-length",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Longest input, in tokens; 0 = 128, reading 384, choice 512.",
)
@click.option(
    "--train-examples", type=click.IntRange(0), metavar="N", default=0, help="Maximum number of training examples; 0 = all."
)
@click.option(
    "--test-examples", type=click.IntRange(0), metavar="N", default=0, help="Maximum number of examples to score on; 0 = all."
)
@click.option(
    "--pooling",
    type=click.Choice(["auto", "mean", "cls"]),
    default="auto",
    show_default=True,
    help="Vector of a text, for tasks of similarity (sts): as in `embed`.",
)
@click.option("--baseline/--no-baseline", default=True, help="Also score the same network without pretraining.")
@click.option(
    "--published",
    "size",
    type=click.Choice(["base", "large", "all", "none"]),
    default="base",
    show_default=True,
    help="Published figures to print beside the scores, by size of the models.",
)
@click.option("--errors", is_flag=True, help="Also write errors.html to OUTPUT: what was wrong on test, by kind, to be read.")
@click.option(
    "--beside", metavar="FOLDER", help="With --errors: an earlier output, whose model's guesses to show.  [default: untrained]"
)
@click.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    default="en",
    show_default=True,
    help="With --errors: language of the page.",
)
@output_option("scores")
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Fine-tuning runs at a time.  [default: 1; with --address as many as there is room for]",
)
@click.option(
    "--address",
    default="",
    metavar="URL",
    help="Ray cluster to fine-tune on (10.0.0.1:6379); its machines must see model, data and output.",
)
@json_option
def evaluate(
    model: str,
    data: str | None,
    output: str,
    size: str,
    errors: bool,
    beside: str | None,
    language: str,
    workers: int | None,
    address: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fine-tune MODEL on tasks and print the scores. Tasks of similarity (sts) score its vectors of texts as they are.

    MODEL is an exported folder, or hf:FOLDER: any encoder that transformers loads, with its own tokenizer. hf:NAME is a model
    of Hugging Face's hub.

    Finished runs are kept: the same command resumes an interrupted evaluation, and with more seeds runs these alone.

    \b
    Examples:
      nezha-pipe evaluate my-nezha --tasks sentiment,entities --data data/tasks-5d0c --seeds 3
      nezha-pipe evaluate my-nezha --tasks sts --data tasks
      nezha-pipe evaluate hf:models/chinese-macbert-base --tasks sentiment,entities --data data/tasks-5d0c
      nezha-pipe evaluate my-nezha --tasks complaints.toml,ocnli --data data/tasks
      nezha-pipe evaluate my-nezha --preset nezha-2019 --data tasks --seeds 5 --workers 2
      nezha-pipe evaluate my-nezha --tasks ocnli --data tasks --grid learning_rate=2e-5,3e-5,5e-5 --grid batch_size=16,32
      nezha-pipe evaluate my-nezha --tasks ocnli --data tasks --errors --beside scores-of-another
      nezha-pipe evaluate s3://b/my-nezha --preset nezha-2019 --data s3://b/tasks --output s3://b/scores --address 10.0.0.1:6379
    """
    from workflows.evaluation import encoders
    from workflows.evaluation.run import evaluate as score
    from workflows.progress import Display

    if beside and not errors:
        raise UserMistake("--beside is for the page of --errors: give both")
    config, data = _config(click.get_current_context(), data, **settings)
    model, output = encoders.absolute(model), storage.absolute(output)
    if output == model.removeprefix(encoders.FOREIGN):
        raise UserMistake(f"--output {redact(output)}: the model is there; give its scores a folder of their own")
    with Display(["evaluate"]) as display, _executor(address, workers, model, data, output, config) as executor:
        threads = 1 if executor else None
        scores = score(
            model, data, config, output, workers=workers or 1, threads=threads, executor=executor, report=display.report
        )
    if errors:
        from workflows.report.errors import page

        other = storage.absolute(beside) if beside else None
        echo(f"errors: {redact(page.write(scores, output, data, config, beside=other, language=language))}", err=True)
    echo("\n".join(one.to_json() for one in scores) if as_json else _text(scores, output, size))


def _config(
    context: click.Context, data: str | None, *, tasks: str | None, preset: str, grid: Sequence[str], **given: Any
) -> "tuple[EvaluationConfig, str]":
    """Return the settings that options ask for, and the folder of the tasks' files: `data`, or that of a file of tasks.

    Beside a preset, options that are given count for all tasks.

    Raises: UserMistake.
    """
    from workflows.evaluation.catalogue import STS
    from workflows.evaluation.config import EvaluationConfig
    from workflows.evaluation.grid import settings
    from workflows.evaluation.own_tasks import named_tasks
    from workflows.evaluation.tasks import expanded

    options = [name for name in settings.NAMES if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    try:
        tried = settings.read_grid(grid)
        if both := [name for name in options if getattr(tried, name)]:
            raise ValueError(f"--grid {both[0]} and --{both[0].replace('_', '-')}: give one of them")
        known = settings.preset(preset)
        named, own, folder = named_tasks(tasks or "")
        if not (data or folder):
            raise UserMistake("--data is missing: the folder with the files of the tasks")
        place = storage.absolute(data or folder)
        names, missing = expanded(named if tasks is not None else tuple(known) or DEFAULT_TASKS, place)
        if missing:
            echo(f"{STS}: no files of {', '.join(missing)} in {redact(place)}", err=True)
        changed = {name: given[name] for name in options if given[name]} if preset else {}
        of_task = {name: settings.TaskSettings(**changed) for name in names} if changed else {}
        return EvaluationConfig(tasks=names, task=own, preset=preset, grid=tried, settings=of_task, **given), place
    except ValueError as error:
        raise UserMistake(str(error)) from error


@contextlib.contextmanager
def _executor(
    address: str, workers: int | None, model: str, data: str, output: str, config: "EvaluationConfig"
) -> "Iterator[Executor | None]":
    """Yield who runs the runs: a cluster, or None for this machine."""
    if not address:
        yield None
        return
    from workflows.evaluation.grid.executors import on_cluster
    from workflows.evaluation.run import files_read

    with on_cluster(address, workers, output, files_read(model, data, config)) as cluster:
        yield cluster


def _text(scores: "Sequence[Score]", output: str, size: str) -> str:
    """Return what is printed: the scores, the chosen points of a grid, and published figures of a size."""
    from workflows.evaluation import beside
    from workflows.evaluation.grid import choice
    from workflows.evaluation.scores import diverged, summary, table

    parts = [table(summary(scores)), "\n".join(diverged(scores)), "\n".join(choice.lines(choice.read(output)))]
    if size != "none":
        parts.append(beside.table(beside.beside(scores), size))
    return "\n\n".join(part for part in parts if part)
