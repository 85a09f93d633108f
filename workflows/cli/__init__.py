"""The command `nezha-pipe`. Each command parses its options, calls one function of a room and prints one result.

    recipes.py    run, plan, ablate: a whole recipe
    scheduling.py ui, schedule: the page, and runs by themselves
    scheduled.py  the process of a scheduled run
    data.py       prepare, inspect, verify
    weights.py    pretrain, export, convert
    evaluating.py evaluate
    finetuning.py finetune
    models.py     fill-mask, embed
    registry.py   models, compare, promote, rollback
    clusters.py   cluster render, cluster check
    jobs/         submit, jobs, status, logs, stop
    options.py    options that several commands share
    chains.py     build the chain of a recipe, run its steps behind a progress display
    console.py    print results, with control characters and secrets hidden
    errors.py     what a user can fix becomes one line and exit code 2

Heavy packages are imported inside the commands, so that help is instant.
"""

import sys

from workflows.stopping import ended_by_ctrl_c

with ended_by_ctrl_c(*sys.argv[1:2] or [""]):
    import click

    from workflows.cli import (
        clusters,
        data,
        evaluating,
        finetuning,
        jobs,
        models,
        recipes,
        registry,
        scheduling,
        weights,
    )
    from workflows.cli.errors import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nezha-pipe")
def main() -> None:
    """Pretrain, export and evaluate a NEZHA encoder, from raw Chinese corpora.

    \b
    Example:
      nezha-pipe run tiny
    """


for _command in (
    *(recipes.run, recipes.plan, scheduling.ui, scheduling.schedule, recipes.ablate),
    *(data.prepare, data.inspect, data.verify),
    *(weights.pretrain, weights.export, weights.convert),
    *(evaluating.evaluate, finetuning.finetune, models.fill_mask, models.embed),
    *(registry.models, registry.compare, registry.promote, registry.rollback),
    clusters.cluster,
    *(jobs.submit, jobs.jobs, jobs.status, jobs.logs, jobs.stop),
):
    main.add_command(_command)


def commands(group: click.Group = main, name: str = "") -> dict[str, click.Command]:
    """Return every command by its words, groups included: `run`, `cluster`, `cluster render`."""
    found: dict[str, click.Command] = {}
    for word, command in sorted(group.commands.items()):
        found[f"{name}{word}"] = command
        if isinstance(command, click.Group):
            found.update(commands(command, f"{name}{word} "))
    return found
