"""The commands for jobs of a Ray cluster: submit, jobs, status, logs, stop."""

import datetime
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pipeline import storage
from pipeline.errors import StoppedEarly, UserError
from pipeline.redaction import redact
from workflows.cli.console import echo, echo_json
from workflows.cli.errors import UserMistake
from workflows.cli.options import json_option, output_option
from workflows.stopping import STOPPED_CODE

if TYPE_CHECKING:
    from cluster.jobs.connection import Connection, Job
    from cluster.jobs.submission import Submission

address_option = click.option(
    "--address",
    envvar="RAY_API_SERVER_ADDRESS",
    metavar="URL",
    help="Address of the cluster's dashboard, such as http://10.0.0.1:8265; default: the variable RAY_API_SERVER_ADDRESS.",
)


class JobGoesOn(StoppedEarly):
    """Ctrl-C while a job was followed."""

    exit_code = STOPPED_CODE


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("recipe")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[pretrain|prepare|evaluate|run] [OPTION]...")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting of the recipe; repeatable.")
@output_option()
@address_option
@click.option("--no-wait", is_flag=True, help="Return when the job is submitted, with its id.")
@click.option("--supervise", is_flag=True, help="Submit the next attempt from here when the job died: it, its machine, or Ray.")
@click.option("--dry-run", is_flag=True, help="List the package and the command, and submit nothing.")
def submit(
    recipe: str,
    command: Sequence[str],
    settings: Sequence[str],
    output: str,
    address: str | None,
    no_wait: bool,
    supervise: bool,
    dry_run: bool,
) -> None:
    """Run a command on a Ray cluster, as a job: run, or the one given, with its own options.

    The job gets this program and RECIPE (for evaluate: the folder of the model), no data: all places are URLs, or paths that
    the machines of the cluster share. Its progress is shown here, and the exit code is the job's. Ctrl-C leaves it running. If
    the same job runs already, it is followed. Ray's token is read from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.

    \b
    Examples:
      nezha-pipe submit my.toml --address http://10.0.0.1:8265 --output s3://bucket/data prepare --workers 64
      nezha-pipe submit my.toml --address http://10.0.0.1:8265 --output s3://bucket/run pretrain --data s3://bucket/data
      nezha-pipe submit tiny --address http://10.0.0.1:8265 --output /shared/run --no-wait
    """
    if no_wait and supervise:
        raise UserMistake("--no-wait and --supervise exclude one another: supervising is waiting")
    from workflows.cli.jobs.submitting import work

    todo = work(recipe, command, settings, output)
    if dry_run:
        _list_package(todo.submission)
        return
    connection = _connection(address)
    if todo.places and not connection.is_here:
        echo(redact(f"every machine of the cluster must see {', '.join(todo.places)}"), err=True)
    from cluster.jobs.submission import submit as start
    from cluster.jobs.supervising import supervise as watch

    if supervise:
        goes_on = " (nobody submits its next attempt now)"

        def follow_attempt(job_id: str, fresh: bool) -> "Job":
            return _follow(connection, job_id, fresh, goes_on)

        _end(watch(connection, todo.submission, todo.cluster, follow_attempt, lambda text: echo(text, err=True)))
    job_id, fresh = start(connection, todo.submission)
    if no_wait:
        echo(job_id)
        if not fresh:
            echo("it runs already", err=True)
        return
    _end(_follow(connection, job_id, fresh))


def _list_package(submission: "Submission") -> None:
    """Print what would be submitted."""
    package = submission.package()
    for name, content in package.files.items():
        echo(f"{len(content):>9,}  {name}")
    echo(f"{sum(map(len, package.files.values())):>9,}  in {len(package.files)} files, {len(package.zipped()):,} as a package")
    echo(f"job {submission.id}: nezha-pipe {' '.join(map(redact, submission.arguments))}")


def _connection(address: str | None) -> "Connection":
    from cluster.jobs.connection import WAY_ON, Connection

    if not address:
        raise UserMistake(f"--address: {WAY_ON}")
    return Connection(address)


def _follow(connection: "Connection", job_id: str, fresh: bool, goes_on: str = "") -> "Job":
    """Show a job until its end.

    Raises: JobGoesOn on Ctrl-C.
    """
    from cluster.jobs.following import follow
    from workflows.cli.jobs.following import JobDisplay

    at = f"--address {redact(connection.address)}"
    try:
        with JobDisplay() as display:
            display.note(f"job {job_id}" + ("" if fresh else " is there already: following it"))
            job = follow(connection, job_id, display.line, display.note)
    except KeyboardInterrupt:
        raise JobGoesOn(
            f"Job {job_id} goes on{goes_on}. To look at it again: nezha-pipe logs {job_id} -f {at}; to end it:"
            f" nezha-pipe stop {job_id} {at}"
        ) from None
    for result in display.results:
        click.echo(result)
    if job.status == "FAILED" and (job.exit_code is None or job.died):
        echo(f"Error: job {job_id} {job.how}", err=True)
    return job


def _end(job: "Job") -> NoReturn:
    """End with the exit code of a job."""
    click.get_current_context().exit(job.code)


@click.command()
@address_option
@json_option
def jobs(address: str | None, as_json: bool) -> None:
    """List the jobs of a cluster that were submitted by this program.

    \b
    Example:
      nezha-pipe jobs --address http://10.0.0.1:8265
    """
    found = _connection(address).jobs()
    if as_json:
        echo_json([_facts(job) for job in found])
        return
    rows = [("id", "status", "started", "took", "output")]
    rows += [(job.id, job.status.lower(), _when(job.started), _took(job), job.metadata.get("output", "")) for job in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        echo("  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]))


@click.command()
@click.argument("job", metavar="ID|FOLDER")
@address_option
@json_option
def status(job: str, address: str | None, as_json: bool) -> None:
    """Say how far a job is, by its id, or by the folder it writes into.

    A folder needs no cluster: Ray forgets its jobs, what they have written stays.

    \b
    Examples:
      nezha-pipe status my-pretrain-3f9a0c1b2d-1 --address http://10.0.0.1:8265
      nezha-pipe status s3://bucket/run
    """
    from cluster.jobs.folder import facts, time_spent
    from model.training.tracking.summary import lines

    spent = []
    if "/" in job or Path(job).exists():
        folder = storage.absolute(job)
        found, spent = facts(folder), time_spent(folder)
    elif not address:
        raise UserMistake(f"{job}: no such folder; if it is the id of a job, give the --address of its cluster's dashboard")
    else:
        from cluster.jobs.submission import find

        known = find(_connection(address), job)
        found = _facts(known)
        try:
            found |= facts(folder := known.metadata["output"])
            spent = time_spent(folder)
        except (UserError, KeyError) as error:
            found["folder"] = f"not readable from here: {error}"
    if as_json:
        echo_json({**found, "time": [asdict(one) for one in spent]})
        return
    width = max(map(len, found))
    for name, value in found.items():
        echo(redact(f"{name:<{width}}  {value}"))
    for one in spent:
        echo("\n".join(["", *map(redact, lines(one))]))


@click.command()
@click.argument("job", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Follow it as submit does, to its end; the exit code is the job's.")
@address_option
def logs(job: str, follow: bool, address: str | None) -> None:
    """Print the log of a job.

    \b
    Example:
      nezha-pipe logs my-pretrain-3f9a0c1b2d-1 -f --address http://10.0.0.1:8265
    """
    from cluster.jobs.submission import find

    connection = _connection(address)
    found = find(connection, job)
    if follow:
        _end(_follow(connection, found.id, fresh=True))
    echo(connection.log(found.id).rstrip("\n"))


@click.command()
@click.argument("job", metavar="ID")
@address_option
def stop(job: str, address: str | None) -> None:
    """Stop a job. A training first writes a checkpoint of its step; submitted again, it resumes there.

    \b
    Example:
      nezha-pipe stop my-pretrain-3f9a0c1b2d-1 --address http://10.0.0.1:8265
    """
    from cluster.jobs.submission import find

    connection = _connection(address)
    found = find(connection, job)
    if found.running and connection.stop(found.id):
        echo(f"job {found.id} was asked to stop; a training writes a checkpoint first", err=True)
    else:
        echo(f"job {found.id} has ended already: {connection.info(found.id).status.lower()}", err=True)


def _facts(job: "Job") -> dict[str, str]:
    """What a cluster says of a job, by the names of the lines that a person reads."""
    found = {"job": job.id, "status": job.status.lower(), "started": _when(job.started), "took": _took(job)}
    found |= {name: job.metadata[name] for name in ("recipe", "output") if name in job.metadata}
    if not job.running:
        found["exit code"] = str(job.code)
    return found


def _when(seconds: float | None) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds else "-"


def _took(job: "Job") -> str:
    if not job.started:
        return "-"
    seconds = int((time.time() if job.running or not job.ended else job.ended) - job.started)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
