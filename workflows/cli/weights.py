"""The commands that make or convert weights: pretrain, export, convert."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import click

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.redaction import redact
from pipeline.validation import LARGEST_SEED
from workflows.cli.console import echo, echo_json, echo_url
from workflows.cli.errors import UserMistake
from workflows.cli.options import FiniteRange, json_option, output_option, recipe_options
from workflows.converting import FORMATS
from workflows.preparing import URL


@click.command()
@recipe_options
@click.option("--data", required=True, type=URL, help="Output folder of `nezha-pipe prepare` with the same recipe.")
@output_option()
@click.option(
    "--workers",
    default=None,
    metavar="N|MIN:MAX",
    help="Training processes; overrides cluster.workers. 2:8 = as many as there is room for, while machines come and go.",
)
@click.option(
    "--max-hours",
    type=FiniteRange(0, min_open=True),
    default=None,
    metavar="H",
    help="Time after which training stops, with a checkpoint; overrides cluster.max_hours.",
)
@json_option
def pretrain(
    recipe: str,
    settings: Sequence[str],
    data: str,
    output: str,
    workers: str | None,
    max_hours: float | None,
    as_json: bool,
) -> None:
    """Pretrain the encoder of RECIPE on prepared data.

    An interrupted training resumes from its newest checkpoint. SIGTERM stops it with a checkpoint of its step (exit code 143),
    and so does the end of --max-hours (exit code 0). Prints the path of the best checkpoint.

    \b
    Examples:
      nezha-pipe pretrain tiny --data data --output runs/encoder --workers 2
      nezha-pipe pretrain my.toml --data s3://bucket/data --output s3://bucket/run --workers 2:8
    """
    from model.training.stopping import TrainingStopped
    from workflows import recipe as recipes
    from workflows.chain import DataPointer
    from workflows.continued.config import CHAMPION
    from workflows.pretraining import pretrain_run, report_time, train
    from workflows.progress import Display

    loaded = recipes.load(recipe, settings)
    if loaded.training.start_from == CHAMPION:
        raise UserMistake(
            f"start_from = {CHAMPION!r} is for `run`; name it: --set training.start_from=$(nezha-pipe models --champion)"
        )
    given: dict[str, Any] = {"workers": workers, "max_hours": max_hours}
    try:
        cluster = dataclasses.replace(loaded.cluster, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UserMistake(f"--{error}") from error
    pointer = DataPointer.read(data)
    data, output = storage.absolute(data), storage.absolute(output)
    needed = [f"{name}/{phase.sequence_length}" for phase in loaded.phase for name in loaded.uses(phase)]
    if missing := [which for which in needed if which not in pointer.shards]:
        raise RecipeError(f"{data}: no shards of {', '.join(missing)}; run: nezha-pipe prepare {recipe} --output {data}")
    shards = {which: storage.join(data, pointer.shards[which]) for which in needed}
    training = pretrain_run(loaded.pretraining(), shards, storage.join(data, pointer.vocabulary), output)
    with Display(["pretrain"]) as display:
        result = train(loaded.name, training, cluster, display.report)
        report_time(output, display.report)
    facts = dataclasses.asdict(result)
    if as_json:
        echo_json(facts)
    else:
        echo_url(result.best_checkpoint or result.last_checkpoint)
    if result.stopped_by is not None:
        raise TrainingStopped(result.stopped_by, result.step, result.steps)


@click.command()
@click.argument("checkpoint", type=URL, metavar="CHECKPOINT")
@output_option()
@click.option("--name", default="nezha", show_default=True, help="Name of the model in its model card.")
@click.option(
    "--data",
    type=URL,
    help="Output folder of `nezha-pipe prepare`, for the model card's sources; default: the parent of the training folder.",
)
@click.option(
    "--average",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Average the weights of N checkpoints of a training folder instead of taking the best one.",
)
@click.option(
    "--average-of",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="Checkpoints to average: the newest, or those with the lowest validation loss.",
)
@click.option("--onnx", is_flag=True, help="Also write onnx/model.onnx, for any batch size and length, checked against torch.")
@click.option(
    "--onnx-head",
    type=click.Choice(["hidden", "mlm"]),
    default="hidden",
    show_default=True,
    help="Output of the ONNX graph: hidden states and a pooled vector, or MLM scores over the vocabulary at each token.",
)
@click.option("--int8", is_flag=True, help="With --onnx: also write onnx/model_quantized.onnx with 8-bit weights.")
def export(checkpoint: str, output: str, name: str, data: str | None, average: int, **onnx: Any) -> None:
    """Write CHECKPOINT as a folder that Hugging Face transformers loads.

    CHECKPOINT may also be a training folder, whose best checkpoint is taken. If CHECKPOINT is itself an exported folder and
    OUTPUT is the same folder, --onnx adds ONNX graphs to it.

    \b
    Examples:
      nezha-pipe export runs/encoder --output my-nezha
      nezha-pipe export runs/encoder --output my-nezha --average 3
      nezha-pipe export my-nezha --output my-nezha --onnx --int8
    """
    from workflows.exporting import export_onnx

    place, folder = storage.absolute(checkpoint), storage.absolute(output)
    if onnx["int8"] and not onnx["onnx"]:
        raise UserMistake("--int8 needs --onnx")
    if onnx["onnx"]:
        from model.exporting.onnx import need_packages

        need_packages()
    exported_already = place == folder and storage.exists(storage.join(place, "tokenizer_config.json"))
    if not (onnx["onnx"] and exported_already):
        _export_weights(place, folder, name, None if data is None else storage.absolute(data), average, onnx["average_of"])
    if onnx["onnx"]:
        facts = export_onnx(folder, onnx["onnx_head"], onnx["int8"])
        quantised = f", with 8-bit weights {facts['int8_difference']:g}" if onnx["int8"] else ""
        click.echo(f"ONNX: largest difference from torch {facts['difference']:g}{quantised}", err=True)
    echo_url(output)


def _export_weights(place: str, folder: str, name: str, data: str | None, average: int, average_of: Any) -> None:
    """Export the best checkpoint at `place`, or the mean of several."""
    from model.checkpoints.averaging import mean_of
    from workflows.exporting import describe_checkpoint, export_checkpoint, find_checkpoint

    which = mean_of(place, average, average_of) if average > 1 else contextlib.nullcontext(find_checkpoint(place))
    with which as found:
        if average == 1 and found != place:
            echo(redact(describe_checkpoint(found, place)), err=True)
        training_folder = place if average > 1 else None
        export_checkpoint(found, folder, {"name": name}, training_folder=training_folder, data=data)


@click.command()
@click.argument("source", type=URL, metavar="IN")
@click.argument("folder", type=URL, metavar="OUT")
@click.option("--to", type=click.Choice(FORMATS), default="ours", show_default=True, help="Format of OUT; see docs/weights.md.")
@click.option("--config", type=URL, help="Configuration of IN, if it is not next to the weights.")
@click.option("--vocab", type=URL, help="vocab.txt of IN, if it is not next to the weights.")
@click.option(
    "--positions",
    type=click.Choice(["keep", "functional"]),
    default="keep",
    show_default=True,
    help="functional: treat IN as NEZHA even if its configuration does not; BERT's position embeddings are dropped.",
)
@click.option("--hidden-act", type=click.Choice(["gelu", "gelu_tanh"]), help="Activation, if the configuration of IN is wrong.")
@click.option("--extend-vocab", type=URL, help="File of tokens to add, one per line; each starts as the mean of its parts.")
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=12_345,
    show_default=True,
    metavar="N",
    help="Seed for heads that IN lacks, and noise.",
)
@click.option("--name", default="nezha", show_default=True, help="Name of the model in its model card.")
@json_option
def convert(source: str, folder: str, as_json: bool, **settings: Any) -> None:
    """Convert weights between the formats of Huawei, Hugging Face and nezha-pipe.

    Reads NEZHA from Huawei's TensorFlow and PyTorch code and from Hugging Face, BERT, and our own checkpoints. IN is a folder,
    a file of weights, the prefix of a TensorFlow checkpoint, or a training folder; its format is detected from its content.
    Weights that contradict their configuration are refused. Notes on standard error say which weights were left out or
    initialised.

    \b
    Examples:
      nezha-pipe convert NEZHA-Base/model.ckpt-900000 my-nezha
      nezha-pipe convert runs/encoder nezha-hf --to huggingface
      nezha-pipe convert bert-base-chinese start --positions functional --extend-vocab medical.txt
    """
    from workflows.converting import convert as convert_weights

    for place in ("config", "vocab", "extend_vocab"):
        settings[place] = settings[place] and storage.absolute(settings[place])
    facts = convert_weights(storage.absolute(source), storage.absolute(folder), **settings)
    if as_json:
        echo_json(facts)
        return
    size = f"{facts['layers']} layers of {facts['hidden_size']}, {facts['tokens']:,} tokens, {facts['parameters']:,} parameters"
    for line in (f"{facts['from']}: {size}", *facts["notes"]):
        echo(line, err=True)
    echo_url(folder)
