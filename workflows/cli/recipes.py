"""The commands that take a whole recipe: run, plan, ablate."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import click

from pipeline import storage
from pipeline.redaction import redact
from workflows.cli.chains import build_chain, local_workers, run_steps
from workflows.cli.console import echo, echo_json, echo_url
from workflows.cli.errors import UserMistake
from workflows.cli.options import (
    FiniteRange,
    json_option,
    output_option,
    recheck_option,
    recipe_options,
    reuse_option,
    workers_option,
)
from workflows.preparing import URL


@click.command()
@recipe_options
@click.option("--output", default=None, type=URL, help="Folder for the results; default: runs/<name of the recipe>.")
@workers_option
@click.option("--from", "start", type=URL, help="Start from these weights: short for --set training.start_from=URL.")
@click.option(
    "--from-champion", is_flag=True, help="Start from the champion of the registry, with a share of the text it was trained on."
)
@recheck_option
@reuse_option
@click.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    help="Language of the report and the model card: English or Chinese; default: as in the recipe.",
)
@json_option
def run(
    recipe: str,
    settings: Sequence[str],
    output: str | None,
    workers: int | None,
    start: str | None,
    from_champion: bool,
    recheck: bool,
    reuse: bool,
    language: str | None,
    as_json: bool,
) -> None:
    """Run all steps of RECIPE, from raw text to the report.

    RECIPE is a TOML file or the name of a recipe that comes with the program. Finished steps are skipped, so an interrupted run
    resumes. Prints the path of the report. The run is in the history that `nezha-pipe ui` shows: in the folder .dagster of the
    output, or where NEZHA_PIPE_HISTORY says.

    With --from-champion or --from, training starts from a network instead of fresh weights. If its old text is known, a share
    of it is trained on again, and the run ends if too much of it is forgotten (tables [replay] and [checks]).

    \b
    Examples:
      nezha-pipe run tiny
      nezha-pipe run 2026q2.toml --from-champion
      nezha-pipe run my.toml --output s3://bucket/run --workers 8
      nezha-pipe run tiny --set phase.0.steps=50
      nezha-pipe run tiny --language zh
    """
    from pipeline.engine.execution import Execution
    from pipeline.sources import inputs
    from workflows.assets import TRIGGER, execute
    from workflows.continued.config import CHAMPION
    from workflows.notifications.config import NotifyConfig
    from workflows.notifications.sending import failures_told
    from workflows.orchestration.history import History

    if start and from_champion:
        raise UserMistake("give --from or --from-champion, not both")
    if start or from_champion:
        settings = [*settings, f"training.start_from={start or CHAMPION}"]
    if language:
        settings = [*settings, f"report.language={language}"]
    chain = build_chain(recipe, settings, output, checked=True)
    if recheck:
        inputs.forget(chain.root)
    execution = Execution(workers or local_workers(chain.recipe), reuse=reuse)
    told = NotifyConfig() if os.environ.get(TRIGGER) else chain.recipe.notify  # a schedule tells when it gives up
    with failures_told(told, chain.recipe.name, chain.root):
        chain.check()
        fresh = run_steps(chain.names(), execution, partial(execute, chain, history=History.of(chain.root)))
        page = chain.run("report", execution).file("report.html")
    if not fresh:
        click.echo("Nothing to do: every step of the recipe is finished.", err=True)
    result = {"report": page, "output": chain.root, "ran": fresh}
    if as_json:
        echo_json(result)
    else:
        echo_url(page)


@click.command()
@recipe_options
@click.option("--output", default=None, type=URL, help="Folder of the run; default: runs/<name of the recipe>.")
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
    type=FiniteRange(0, 1, min_open=True),
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
        echo_json({"steps": steps, "costs": cost})
        return
    for name, state in steps.items():
        echo(f"{name:<24} {state if state == 'to do' else 'done   ' + redact(state)}")
    if missing := chain.recipe.missing():
        echo(f"{'before a run':<24} {missing}")
    for name, figure in lines(cost):
        click.echo(f"{name:<24} {figure}")


@click.command()
@recipe_options
@click.option(
    "--variant",
    "requested",
    multiple=True,
    metavar="NAME:SETTING=VALUE",
    help="A variant: its name and the settings it overrides, separated by commas; repeatable.",
)
@click.option(
    "--over",
    multiple=True,
    metavar="SETTING=A,B",
    help="A setting and its values; repeatable: each value of one with each of the others is a cell.",
)
@click.option(
    "--pretrain-seeds",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="Pretrainings per variant or cell, on the same data. With one, nothing says how much another would differ.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1),
    metavar="N",
    help="Pretrainings at a time.  [default: as many as cores and memory allow; on a cluster 1]",
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
    over: Sequence[str],
    pretrain_seeds: int,
    at_once: int | None,
    seeds: int | None,
    output: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Train and score RECIPE and variants of it, and compare them in one table.

    Steps that variants have in common run once, and an interrupted ablation resumes. The row `none` is the network of RECIPE
    fine-tuned without pretraining. Also writes results.json, results.md and results.html to OUTPUT.

    \b
    Examples:
      nezha-pipe ablate small --set source.0.input=news.jsonl.xz --set evaluation.data=tasks --output runs/ablation \\
        --variant absolute:encoder.positions=absolute --variant token:masking.policy=token
      nezha-pipe ablate tiny --output runs/grid --pretrain-seeds 3 \\
        --over encoder.positions=functional,relative,absolute --over masking.policy=word,token
    """
    from pipeline.engine.execution import Execution, Report
    from workflows.ablation.results import results
    from workflows.ablation.running import own_names, run, shared_names
    from workflows.ablation.variants import Cell, variants
    from workflows.progress import Display
    from workflows.report import comparison

    if not requested and not over:
        raise UserMistake("nothing to compare: give --variant or --over")

    def steps(names: list[str], cell: Cell, chain: Any) -> None:
        echo(redact(f"{cell.name}: {', '.join(cell.variant.settings) or 'the recipe as it is'}"), err=True)
        execution = Execution(workers or local_workers(cell.variant.recipe))
        run_steps(names, execution, partial(chain.run_each, names))

    @contextlib.contextmanager
    def several() -> Iterator[Report]:
        with Display(["ablate"]) as display:
            yield display.report

    cells = [
        Cell(variant, number, storage.absolute(output))
        for variant in variants(recipe, settings, requested, seeds, over)
        for number in range(pretrain_seeds)
    ]
    finished = run(
        cells,
        at_once,
        shared=lambda cell, chain: steps(shared_names(chain), cell, chain),
        alone=lambda cell, chain: steps(own_names(chain), cell, chain),
        several=several,
    )
    found = results(finished)
    page = comparison.write(found, storage.absolute(output))
    if as_json:
        echo_json(found)
    else:
        echo(f"{comparison.table(found)}\n\n{redact(page)}")
