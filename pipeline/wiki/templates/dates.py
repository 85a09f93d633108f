"""Dates: {{bd}}, {{birth date}}, {{start date}} and the like, as zhwiki shows them.

    birth_and_death({"1": "1879年", "2": "3月14日", "3": "1955年", "4": "4月18日"})    "1879年3月14日－1955年4月18日"
    date({"1": "1990", "2": "10", "3": "3"})                                           "1990年10月3日"
    as_of({"1": "2019", "2": "5"})                                                     "截至2019年5月"

Ages are dropped: they would depend on the day on which the text is extracted.
"""

import re

Arguments = dict[str, str]

_NUMBER = re.compile(r"\d{1,4}")


def birth_and_death(arguments: Arguments) -> str:
    """{{bd|year|day|year|day}}; `1979年10月1日－` for living people."""
    given = [arguments.get(name, "").strip() for name in ("1", "2", "3", "4")]
    birth, death = (_year_and_day(*parts) for parts in (given[:2], given[2:]))
    return f"{birth}－{death}" if birth or death else ""


def _year_and_day(year: str, day: str) -> str:
    """Join a year and a day; a question mark stays only if nothing else is known."""
    known = "".join(part for part in (year, day) if part not in ("?", "？"))
    return known or ("？" if year or day else "")


def as_of(arguments: Arguments) -> str:
    """{{as of|2019|5}} is 截至2019年5月; `alt` replaces it; `since` makes it 自2019年5月."""
    if alternative := arguments.get("alt", "").strip():
        return alternative
    shown = date(arguments)
    if not shown:
        return ""
    if arguments.get("bare", "").strip():
        return shown
    return f"{'自' if arguments.get('since', '').strip() else '截至'}{shown}"


def date(arguments: Arguments) -> str:
    """Return year, month, day from the first three arguments or their names; what is not a number stays as written."""
    given = [arguments.get(name, "").strip() for name in ("1", "2", "3")]
    if not given[0]:
        given = [arguments.get(name, "").strip() for name in ("year", "month", "day")]
    if not _NUMBER.fullmatch(given[0]):
        return given[0]
    shown = ""
    for number, mark in zip(given, "年月日", strict=True):
        if not _NUMBER.fullmatch(number):
            break
        shown += f"{int(number)}{mark}"
    return shown


def span(arguments: Arguments) -> str:
    """{{reign|1661|1722}}: from one year to another."""
    return "－".join(arguments[name].strip() for name in ("1", "2") if arguments.get(name, "").strip())
