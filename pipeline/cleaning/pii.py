"""Personal data in running text: replaced by placeholders, and counted.

    "有意者请致电13800138000或0571-87654321，邮件 wang@example.com，服务器 123.57.46.8。"
    ->  "有意者请致电<电话>或<电话>，邮件 <邮箱>，服务器 <IP地址>。"            {"phone": 2, "mail": 1, "ip": 1}

A placeholder names what it replaces in characters that every Chinese vocabulary has. Nobody else writes these words in these
brackets, and masking a masked text changes nothing. What only resembles personal data stays: an identity number needs a valid
province, date and (18 digits) check digit; a mobile number a prefix in use and no unit after it; a landline number its area
code or a word such as 电话 before it; an IP address a public range. So dates, amounts, ISBNs, versions and order numbers stay,
and so do hotlines (12345, 95588, 400-...), which belong to no person.
"""

import re
from datetime import date
from ipaddress import IPv6Address, ip_address

PLACEHOLDERS = {"mail": "<邮箱>", "identity": "<身份证>", "phone": "<电话>", "ip": "<IP地址>"}
"""The placeholder of each kind, in the order in which the kinds are searched for."""

_D = "[0-9０-９]"
_DIGITS = re.compile(rf"{_D}(?:[-. ()（）－—–]{{0,2}}{_D}){{5,}}")
"""Six digits or more, possibly with signs between them: numbers are only searched for around these."""
_BEFORE = r"(?<![0-9０-９A-Za-z_=/&?%-])(?<![0-9０-９][.．])"
_AFTER = r"(?![0-9０-９A-Za-z_]|[.．][0-9０-９])"

_MAIL = re.compile(
    r"(?<![\w.%+@＠-])[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,63})[@＠]((?:[A-Za-z0-9-]{1,63}\.){1,5})([A-Za-z]{2,10})(?![A-Za-z0-9@＠])",
    re.ASCII,
)
_FILES = frozenset(["png", "jpg", "jpeg", "gif", "webp", "svg", "js", "css", "html", "service", "so", "json", "git"])
"""Extensions of file names such as icon@2x.png."""
_IDENTITY = re.compile(rf"{_BEFORE}(?:[1-9１-９]{_D}{{16}}[0-9０-９XxＸｘ]|[1-9１-９]{_D}{{14}}){_AFTER}")
_PROVINCES = frozenset(
    [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82]
)
_UNITS = "万|亿|元|美|欧|日元|港|韩元|人|吨|公斤|千克|克|米|公里|千瓦|度|股|册|件|辆|台|个|次|字|票|户|亩"
_MOBILE = re.compile(
    rf"{_BEFORE}(?:(?:[+＋]|00)?86[- ]?)?(?:1[3-9]|１[３-９]){_D}(?:[- ]?{_D}{{4}}){{2}}{_AFTER}(?! ?(?:{_UNITS}))"
)
_MOBILE_PREFIX = re.compile(r"1(?:3\d|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])")
_LOCAL = rf"[2-8２-８]{_D}{{2,3}}[- ]?{_D}{{4}}(?:[-－—–转 ]{{1,2}}{_D}{{1,5}})?{_AFTER}(?! ?(?:{_UNITS}))"
_AREA = rf"[0０](?:[1１][0０]|[2２][0-57-9０-５７-９]|[3-9３-９]{_D}{{2}})"
_LANDLINE = re.compile(rf"(?:{_BEFORE}(?:[+＋]?86[- ]?)?{_AREA}[-－—–]{{1,2}}|[（(]{_AREA}[)）] ?){_LOCAL}")
_CALLED = re.compile(
    rf"(?P<cue>(?:电话|传真|座机|致电|拨打|Tel|TEL|tel|Fax|FAX|fax)[号码为是]*[:：. ]{{0,2}})(?:{_AREA} ?)?{_LOCAL}"
)
_IPV4 = re.compile(r"(?<![0-9A-Za-z.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z]|\.[0-9])")
_IPV6 = re.compile(r"[23](?<![0-9A-Za-z:.][23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?![0-9A-Za-z:.])")
_VERSION = re.compile(r"(?:\b[Vv]|[Vv]er|[Vv]ersion|版本?)[号为是:： ]*$")

_PATTERNS = (
    ("mail", _MAIL),
    ("identity", _IDENTITY),
    *(("phone", pattern) for pattern in (_MOBILE, _LANDLINE, _CALLED)),
    *(("ip", pattern) for pattern in (_IPV4, _IPV6)),
)


def mask(text: str) -> tuple[str, dict[str, int]]:
    """Replace mail addresses, identity, phone and IP numbers by placeholders; return the text and the number of each kind."""
    counts: dict[str, int] = {}
    parts, done = [], 0
    for start, end in _windows(text):
        parts += [text[done:start], _masked(text[start:end], counts)]
        done = end
    return "".join(parts) + text[done:] if parts else text, counts


def _windows(text: str) -> list[tuple[int, int]]:
    """Return the ranges that could contain personal data, with the context that the patterns need; they do not overlap."""
    found = [(match.start() - 20, match.end() + 10) for match in _DIGITS.finditer(text)]
    if "@" in text or "＠" in text:
        found += [(match.start() - 80, match.end() + 340) for match in re.finditer("[@＠]", text)]
    if text.count(":") > 1:
        found += [(match.start() - 20, match.end() + 10) for match in _IPV6.finditer(text)]
    windows: list[tuple[int, int]] = []
    for start, end in sorted(found):
        start, end = max(0, start), min(len(text), end)
        if windows and start <= windows[-1][1]:
            start, end = windows[-1][0], max(end, windows.pop()[1])
        windows.append((start, end))
    return windows


def _masked(text: str, counts: dict[str, int]) -> str:
    """Return a chunk of text with placeholders, and add them to the counts."""
    for kind, pattern in _PATTERNS:

        def placeholder(match: re.Match[str], kind: str = kind) -> str:
            if not _is(kind, match):
                return match[0]
            counts[kind] = counts.get(kind, 0) + 1
            return (match.groupdict().get("cue") or "") + PLACEHOLDERS[kind]

        text = pattern.sub(placeholder, text)
    return text


def _is(kind: str, match: re.Match[str]) -> bool:
    """Return whether a string that matches the pattern of a kind really is of that kind."""
    found = match[0]
    if kind == "mail":
        name, host = re.split("[@＠]", found)
        return name != "git" and host.rsplit(".", 1)[1].lower() not in _FILES
    if kind == "ip":
        return _is_public(found) and not _VERSION.search(match.string[: match.start()])
    digits = "".join(str(int(sign)) if sign.isdecimal() else "X" for sign in found if sign.isdecimal() or sign in "XxＸｘ")
    return is_identity_number(digits) if kind == "identity" else _is_phone(digits)


def is_identity_number(digits: str) -> bool:
    """Return whether 18 (GB 11643-1999) or 15 digits are a valid identity number: province, date of birth, check digit."""
    birth = digits[6:14] if len(digits) == 18 else "19" + digits[6:12]
    if int(digits[:2]) not in _PROVINCES or not 1900 <= int(birth[:4]) <= 2099:
        return False
    try:
        date(int(birth[:4]), int(birth[4:6]), int(birth[6:]))
    except ValueError:
        return False
    if len(digits) == 15:
        return True
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits[:17]))
    return digits[17] == "10X98765432"[total % 11]


def _is_phone(digits: str) -> bool:
    """Return whether the digits have a mobile prefix in use, or are a landline number, which its pattern already checked."""
    national = digits.removeprefix("00").removeprefix("86")
    return len(national) != 11 or national.startswith("0") or _MOBILE_PREFIX.match(national) is not None


def _is_public(found: str) -> bool:
    try:
        address = ip_address(found)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        return address.is_global
    # 4.2.2.1 is more likely a version or a section number.
    return address.is_global and sum(len(part) > 1 for part in found.split(".")) >= 2
