"""MediaWiki's own conversion tables, if the optional package that holds them is installed.

    convert("義大利的軟體", "zh-cn")    ->  "意大利的软件"

The tables are under the GPL. So they are no part of this project and of its default install: a user who wants them installs
`nezha-pipe[mediawiki]` and sets `variant_tables = "mediawiki"` (docs/decisions/0016-mediawiki-tables.md).
"""

import functools
import importlib.metadata
from collections.abc import Callable
from typing import cast

from pipeline.errors import CorpusError

PACKAGE = "zhconv-rs"


def convert(text: str, variant: str) -> str:
    """Convert a text as MediaWiki does, apart from its -{ }- rules.

    Raises: CorpusError where the package is not installed.
    """
    return _converter()(text, variant, False)


def version() -> str:
    """Return the version of the package, which is that of the tables.

    Raises: CorpusError where it is not installed.
    """
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise CorpusError(
            f"variant_tables = 'mediawiki' needs the package {PACKAGE}, here and on every machine that runs tasks: "
            "pip install 'nezha-pipe[mediawiki]'; without it, variant_tables = 'opencc' converts"
        ) from None


@functools.cache
def _converter() -> Callable[[str, str, bool], str]:
    version()
    from zhconv_rs import zhconv

    return cast(Callable[[str, str, bool], str], zhconv)  # its stub lists the variants, and some machines have no stub
