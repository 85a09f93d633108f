"""The commands for runs by themselves: ui, schedule."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pipeline import storage
from pipeline.redaction import redact
from workflows.cli.console import echo, echo_json
from workflows.cli.errors import UserMistake
from workflows.cli.options import FiniteRange, json_option, workers_option
from workflows.preparing import URL

if TYPE_CHECKING:
    from pathlib import Path

    from workflows.recipe import Recipe
    from workflows.scheduling.schedules import Schedule


@click.command()
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option("--output", type=URL, help="Folder of the run, with one recipe; default: runs/<name of the recipe>.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of the page.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on. The page asks nobody for a password and starts runs: another address opens it to the network.",
)
@click.option(
    "--max-parallel",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs at a time, each of which does one step at a time; the next ones wait.",
)
@workers_option
def ui(recipes: Sequence[str], output: str | None, port: int, host: str, max_parallel: int, workers: int | None) -> None:
    """Serve a page with the steps and runs of one or several recipes, and start what is scheduled.

    The page shows the steps with their counts and losses over time and the history of runs, and starts runs. As long as it is
    up, what `nezha-pipe schedule` wrote is started when it is due, and a scheduled run whose process died resumes. Without
    RECIPE: tiny. A recipe that cannot be loaded is one line in its place. Several recipes need one history: set
    NEZHA_PIPE_HISTORY to a folder or to postgresql://..., here, for `run` and for `schedule`. Ctrl-C ends it; runs go on.

    \b
    Examples:
      nezha-pipe ui tiny
      NEZHA_PIPE_HISTORY=runs/history nezha-pipe ui news.toml wiki.toml --port 8080
    """
    from workflows import recipe as loading
    from workflows.orchestration.history import SETTING, History
    from workflows.orchestration.server import is_loopback, serve

    recipes = recipes or ("tiny",)
    if len(recipes) > 1 and output:
        raise UserMistake("--output is for one recipe: those of several are in runs/<name of the recipe>")
    if len(recipes) > 1 and not os.environ.get(SETTING):
        raise UserMistake(
            f"several recipes need one history: set {SETTING} to a folder or postgresql://..., here and for `run`"
        )
    root = output or ("runs" if len(recipes) > 1 else f"runs/{loading.load(recipes[0]).name}")
    variables = {"NEZHA_PIPE_RECIPE": os.pathsep.join(recipes), "NEZHA_PIPE_OUTPUT": output or ""}
    variables["NEZHA_PIPE_WORKERS"] = str(workers or 1)
    if not is_loopback(host):
        echo(f"warning: --host {host}: whoever reaches port {port} can start and stop runs, without a password", err=True)
    history = replace(History.of(root), max_parallel=max_parallel)
    code = serve(history, variables, host, port, lambda address: echo(f"{address}  (Ctrl-C ends it)", err=True))
    if code:
        raise UserMistake(f"the page ended with code {code}; what it says is above")


@click.command()
@click.argument("recipe", required=False)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting of the recipe, as for `run`; repeatable."
)
@click.option(
    "--cron", metavar="TIMES", help="Run at these times: minute, hour, day of month, month, day of week; or @monthly."
)
@click.option("--watch", type=URL, help="Run when there is a new or changed file here: a file, a folder or a glob.")
@click.option("--timezone", metavar="ZONE", help="Zone of --cron, such as Asia/Shanghai; default: this machine's.")
@click.option(
    "--settle",
    type=FiniteRange(0, min_open=True),
    default=60,
    show_default=True,
    metavar="S",
    help="With --watch: seconds for which no new file may have changed, so that none is read while it is written.",
)
@click.option("--name", metavar="NAME", help="Name of the schedule; default: the recipe's.")
@click.option("--output", default=None, type=URL, help="Folder for the results; default: runs/<name of the recipe>.")
@workers_option
@click.option(
    "--emit",
    type=click.Choice(["cron", "systemd", "raycronjob"]),
    help="Print the same for cron, systemd or KubeRay instead, which need no page.",
)
@click.option(
    "--config", metavar="FILE", help="With --emit raycronjob: settings of the cluster, as for `nezha-pipe cluster render`."
)
@click.option("--list", "listed", is_flag=True, help="Show the schedules of RECIPE, or of all runs in runs/.")
@click.option("--pause", metavar="NAME", help="Start nothing for a schedule; a run that is going goes on.")
@click.option("--resume", metavar="NAME", help="End a pause; times that fell into it are not made up for.")
@click.option("--remove", metavar="NAME", help="Remove a schedule and its notes.")
@json_option
def schedule(
    recipe: str | None,
    settings: Sequence[str],
    cron: str | None,
    watch: str | None,
    timezone: str | None,
    settle: float,
    name: str | None,
    output: str | None,
    workers: int | None,
    emit: str | None,
    config: str | None,
    listed: bool,
    pause: str | None,
    resume: str | None,
    remove: str | None,
    as_json: bool,
) -> None:
    """Run RECIPE at set times, or when there is a new file, as long as `nezha-pipe ui RECIPE` is up.

    A time at which the machine was off is made up for once. While a run is going, the next waits. A run whose process died
    resumes. Files that are there already count as new. Failures are told to those whom `[notify]` names. Schedules are kept
    beside the history: in the folder .dagster of the output, or where NEZHA_PIPE_HISTORY says.

    \b
    Examples:
      nezha-pipe schedule my.toml --cron '0 3 1 * *'
      nezha-pipe schedule my.toml --watch 's3://bucket/dumps/*.xml.bz2' --name dumps
      nezha-pipe schedule my.toml --list
      nezha-pipe schedule my.toml --pause dumps
      nezha-pipe schedule my.toml --cron '0 3 1 * *' --emit systemd
    """
    from workflows import recipe as loading

    wanted = [bool(each) for each in (cron or watch, listed, pause, resume, remove)]
    if sum(wanted) != 1 or (cron and watch):
        raise UserMistake("give one of --cron, --watch, --list, --pause, --resume and --remove")
    if emit and not cron:
        raise UserMistake("--emit needs --cron: cron, systemd and KubeRay do not look at files")
    if cron or watch:
        recipe = recipe or "tiny"
        loaded = loading.load(recipe, settings)
        made = _made(loaded, recipe, settings, cron or "", watch or "", timezone, settle, name, output, workers)
        if emit:
            _emit(made, loaded, recipe, emit, config)
        else:
            _add(made, f"nezha-pipe ui {recipe}" + (f" --output {output}" if output else ""))
    elif listed:
        _list(_folders(recipe, settings, output), as_json)
    else:
        _change(_folders(recipe, settings, output), pause, resume, remove)


def _add(made: "Schedule", page: str) -> None:
    """Write a new schedule, and say which command starts its runs."""
    from workflows.orchestration.history import History
    from workflows.scheduling import schedules

    schedules.add(schedules.folder_of(History.of(made.output).folder), made)
    echo(f"{made.name}: {redact(made.when)}; starts as long as `{redact(page)}` is up")


def _change(folders: "list[Path]", pause: str | None, resume: str | None, remove: str | None) -> None:
    """Pause, resume or remove a schedule."""
    from datetime import UTC, datetime

    from workflows.scheduling import schedules

    folder = _one(folders, str(pause or resume or remove))
    if pause:
        schedules.pause(folder, pause)
    elif resume:
        schedules.resume(folder, resume, datetime.now(UTC))
    elif remove:
        schedules.remove(folder, remove)
    echo(f"{pause or resume or remove}: {'paused' if pause else 'resumed' if resume else 'removed'}")


def _made(
    loaded: "Recipe",
    recipe: str,
    settings: Sequence[str],
    cron: str,
    watch: str,
    timezone: str | None,
    settle: float,
    name: str | None,
    output: str | None,
    workers: int | None,
) -> "Schedule":
    """Return a schedule of a recipe, with absolute paths.

    Raises: RecipeError for times that never come.
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from workflows.scheduling.schedules import Schedule
    from workflows.scheduling.times import check_cron, local_zone

    zone = timezone or local_zone()
    if cron:
        check_cron(cron, zone)
    return Schedule(
        name=name or loaded.name,
        recipe=os.path.abspath(recipe) if recipe.endswith(".toml") else recipe,
        settings=list(settings),
        output=storage.absolute(output or f"runs/{loaded.name}"),
        workers=workers,
        folder=os.getcwd(),
        cron=cron,
        timezone=zone,
        watch=watch,
        settle_seconds=settle,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        notify=asdict(loaded.notify),
    )


def _emit(made: "Schedule", loaded: "Recipe", recipe: str, kind: str, config: str | None) -> None:
    """Print files for cron, systemd or KubeRay."""
    from workflows.scheduling import emitting

    if kind == "raycronjob":
        files = _ray_cron_job(made, loaded, recipe, config)
    else:
        files = emitting.emit_cron(made) if kind == "cron" else emitting.emit_systemd(made)
    click.echo("\n".join(f"# {file}\n{content}" if len(files) > 1 else content for file, content in files.items()), nl=False)


def _ray_cron_job(made: "Schedule", loaded: "Recipe", recipe: str, config: str | None) -> dict[str, str]:
    from pathlib import Path

    from cluster.manifests import render as manifests
    from cluster.manifests.config import ManifestConfig
    from cluster.manifests.job import Job
    from workflows import toml_settings
    from workflows.cli.clusters import settings_text

    content = toml_settings.parse(settings_text(config), config) if config else {}
    changes = {"kubernetes.schedule": made.cron, "kubernetes.time_zone": made.timezone}
    if "://" in made.output:
        changes["job.output"] = made.output
    for key, value in changes.items():
        toml_settings.change(content, f'{key}="{value}"', "--emit", "cluster")
    text = toml_settings.read_text(Path(recipe)) if recipe.endswith(".toml") else None
    job = Job(recipe=recipe, text=text, settings=tuple(made.settings), cluster=loaded.cluster)
    return manifests.render("kuberay-cron", toml_settings.build(ManifestConfig, content, config or "--emit"), job)


def _folders(recipe: str | None, settings: Sequence[str], output: str | None) -> "list[Path]":
    """Return the folders with schedules: of a recipe's history, or of all histories in runs/."""
    from pathlib import Path

    from workflows import recipe as loading
    from workflows.orchestration.history import FOLDER, SETTING, History
    from workflows.scheduling import schedules

    if recipe or output or os.environ.get(SETTING):
        root = output or f"runs/{loading.load(recipe or 'tiny', settings).name}"
        return [schedules.folder_of(History.of(root).folder)]
    return [schedules.folder_of(place) for place in sorted(Path("runs").glob(f"*/{FOLDER}"))]


def _one(folders: "list[Path]", name: str) -> "Path":
    """Return the folder that has a schedule."""
    from workflows.scheduling import schedules

    found = [folder for folder in folders if (folder / name / schedules.FILE).is_file()]
    if len(found) > 1:
        raise UserMistake(f"{len(found)} histories have a schedule {name!r}; name its RECIPE too")
    if not found:
        known = sorted({each.name for folder in folders if folder.is_dir() for each in schedules.read_all(folder)})
        raise UserMistake(f"no schedule {name!r}; " + (f"there are {', '.join(known)}" if known else "there are none here"))
    return found[0]


def _list(folders: "list[Path]", as_json: bool) -> None:
    """Print the schedules with what their last trigger came to."""
    from datetime import UTC, datetime

    from workflows.scheduling import schedules, triggers
    from workflows.scheduling.times import next_tick

    rows = []
    for folder in folders:
        for each in schedules.read_all(folder) if folder.is_dir() else []:
            last = next(iter(triggers.newest(folder / each.name)), None)
            state = "never started" if last is None else last.outcome or "running, or to be started again"
            log = str(triggers.log_of(folder / each.name, last.number)) if last else ""
            due = next_tick(each.cron, each.timezone, datetime.now(UTC)) if each.cron and not each.paused else None
            about = {"name": each.name, "recipe": each.recipe, "when": each.when, "paused": each.paused, "output": each.output}
            about["next"] = due.isoformat() if due else ""
            rows.append({**about, "last": last.at if last else "", "state": state, "log": log})
    if as_json:
        echo_json(rows)
        return
    if not rows:
        echo("no schedules; make one with --cron or --watch")
    for row in rows:
        ended = f"{row['state']} ({row['last']}, {row['log']})" if row["last"] else row["state"]
        due_next = ", paused" if row["paused"] else f", next {row['next']}" if row["next"] else ""
        echo(redact(f"{row['name']}: {row['when']}{due_next}: {row['recipe']}; {ended}"))
