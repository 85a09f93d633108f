"""The command `nezha-pipe`: a command parses, calls one function of a room and prints one result.

Heavy packages are imported inside commands, so that help is instant. What a person can mend is one line and exit code 2;
anything else is a bug of ours and keeps its traceback.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from pipeline import storage
from pipeline.errors import RecipeError, UserError
from workflows.converting import FORMS
from workflows.preparing import STOPPED, STOPPED_CODE, corpus_options, runner_options

Command = TypeVar("Command", bound=Callable[..., Any])


class UserMistake(click.ClickException):
    """One line on standard error, exit code 2."""

    exit_code = 2


class Stopped(click.ClickException):
    """Ctrl-C."""

    exit_code = STOPPED_CODE

    def __init__(self) -> None:
        super().__init__(STOPPED)

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class Commands(click.Group):
    """Turns errors that a person can mend, and Ctrl-C, into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise UserMistake(" ".join(str(error).split())) from error
        except KeyboardInterrupt as error:
            raise Stopped() from error
        except EOFError as error:  # click would say "Aborted!" and hide a bug
            raise RuntimeError("end of file where none was expected") from error


def recipe_options(command: Command) -> Command:
    """RECIPE and --set, for commands that read a recipe."""
    setting = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a setting: encoder.hidden_size=256 or phase.0.steps=50.",
    )
    return click.argument("recipe", default="tiny")(setting(command))


def output_option(default: str | None = None, **more: Any) -> Callable[[Command], Command]:
    """--output, the folder that results go to."""
    text = "Folder for results: a path or any fsspec URL (s3://bucket/run)."
    return click.option("--output", default=default, metavar="URL", help=text, required=default is None, **more)


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")
workers_option = click.option(
    "--workers", type=click.IntRange(1), default=None, metavar="N", help="Processes to share the work."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nezha-pipe")
def main() -> None:
    """Raw Chinese corpora in, a pretrained, exported and evaluated NEZHA encoder out.

    \b
    Example:
      nezha-pipe run tiny
    """


@main.command()
@recipe_options
@click.option("--output", default=None, metavar="URL", help="Folder for results; default runs/<name of the recipe>.")
@workers_option
@json_option
def run(recipe: str, settings: Sequence[str], output: str | None, workers: int | None, as_json: bool) -> None:
    """Run the whole chain of RECIPE; what is done is not done again.

    RECIPE is a TOML file or the name of a shipped recipe. The path of the report is printed last.

    \b
    Examples:
      nezha-pipe run tiny
      nezha-pipe run my.toml --output s3://bucket/run --workers 8
      nezha-pipe run tiny --set phase.0.steps=50
    """
    from workflows.assets import execute

    chain = _chain(recipe, settings, output, workers)
    chain.check()
    fresh = _run_steps(chain, list(chain.steps()), execute)
    page = chain.report_page().file("report.html")
    if not fresh:
        click.echo("Nothing to do: every step of the recipe is done.", err=True)
    result = {"report": page, "output": chain.root, "ran": fresh}
    click.echo(json.dumps(result, ensure_ascii=False) if as_json else page)


@main.command()
@recipe_options
@click.option("--output", default=None, metavar="URL", help="Folder to look at; default runs/<name of the recipe>.")
@click.option("--gpus", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="GPUs to train on.")
@click.option(
    "--gpu",
    type=click.Choice(["v100", "a100-40g", "a100-80g", "h100", "h200", "b200", "4090"]),
    default="h100",
    show_default=True,
    help="Their kind: its peak, and the share of it that is assumed to be reached.",
)
@click.option("--mfu", type=click.FloatRange(0, 1, min_open=True), metavar="SHARE", help="Another share of the peak: 0.3.")
@json_option
def plan(
    recipe: str, settings: Sequence[str], output: str | None, gpus: int, gpu: str, mfu: float | None, as_json: bool
) -> None:
    """Show what `run RECIPE` would do, how large it is, and what it takes: hours, memory, disk.

    Hours are computed from the arithmetic of full sequences, not measured.

    \b
    Examples:
      nezha-pipe plan tiny --set encoder.num_hidden_layers=4
      nezha-pipe plan nezha-base-2019 --gpus 8 --gpu a100-80g
    """
    from workflows.planning import corpus_tokens, costs, lines, vocabulary_size

    chain = _chain(recipe, settings, output, None)
    steps = chain.plan()
    known = {"vocabulary_size": vocabulary_size(chain), "corpus_tokens": corpus_tokens(chain)}
    cost = costs(chain.recipe, gpus=gpus, gpu=gpu, mfu=mfu, **known)
    if as_json:
        click.echo(json.dumps({"steps": steps, "costs": cost}, ensure_ascii=False))
        return
    for name, state in steps.items():
        click.echo(f"{name:<24} {state if state == 'to do' else 'done   ' + state}")
    if missing := chain.recipe.missing():
        click.echo(f"{'before a run':<24} {missing}")
    for name, figure in lines(cost):
        click.echo(f"{name:<24} {figure}")


@main.command()
@click.argument("recipe", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe.")
@corpus_options
@output_option()
@click.option(
    "--format",
    "form",
    type=click.Choice(["arrow", "tfrecord"]),
    default="arrow",
    help="tfrecord: BERT's files too, beside the shards.",
)
@runner_options
@workers_option
@json_option
def prepare(
    recipe: str | None,
    settings: Sequence[str],
    output: str,
    form: str,
    runner: str,
    runner_settings: Sequence[str],
    workers: int | None,
    as_json: bool,
    **corpus: Any,
) -> None:
    """Turn corpora into masked training shards, with a report on what was kept and dropped.

    \b
    Examples:
      nezha-pipe prepare --corpus demo --output data
      nezha-pipe prepare --corpus wiki --input zhwiki-latest-pages-articles-multistream.xml.bz2 --output data --workers 8
      nezha-pipe prepare --corpus news --input 'news/*.jsonl.gz' --vocab vocab.txt --output s3://bucket/data --workers 4
      nezha-pipe prepare my.toml --output data --runner ray --runner-option address=head:6379
    """
    from workflows.preparing import data_chain, running_on, wake_workers, write_tfrecords

    chain = data_chain(recipe, settings, output, workers, **corpus)
    steps = chain.data_steps()
    with running_on(runner, runner_settings, chain):
        chain.check()
        wake_workers(runner, chain)
        _run_steps(chain, steps, lambda chain, tell: _call_steps(chain, steps, tell))
        pointer = {**chain.prepare(), "output": chain.root, "report": chain.data_report().file("report.html")}
    if form == "tfrecord":
        pointer["tfrecords"] = write_tfrecords(chain)
    click.echo(json.dumps(pointer, ensure_ascii=False) if as_json else pointer["report"])


@main.command()
@recipe_options
@click.option("--data", required=True, metavar="URL", help="Output folder of `nezha-pipe prepare` with the same recipe.")
@output_option()
@click.option("--workers", type=click.IntRange(1), default=None, metavar="N", help="Processes to train with, over [cluster].")
@json_option
def pretrain(recipe: str, settings: Sequence[str], data: str, output: str, workers: int | None, as_json: bool) -> None:
    """Pretrain the encoder of RECIPE; run again, it goes on where it was.

    \b
    Example:
      nezha-pipe pretrain tiny --data data --output runs/encoder --workers 2
    """
    from cluster.launch import pretrain as launch
    from workflows import recipe as recipes
    from workflows.chain import DATA_POINTER, pretrain_run
    from workflows.progress import Display

    loaded = recipes.load(recipe, settings)
    pointer = storage.read_json(storage.join(data, DATA_POINTER))
    data, output = storage.absolute(data), storage.absolute(output)
    wanted = [f"{name}/{phase.sequence_length}" for phase in loaded.phase for name in loaded.uses(phase)]
    if missing := [which for which in wanted if which not in pointer["shards"]]:
        raise RecipeError(f"{data}: no shards of {', '.join(missing)}; run: nezha-pipe prepare {recipe} --output {data}")
    shards = {which: storage.join(data, pointer["shards"][which]) for which in wanted}
    training = pretrain_run(loaded, shards, storage.join(data, pointer["vocabulary"]), output)
    cluster = loaded.cluster if workers is None else dataclasses.replace(loaded.cluster, workers=workers)
    with Display(["pretrain"]) as display:
        result = launch(training, cluster, display.report)
    facts = dataclasses.asdict(result)
    click.echo(json.dumps(facts) if as_json else result.best_checkpoint or result.last_checkpoint)


@main.command()
@click.argument("checkpoint")
@output_option()
@click.option("--name", default="nezha", help="What the model card calls the model.")
@click.option(
    "--data",
    metavar="URL",
    help="Output folder of `nezha-pipe prepare`: the card tells sources and licences. Default: looked for beside the training.",
)
@click.option(
    "--average",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Of a training folder: the mean of the weights of N checkpoints, instead of the best one.",
)
@click.option(
    "--average-of",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="With --average: the newest checkpoints, or those with the least validation loss.",
)
@click.option("--onnx", is_flag=True, help="Add onnx/model.onnx: any batch and length, checked against torch.")
@click.option(
    "--onnx-head",
    type=click.Choice(["hidden", "words"]),
    default="hidden",
    show_default=True,
    help="What the graph gives: hidden states and a pooled vector, or scores of the vocabulary at each token.",
)
@click.option("--int8", is_flag=True, help="With --onnx: onnx/model_quantized.onnx too, with weights of 8 bits.")
def export(checkpoint: str, output: str, name: str, data: str | None, average: int, **more: Any) -> None:
    """Write CHECKPOINT (or the best one of a training folder) as a folder that transformers loads.

    Where CHECKPOINT is such a folder itself, and OUTPUT the same, --onnx adds graphs to it.

    \b
    Examples:
      nezha-pipe export runs/encoder --output my-nezha
      nezha-pipe export runs/encoder --output my-nezha --average 3
      nezha-pipe export my-nezha --output my-nezha --onnx --int8
    """
    import contextlib

    from model.training.averaging import mean_of
    from workflows.exporting import export_checkpoint, export_onnx, find_checkpoint, told_of

    place, folder = storage.absolute(checkpoint), storage.absolute(output)
    if more["int8"] and not more["onnx"]:
        raise UserMistake("--int8: with --onnx only")
    if more["onnx"]:
        from model.exporting.onnx import need_packages

        need_packages()
    if not (more["onnx"] and place == folder and storage.exists(storage.join(place, "tokenizer_config.json"))):
        which = mean_of(place, average, more["average_of"]) if average > 1 else contextlib.nullcontext(find_checkpoint(place))
        with which as found:
            if average == 1 and found != place:
                click.echo(told_of(found, place), err=True)
            export_checkpoint(
                found,
                folder,
                {"name": name},
                training_folder=place if average > 1 else None,
                data=None if data is None else storage.absolute(data),
            )
    if more["onnx"]:
        facts = export_onnx(folder, more["onnx_head"], more["int8"])
        told = f", with 8 bits {facts['int8_difference']:g}" if more["int8"] else ""
        click.echo(f"ONNX: largest difference from torch {facts['difference']:g}{told}", err=True)
    click.echo(output)


@main.command()
@click.argument("source", metavar="IN")
@click.argument("folder", metavar="OUT")
@click.option("--to", type=click.Choice(FORMS), default="ours", show_default=True, help="What OUT is for: see docs/weights.md.")
@click.option("--config", metavar="URL", help="Configuration of IN, where it does not lie beside the weights.")
@click.option("--vocab", metavar="URL", help="vocab.txt of IN, where it does not lie beside the weights.")
@click.option(
    "--positions",
    type=click.Choice(["keep", "functional"]),
    default="keep",
    show_default=True,
    help="functional: take IN for NEZHA though it does not say so; BERT's position embeddings are dropped.",
)
@click.option("--hidden-act", type=click.Choice(["gelu", "gelu_tanh"]), help="The activation, if IN tells it wrongly.")
@click.option("--extend-vocab", metavar="URL", help="New tokens, one a line; each begins as the mean of its old tokens.")
@click.option("--seed", type=int, default=12_345, show_default=True, help="For what is made: heads that IN lacks, noise.")
@click.option("--name", default="nezha", show_default=True, help="What the model card of ours calls the model.")
@json_option
def convert(source: str, folder: str, as_json: bool, **settings: Any) -> None:
    """Convert the weights IN to the folder OUT: Huawei's TensorFlow and PyTorch, Hugging Face's NEZHA, BERT, ours.

    IN is a folder, a file of weights, the prefix of a TensorFlow checkpoint, or a training folder of ours. Its content tells
    what it is; weights that are not what their configuration says are refused. What was left out, made or decided is told.

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
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    size = f"{facts['layers']} layers of {facts['hidden_size']}, {facts['tokens']:,} tokens, {facts['parameters']:,} parameters"
    for line in (f"{facts['from']}: {size}", *facts["notes"]):
        click.echo(line, err=True)
    click.echo(folder)


@main.command()
@click.argument("model")
@click.option("--data", required=True, metavar="URL", help="Folder of the tasks' files.")
@click.option("--tasks", default="sentiment,entities", metavar="A,B", help="Tasks to score: see docs/evaluation.md.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each task.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="Passes over the training examples.")
@click.option("--learning-rate", type=float, default=3e-5, show_default=True, help="Highest learning rate.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Examples a step.")
@click.option("--max-length", type=click.IntRange(4), default=128, show_default=True, help="Most tokens read at once.")
@click.option("--train-examples", type=click.IntRange(0), default=0, help="Most examples to fine-tune on; 0 = all.")
@click.option("--test-examples", type=click.IntRange(0), default=0, help="Most examples to score on; 0 = all.")
@click.option("--baseline/--no-baseline", default=True, help="Score the same network without pretraining beside it.")
@output_option("scores")
@workers_option
@json_option
def evaluate(model: str, data: str, tasks: str, output: str, workers: int | None, as_json: bool, **settings: Any) -> None:
    """Fine-tune MODEL (an export) on tasks and score it.

    \b
    Example:
      nezha-pipe evaluate my-nezha --tasks sentiment,entities --data data/tasks-5d0c --seeds 3
    """
    from workflows.evaluation.run import EvaluationConfig
    from workflows.evaluation.run import evaluate as score
    from workflows.evaluation.scores import summary, table
    from workflows.progress import Display

    try:
        config = EvaluationConfig(tasks=tuple(name.strip() for name in tasks.split(",")), **settings)
    except ValueError as error:
        raise UserMistake(str(error)) from error
    with Display(["evaluate"]) as display:
        scores = score(
            storage.absolute(model),
            storage.absolute(data),
            config,
            storage.absolute(output),
            workers=workers or 1,
            report=display.report,
        )
    click.echo("\n".join(one.to_json() for one in scores) if as_json else table(summary(scores)))


@main.command()
@recipe_options
@click.option(
    "--variant",
    "told",
    multiple=True,
    required=True,
    metavar="NAME:SETTING=VALUE",
    help="The recipe with settings changed, several with commas between; may be repeated.",
)
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Runs of each task and variant; default as in the recipe.")
@output_option()
@workers_option
@json_option
def ablate(
    recipe: str,
    settings: Sequence[str],
    told: Sequence[str],
    seeds: int | None,
    output: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Compare RECIPE with variants of it: each goes through the whole chain, then one table tells what a choice brings.

    What variants have in common is made once; stopped and started again, it goes on. The row `none` is the network of RECIPE
    fine-tuned without pretraining. Beside the table, results.json, results.md and results.html lie in OUTPUT.

    \b
    Example:
      nezha-pipe ablate small --set source.0.input=news.jsonl.xz --set evaluation.data=tasks --output runs/ablation \\
        --variant absolute:encoder.positions=absolute --variant token:masking.policy=token
    """
    from workflows import ablation
    from workflows.report import comparison

    def steps(chain: Any, variant: ablation.Variant) -> None:
        click.echo(f"{variant.name}: {', '.join(variant.settings) or 'the recipe as it is'}", err=True)
        names = list(chain.steps())
        _run_steps(chain, names, lambda chain, tell: _call_steps(chain, names, tell))

    variants = ablation.variants(recipe, settings, told, seeds)
    found = ablation.results(ablation.run(variants, output, workers, steps))
    page = comparison.write(found, storage.absolute(output))
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else f"{comparison.table(found)}\n\n{page}")


@main.command("fill-mask")
@click.argument("model")
@click.argument("text")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Guesses for each word.")
@json_option
def fill_mask(model: str, text: str, top: int, as_json: bool) -> None:
    """Guess what stands at each [MASK] of TEXT; several in a row are one word.

    TEXT - reads texts from standard input, one a line.

    \b
    Examples:
      nezha-pipe fill-mask my-nezha '中国的首都是[MASK]京。'
      nezha-pipe fill-mask my-nezha '他在[MASK][MASK]大学读书。' --top 3
      nezha-pipe fill-mask my-nezha - --json < texts.txt
    """
    from workflows.inference.fill_mask import fill

    texts = [line.strip() for line in click.open_file("-", encoding="utf-8") if line.strip()] if text == "-" else [text]
    for number, found in enumerate(fill(storage.absolute(model), texts, top)):
        if as_json:
            click.echo(json.dumps({"text": texts[number], "words": found}, ensure_ascii=False))
            continue
        if len(texts) > 1:
            click.echo(texts[number])
        for place, guesses in enumerate(found, start=1):
            masks = "[MASK]" * len(guesses[0]["tokens"])
            click.echo(f"{masks} {place}: " + "  ".join(f"{guess['text']} {guess['probability']:.3f}" for guess in guesses))


@main.command()
@click.argument("model")
@click.option("--input", "inputs", multiple=True, required=True, metavar="URL", help="Parquet, JSON lines, or a text a line.")
@click.option("--output", required=True, metavar="URL", help="The Parquet file to write.")
@click.option("--text", default="text", show_default=True, metavar="NAME", help="Column or field of the text.")
@click.option("--id", metavar="NAME", help="Column or field that is kept beside the vector. Default: texts are numbered.")
@click.option(
    "--pooling", type=click.Choice(["mean", "cls"]), default="mean", show_default=True, help="Of all tokens, or [CLS]."
)
@click.option(
    "--normalise/--no-normalise", default=True, help="Vectors of length 1, for cosines (the default), or as they are."
)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Type to compute in.")
@click.option("--max-length", type=click.IntRange(3), default=512, show_default=True, help="Most tokens read of a text.")
@click.option("--batch-tokens", type=click.IntRange(1), default=8_192, show_default=True, help="Most tokens in a batch.")
@json_option
def embed(model: str, inputs: Sequence[str], output: str, as_json: bool, **settings: Any) -> None:
    """Write a vector of each text of some files, in their order, to a Parquet file.

    \b
    Examples:
      nezha-pipe embed my-nezha --input reviews.txt --output vectors.parquet
      nezha-pipe embed my-nezha --input 's3://bucket/news/*.jsonl.gz' --text content --id news_id --output s3://bucket/v.parquet
    """
    from workflows.inference.embedding import EmbedConfig
    from workflows.inference.embedding import embed as write
    from workflows.progress import Display

    with Display(["embed"]) as display:
        facts = write(storage.absolute(model), inputs, storage.absolute(output), EmbedConfig(**settings), display.report)
    cut = f", {facts['cut']:,} cut at {settings['max_length']} tokens" if facts["cut"] else ""
    click.echo(f"{facts['texts']:,} vectors of {facts['width']:,} numbers{cut}", err=True)
    click.echo(json.dumps({**facts, "output": output}, ensure_ascii=False) if as_json else output)


@main.command("inspect")
@click.argument("url")
@click.option("--rows", type=click.IntRange(0), default=3, show_default=True, help="Rows to show.")
@click.option("--draw", type=click.IntRange(0), metavar="N", help="Of shards with several static masks: the one to show.")
@click.option("--document", metavar="ID", help="Of an output folder: tell where the document with this id went.")
@json_option
def inspect_command(url: str, rows: int, draw: int | None, document: str | None, as_json: bool) -> None:
    """Look into a folder of documents, shards, a checkpoint or any other stage, or follow a document through all of them.

    \b
    Examples:
      nezha-pipe inspect runs/tiny/shards_news_64-3f9a0c1b2d4e --rows 5
      nezha-pipe inspect runs/tiny --document 0a4f00c1b2d4e3f9
    """
    from workflows.inspection.inspect import follow, inspect

    found = follow(storage.absolute(url), document) if document is not None else inspect(storage.absolute(url), rows, draw)
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else found["text"])


@main.command()
@click.argument("url")
def verify(url: str) -> None:
    """Check a stage, a checkpoint, or all below an output folder: checksums, and what every row must hold to.

    Rows of shards, documents and tokens, decisions and vocabularies are read again: masks hide whole words, [CLS] and [SEP] are
    at their places, no document is in training and validation, copies are dropped for documents that stay, counts add up...

    \b
    Example:
      nezha-pipe verify runs/tiny
    """
    from workflows.inspection.inspect import verify as check

    checked, problems = check(storage.absolute(url))
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise click.ClickException(f"{len(problems)} problems in {checked} folders; remove the damaged ones and run again")
    click.echo(f"{checked} folders: every file is there, as it was written, and holds what it must")


def _chain(recipe: str, settings: Sequence[str], output: str | None, workers: int | None) -> Any:
    from workflows import recipe as recipes
    from workflows.chain import Chain

    loaded = recipes.load(recipe, settings)
    return Chain(loaded, output or f"runs/{loaded.name}", workers=workers or loaded.cluster.workers)


def _run_steps(chain: Any, steps: list[str], execute: Callable[..., None]) -> list[str]:
    """Run steps behind a display; names of those that were not done before."""
    from workflows.progress import Display

    fresh = []
    with Display(steps) as display:
        chain.report = display.report

        def tell(name: str, done: Any, seconds: float) -> None:
            display.tell(name, done, seconds)
            if done.fresh:
                fresh.append(name)

        execute(chain, tell)
    return fresh


def _call_steps(chain: Any, names: list[str], tell: Callable[..., None]) -> None:
    """Run some steps without Dagster."""
    import time

    steps = chain.steps()
    for name in names:
        started = time.monotonic()
        done = steps[name]()
        tell(name, done, time.monotonic() - started)
