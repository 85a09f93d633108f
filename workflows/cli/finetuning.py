"""The command `finetune`: an export becomes another export."""

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from pipeline import storage
from pipeline.validation import LARGEST_SEED
from workflows.cli.console import echo, echo_json, echo_url
from workflows.cli.errors import UserMistake
from workflows.cli.options import FiniteRange, json_option, not_empty, output_option
from workflows.preparing import URL

OF_TASKS = ("data", "train_examples", "test_examples", "mixing")
OF_CONTRASTIVE = ("inputs", "pairs", "text", "sentences", "steps", "temperature", "dropout", "pooling", "precision")
"""Options that only one way of tuning has."""


@click.command()
@click.argument("model", type=URL, metavar="MODEL")
@click.option("--contrastive", is_flag=True, help="Tune vectors of texts, as `embed` computes them, by SimCSE.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=URL,
    help="Raw texts: Parquet, JSON lines, or one text per line.",
    callback=not_empty,
)
@click.option(
    "--text", default="text", show_default=True, metavar="NAME", help="Column or field of --input that holds the text."
)
@click.option("--sentences", is_flag=True, help="Split the texts of --input into sentences.")
@click.option(
    "--pairs",
    multiple=True,
    type=URL,
    help="Instead of --input: pairs with labels, or anchors with positives and negatives.",
)
@click.option("--epochs", type=click.IntRange(1), metavar="N", show_default="1; 3 with --tasks", help="Passes over the texts.")
@click.option(
    "--steps", type=click.IntRange(0), metavar="N", default=0, help="Steps after which training ends; 0 = all epochs."
)
@click.option(
    "--batch-size", type=click.IntRange(2), metavar="N", show_default="64; 32 with --tasks", help="Texts or pairs per step."
)
@click.option(
    "--learning-rate", type=FiniteRange(0, min_open=True), metavar="RATE", default=3e-5, show_default=True, help="Peak."
)
@click.option(
    "--max-length",
    type=click.IntRange(3),
    metavar="N",
    show_default="64; with --tasks as `evaluate`",
    help="Tokens; longer texts are cut.",
)
@click.option(
    "--temperature",
    type=FiniteRange(0, min_open=True),
    default=0.05,
    show_default=True,
    metavar="T",
    help="Of similarity.",
)
@click.option(
    "--dropout", type=FiniteRange(0, 1, max_open=True), default=0.1, show_default=True, metavar="P", help="While tuning."
)
@click.option(
    "--pooling", type=click.Choice(["mean", "cls"]), default="mean", show_default=True, help="Vector of a text, as in `embed`."
)
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True, help="As in training."
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    metavar="N",
    default=0,
    show_default=True,
    help="Seed of the order of texts and of dropout.",
)
@click.option("--tasks", metavar="A,B", help="Instead of --contrastive: learn several tasks with one encoder; as `evaluate`.")
@click.option("--data", type=URL, help="--tasks: folder with their files.")
@click.option(
    "--train-examples", type=click.IntRange(0), metavar="N", default=0, help="--tasks: most training examples of each; 0 = all."
)
@click.option(
    "--test-examples", type=click.IntRange(0), metavar="N", default=0, help="--tasks: most examples to score on; 0 = all."
)
@click.option(
    "--mixing",
    type=click.Choice(["proportional", "annealed"]),
    default="proportional",
    show_default=True,
    help="--tasks: batches by size of tasks; or more and more equally.",
)
@output_option()
@json_option
def finetune(
    model: str,
    contrastive: bool,
    tasks: str | None,
    data: str | None,
    train_examples: int,
    test_examples: int,
    mixing: str,
    inputs: Sequence[str],
    pairs: Sequence[str],
    text: str,
    sentences: bool,
    output: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fine-tune MODEL, an exported folder, and export the result.

    --contrastive brings the vectors of texts that mean the same together, and spreads those of others. It learns from raw texts
    (--input), or better from pairs (--pairs): the files of LCQMC, OCNLI and the like, or JSON lines with `anchor`, `positive`
    and perhaps `negative`.

    --tasks learns several tasks together, as MT-DNN: a batch of one task after a batch of another, with a head for each. The
    encoder can then be fine-tuned further on each by `evaluate`. The output folder is complete or absent.

    \b
    Examples:
      nezha-pipe finetune my-nezha --contrastive --input reviews.txt --output my-vectors
      nezha-pipe finetune my-nezha --contrastive --pairs tasks/lcqmc/train.tsv --epochs 3 --output my-vectors
      nezha-pipe finetune my-nezha --tasks lcqmc,ocnli,xnli --data data/tasks --output my-shared
    """
    from model.finetuning.contrastive import ContrastiveConfig
    from workflows.evaluation import encoders
    from workflows.finetuning.contrastive import summary, tune
    from workflows.progress import Display

    settings = {name: value for name, value in settings.items() if value is not None}
    if contrastive == (tasks is not None):
        raise UserMistake("say what to tune: either --contrastive or --tasks")
    _refuse(*((OF_CONTRASTIVE, "--contrastive") if tasks is not None else (OF_TASKS, "--tasks")))
    if tasks is not None:
        limits = {"train_examples": train_examples, "test_examples": test_examples}
        _together(model, tasks, data, output, as_json, mixing=mixing, **limits, **settings)
        return
    if bool(inputs) == bool(pairs):
        raise UserMistake("--contrastive learns from --input or from --pairs: give one of them")
    if sentences and pairs:
        raise UserMistake("--sentences splits the texts of --input; pairs are not split")
    if settings["dropout"] == 0 and inputs:
        raise UserMistake("--dropout 0: without labels, dropout is all that tells a text from itself; use 0.1")
    with Display(["finetune"]) as display:
        facts = tune(
            encoders.absolute(model),
            storage.absolute(output),
            ContrastiveConfig(**settings),
            inputs=inputs,
            pairs=[storage.absolute(url) for url in pairs],
            text=text,
            sentences=sentences,
            report=display.report,
        )
    for line in summary(facts):
        echo(line, err=True)
    if as_json:
        echo_json({**facts, "output": output})
    else:
        echo_url(output)


def _refuse(names: Sequence[str], other: str) -> None:
    """Raise UserMistake for an option that was given, and belongs to the other way of tuning."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise UserMistake(f"{parameter.opts[0]} belongs to {other}; leave it out")


def _together(
    model: str, tasks: str, data: str | None, output: str, as_json: bool, *, mixing: Any, seed: int, **settings: Any
) -> None:
    """Fine-tune on several tasks, and print the scores."""
    from workflows.evaluation import encoders
    from workflows.evaluation.config import EvaluationConfig
    from workflows.evaluation.own_tasks import named_tasks
    from workflows.evaluation.scores import table
    from workflows.finetuning.multitask import summaries, tune_together
    from workflows.progress import Display

    names, own, folder = named_tasks(tasks)
    if not (data := data or folder):
        raise UserMistake("--tasks needs --data, the folder with the files of the tasks")
    try:
        given = {name: value for name, value in settings.items() if name not in OF_CONTRASTIVE}
        config = EvaluationConfig(tasks=names, task=own, **given)
    except ValueError as error:
        raise UserMistake(str(error)) from error
    url = storage.absolute(output)
    with Display(["finetune"]) as display:
        facts = tune_together(
            encoders.absolute(model), storage.absolute(data), url, config, mixing=mixing, seed=seed, report=display.report
        )
    echo(table(summaries(facts, storage.base_name(url))), err=True)
    if as_json:
        echo_json({**facts, "output": output})
    else:
        echo_url(output)
