"""Print a page."""

import sys

from workflows.manual import MANUALS, pages

print({**MANUALS, "cluster": pages.cluster}[sys.argv[1]](), end="")
