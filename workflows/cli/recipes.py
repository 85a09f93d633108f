"""The commands that take a whole recipe: run, plan, ablate."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from pipeline import storage
from workflows.cli.chains import build_chain, call_steps, run_steps
from workflows.cli.options import json_option, output_option, recipe_options, workers_option


@click.command()
@recipe_options
@click.option("--output", default=None, metavar="URL", help="Folder for the results; default: runs/<name of the recipe>.")
@workers_option
@json_option
def run(recipe: str, settings: Sequence[str], output: str | None, workers: int | None, as_json: bool) -> None:
    """Run all steps of RECIPE, from raw text to the report.

    RECIPE is a TOML file or the name of a recipe that comes with the program. Finished steps are skipped, so an interrupted run
    resumes. Prints the path of the report.

    \b
    Examples:
      nezha-pipe run tiny
      nezha-pipe run my.toml --output s3://bucket/run --workers 8
      nezha-pipe run tiny --set phase.0.steps=50
    """
    from pipeline.engine.execution import Execution
    from workflows.assets import execute

    chain = build_chain(recipe, settings, output)
    chain.check()
    execution = Execution(workers or chain.recipe.cluster.workers)
    fresh = run_steps(chain.names(), execution, partial(execute, chain))
    page = chain.run("report", execution).file("report.html")
    if not fresh:
        click.echo("Nothing to do: every step of the recipe is finished.", err=True)
    result = {"report": page, "output": chain.root, "ran": fresh}
    click.echo(json.dumps(result, ensure_ascii=False) if as_json else page)


@click.command()
@recipe_options
@click.option("--output", default=None, metavar="URL", help="Folder of the run; default: runs/<name of the recipe>.")
@click.option("--gpus", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Number of GPUs to train on.")
@click.option(
    "--gpu",
    type=click.Choice(["v100", "a100-40g", "a100-80g", "h100", "h200", "b200", "4090"]),
    default="h100",
    show_default=True,
    help="GPU model; sets the peak throughput and the assumed utilisation (MFU).",
)
@click.option(
    "--mfu",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="RATIO",
    help="Model FLOPs utilisation to assume instead, e.g. 0.3.",
)
@json_option
def plan(
    recipe: str, settings: Sequence[str], output: str | None, gpus: int, gpu: str, mfu: float | None, as_json: bool
) -> None:
    """Show which steps RECIPE still has to run, and estimate hours, memory and disk.

    Hours are computed from the FLOPs of full sequences, not measured.

    \b
    Examples:
      nezha-pipe plan tiny --set encoder.num_hidden_layers=4
      nezha-pipe plan nezha-base-2019 --gpus 8 --gpu a100-80g
    """
    from workflows.planning import corpus_tokens, costs, lines, vocabulary_size

    chain = build_chain(recipe, settings, output)
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


@click.command()
@recipe_options
@click.option(
    "--variant",
    "requested",
    multiple=True,
    required=True,
    metavar="NAME:SETTING=VALUE",
    help="A variant: its name and the settings it overrides, separated by commas; repeatable.",
)
@click.option(
    "--seeds", type=click.IntRange(1), metavar="N", help="Fine-tuning runs per task and variant; default: as in the recipe."
)
@output_option()
@workers_option
@json_option
def ablate(
    recipe: str,
    settings: Sequence[str],
    requested: Sequence[str],
    seeds: int | None,
    output: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Train and score RECIPE and variants of it, and compare them in one table.

    Steps that variants have in common run once, and an interrupted ablation resumes. The row `none` is the network of RECIPE
    fine-tuned without pretraining. Also writes results.json, results.md and results.html to OUTPUT.

    \b
    Example:
      nezha-pipe ablate small --set source.0.input=news.jsonl.xz --set evaluation.data=tasks --output runs/ablation \\
        --variant absolute:encoder.positions=absolute --variant token:masking.policy=token
    """
    from pipeline.engine.execution import Execution
    from workflows import ablation
    from workflows.report import comparison

    def steps(chain: Any, variant: ablation.Variant) -> None:
        click.echo(f"{variant.name}: {', '.join(variant.settings) or 'the recipe as it is'}", err=True)
        names = chain.names()
        execution = Execution(workers or variant.recipe.cluster.workers)
        run_steps(names, execution, partial(call_steps, chain, names))

    variants = ablation.variants(recipe, settings, requested, seeds)
    found = ablation.results(ablation.run(variants, output, steps))
    page = comparison.write(found, storage.absolute(output))
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else f"{comparison.table(found)}\n\n{page}")
