"""Pages of docs/ that are written from the program: `python -m workflows.manual cli > docs/cli.md`, or `make docs`.

pages.py     docs/cli.md, docs/recipe.md and the tables of docs/cluster.md
errors.py    docs/errors.md: every message of an error that a user can fix
__main__.py  print one of them
advice.py    what to do about errors whose message does not say it, by the part of the program that they come from
"""

from collections.abc import Callable

from workflows.manual import pages
from workflows.manual.errors import errors

MANUALS: dict[str, Callable[[], str]] = {"cli": pages.cli, "recipe": pages.recipe, "errors": errors}
"""Pages that are generated as a whole."""
