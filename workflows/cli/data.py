"""The commands for data: prepare, inspect, verify."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import click

from pipeline import storage
from workflows.cli.chains import run_steps
from workflows.cli.console import echo, echo_json, echo_url
from workflows.cli.options import json_option, output_option, recheck_option, reuse_option, workers_option
from workflows.preparing import URL, corpus_options, runner_options


@click.command()
@click.argument("recipe", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting of the recipe; repeatable.")
@corpus_options
@output_option()
@click.option(
    "--format",
    "form",
    type=click.Choice(["arrow", "tfrecord"]),
    default="arrow",
    help="tfrecord: also write TFRecord files as BERT reads them.",
)
@runner_options
@workers_option
@recheck_option
@reuse_option
@json_option
def prepare(
    recipe: str | None,
    settings: Sequence[str],
    output: str,
    form: str,
    runner: str,
    runner_settings: Sequence[str],
    workers: int | None,
    recheck: bool,
    reuse: bool,
    as_json: bool,
    **corpus: Any,
) -> None:
    """Turn corpora into shards of masked training examples.

    Writes a report on what was kept and dropped, and prints its path.

    \b
    Examples:
      nezha-pipe prepare --corpus demo --output data
      nezha-pipe prepare --corpus wiki --input zhwiki-latest-pages-articles-multistream.xml.bz2 --output data --workers 8
      nezha-pipe prepare --corpus news --input 'news/*.jsonl.gz' --vocab vocab.txt --output s3://bucket/data --workers 4
      nezha-pipe prepare my.toml --output data --runner ray --runner-option address=head:6379
    """
    from pipeline.sources import inputs
    from workflows.preparing import data_chain, running_on, write_tfrecords
    from workflows.progress import Display

    chain = data_chain(recipe, settings, output, **corpus)
    names = chain.data_names()
    if recheck:
        inputs.forget(chain.root)
    with running_on(runner, runner_settings, chain, workers) as plain:
        execution = replace(plain, reuse=reuse)
        chain.check()
        run_steps(names, execution, partial(chain.run_each, names))
        pointer: dict[str, Any] = asdict(chain.prepare(execution))
        report = chain.run("data_report", execution).file("report.html")
    pointer |= {"output": chain.root, "report": report}
    if form == "tfrecord":
        with Display(["tfrecords"]) as display:
            pointer["tfrecords"] = write_tfrecords(chain, display.report)
    if as_json:
        echo_json(pointer)
    else:
        echo_url(pointer["report"])


@click.command()
@click.argument("url", type=URL)
@click.option("--rows", type=click.IntRange(0), metavar="N", default=3, show_default=True, help="Number of rows to show.")
@click.option("--draw", type=click.IntRange(0), metavar="N", help="Which static mask to show, for shards with several.")
@click.option(
    "--document", metavar="ID", help="Follow the document with this id through all stages; URL is then an output folder."
)
@json_option
def inspect(url: str, rows: int, draw: int | None, document: str | None, as_json: bool) -> None:
    """Show the facts and some rows of the stage or checkpoint at URL.

    With --document, show what became of one document in every stage of an output folder.

    \b
    Examples:
      nezha-pipe inspect runs/tiny/shards_news_64-3f9a0c1b2d4e --rows 5
      nezha-pipe inspect runs/tiny --document 0a4f00c1b2d4e3f9
    """
    from workflows.inspection.inspect import follow, inspect

    found = follow(storage.absolute(url), document) if document is not None else inspect(storage.absolute(url), rows, draw)
    echo(json.dumps(found, ensure_ascii=False) if as_json else found["text"])


@click.command()
@click.argument("url", type=URL)
def verify(url: str) -> None:
    """Check a stage, a checkpoint, or every stage and checkpoint in an output folder.

    Compares checksums, then reads the data again: masks hide whole words, [CLS] and [SEP] are in place, no document is in both
    training and validation, the document that each duplicate was dropped for is kept, counts add up, a training left out no
    sample and used none twice, and more.

    \b
    Example:
      nezha-pipe verify runs/tiny
    """
    from workflows.inspection.inspect import of_other_versions
    from workflows.inspection.inspect import verify as check

    checked, problems = check(storage.absolute(url))
    for problem in problems:
        echo(problem, err=True)
    folders = f"{checked} folder{'' if checked == 1 else 's'}"
    if problems:
        found = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise click.ClickException(f"{found} in {folders}; delete the damaged folders and run again")
    if others := of_other_versions(storage.absolute(url)):
        echo(f"written by another version of this program, so only checksums were compared: {', '.join(others)}", err=True)
    click.echo(f"{folders} checked: all files are complete and consistent")
