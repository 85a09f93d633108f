"""The command `nezha-pipe`. Each command parses its options, calls one function of a room and prints one result.

    recipes.py    run, plan, ablate: a whole recipe
    data.py       prepare, inspect, verify
    weights.py    pretrain, export, convert
    models.py     evaluate, fill-mask, embed
    options.py    options that several commands share
    chains.py     build the chain of a recipe, run its steps behind a progress display
    errors.py     what a user can fix becomes one line and exit code 2

Heavy packages are imported inside the commands, so that help is instant.
"""

import click

from workflows.cli import data, models, recipes, weights
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
    *(recipes.run, recipes.plan, recipes.ablate),
    *(data.prepare, data.inspect, data.verify),
    *(weights.pretrain, weights.export, weights.convert),
    *(models.evaluate, models.fill_mask, models.embed),
):
    main.add_command(_command)
