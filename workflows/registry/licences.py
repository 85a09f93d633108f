"""Which licences forbid a use. Licences are what people wrote into recipes, so this reads words; it is no advice of a lawyer.

judged({"news": "CC BY-NC 4.0", "web": "unknown"}, "commercial")
->  [{"source": "news", "licence": "CC BY-NC 4.0", "forbids": True}, {"source": "web", "licence": "unknown", "forbids": False}]
"""

import re
from collections.abc import Mapping
from typing import Any

from workflows.registry.config import Use

_RESEARCH_ONLY = (
    r"research (?:purposes? |use )?only|only for research|for research|academic|educational|trying out|evaluation only"
    r"|仅供研究|仅限研究|仅用于研究|学术|教学"
)
_FORBID: Mapping[Use, re.Pattern[str]] = {
    "": re.compile(r"(?!)"),
    "research": re.compile(r"not for research|all rights reserved|版权所有", re.IGNORECASE),
    "commercial": re.compile(
        rf"\bNC\b|non-?\s?commercial|no commercial|not for commercial|非商|不得商用|禁止商用|{_RESEARCH_ONLY}"
        "|all rights reserved|版权所有",
        re.IGNORECASE,
    ),
    "redistribution": re.compile(
        r"not for redistribution|no redistribution|not redistribut|\bND\b|不得转载|禁止转载|all rights reserved|版权所有",
        re.IGNORECASE,
    ),
}
_UNKNOWN = re.compile(r"\s*|unknown|not recorded|other|未知", re.IGNORECASE)


def judged(licences: Mapping[str, str], use: Use) -> list[dict[str, Any]]:
    """Return the licences that forbid a use, then those that say nothing; without a use, none."""
    if not use:
        return []
    found = [
        {"source": source, "licence": licence, "forbids": bool(_FORBID[use].search(licence))}
        for source, licence in sorted(licences.items())
        if _FORBID[use].search(licence) or _UNKNOWN.fullmatch(licence)
    ]
    return sorted(found, key=lambda one: not one["forbids"])
