"""The commands for clusters: cluster render, cluster check."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import click

from pipeline.errors import RecipeError
from workflows.cli.console import echo, echo_json
from workflows.cli.options import FiniteRange, json_option, recipe_options
from workflows.preparing import URL

KINDS = ("kuberay", "kuberay-job", "kuberay-cron", "onprem", "aws", "systemd")


@click.group()
def cluster() -> None:
    """Clusters for training: written down as files, and checked.

    \b
    Example:
      nezha-pipe cluster render nezha-base-2019 --kind onprem --config nezha-2019 --set cluster.workers=80
    """


@cluster.command()
@recipe_options
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What starts the cluster; see docs/cluster.md.")
@click.option(
    "--config", metavar="FILE", help="Settings of the cluster, in TOML; or a name: nezha-2019, kubernetes, aws. Default: none."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one of these settings, e.g. machines.gpus=8; repeatable.",
)
@click.option("--output", metavar="FOLDER", help="Write the files here, instead of printing them; prints their paths.")
def render(
    recipe: str, settings: Sequence[str], kind: str, config: str | None, options: Sequence[str], output: str | None
) -> None:
    """Write down a cluster that runs RECIPE, with room for its workers.

    \b
    kuberay       a RayCluster of KubeRay that stays, for jobs that are submitted to it
    kuberay-job   a RayJob: a cluster for this job alone
    kuberay-cron  a RayCronJob: such a job at set times
    onprem        machines of your own, for `ray up`
    aws           machines at Amazon, for `ray up`
    systemd       units for Ray and for the job, on machines of your own

    Nothing is started. No secret is written: settings name secrets, and where they are kept.

    \b
    Examples:
      nezha-pipe cluster render nezha-base-2019 --kind onprem --config nezha-2019 --set cluster.workers=80
      nezha-pipe cluster render my.toml --kind kuberay-job --config cluster.toml --set cluster.workers=8:32 > job.yaml
    """
    from cluster.manifests import render as manifests
    from cluster.manifests.config import ManifestConfig
    from cluster.manifests.job import Job
    from workflows import recipe as recipes
    from workflows import toml_settings

    loaded = recipes.load(recipe, settings)
    name = config or "--option"
    content = toml_settings.parse(settings_text(config), name) if config else {}
    for option in options:
        toml_settings.change(content, option, "--option", "cluster")
    text = toml_settings.read_text(Path(recipe)) if recipe.endswith(".toml") else None
    job = Job(recipe=recipe, text=text, settings=tuple(settings), cluster=loaded.cluster)
    files = manifests.render(kind, toml_settings.build(ManifestConfig, content, name), job)  # type: ignore[arg-type]
    if output is None:
        click.echo(
            "\n".join(f"# {file}\n{content}" if len(files) > 1 else content for file, content in files.items()), nl=False
        )
        return
    for file, written in files.items():
        path = Path(output, file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(written, encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"{path}: cannot be written: {error.strerror}") from error
        echo(str(path))


@cluster.command()
@click.option("--address", required=True, metavar="HOST:PORT", help="Address of a running Ray: head:6379.")
@click.option("--output", default="", type=URL, help="Folder for the results of a run, which all machines must see.")
@click.option(
    "--timeout",
    type=FiniteRange(0, min_open=True),
    default=20,
    show_default=True,
    metavar="S",
    help="Seconds after which a machine that does not answer a question counts as hung.",
)
@json_option
@click.pass_context
def check(context: click.Context, address: str, output: str, timeout: float, as_json: bool) -> None:
    """Check that the machines of a cluster are fit for a run.

    Compares versions and clocks, looks for --output, free disk and GPUs, and measures the network. Must be called on a machine
    of the cluster. Prints a line for each finding; exits with 1 if one would break a run.

    \b
    Example:
      nezha-pipe cluster check --address head:6379 --output s3://bucket/run
    """
    from dataclasses import asdict

    from cluster.checking.check import check as check_cluster
    from cluster.checking.findings import Finding
    from pipeline import storage

    def tell(finding: Finding) -> None:
        if not as_json:
            echo(str(finding))

    result = check_cluster(address, output and storage.absolute(output), timeout, tell)
    if as_json:
        findings = [asdict(finding) for finding in result.findings]
        facts = {"machines": result.machines, "network": result.network, "findings": findings}
        echo_json({"address": address, "fit": result.fit, **facts})
    if not result.fit:
        context.exit(1)


def settings_text(config: str) -> str:
    """Read a file of settings, or one that comes with the program."""
    from workflows import toml_settings

    shipped = resources.files("cluster.manifests") / "examples"
    names = sorted(entry.name.removesuffix(".toml") for entry in shipped.iterdir())
    if config in names:
        return (shipped / f"{config}.toml").read_text(encoding="utf-8")
    if not config.endswith(".toml") or not Path(config).is_file():
        raise RecipeError(f"--config {config}: no such file; without .toml, there are {', '.join(names)}")
    return toml_settings.read_text(Path(config), "file")
