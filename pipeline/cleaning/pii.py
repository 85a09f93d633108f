"""Personal data in running text: replaced by placeholders, and counted.

    "有意者请致电13800138000/13900139000或0571-87654321，邮件 wang@example.com，微信号 wang_66，服务器 123.57.46.8。"
    ->  "有意者请致电<电话>/<电话>或<电话>，邮件 <邮箱>，微信号 <账号>，服务器 <IP地址>。"
        {"phone": 3, "mail": 1, "account": 1, "ip": 1}

A placeholder names what it replaces in characters that every Chinese vocabulary has. Nobody else writes these words in these
brackets, and masking a masked text changes nothing. What only resembles personal data stays: identifiers.py and accounts.py say
what each kind needs. So dates, amounts, ISBNs, versions and order numbers stay, and so do hotlines (12345, 95588, 400-...),
which belong to no person.
"""

import re

from pipeline.cleaning import identifiers
from pipeline.cleaning.accounts import ACCOUNTS, CUES, SPELLED_AT
from pipeline.cleaning.identifiers import NUMBERS, D, Detector

PLACEHOLDERS = {
    "mail": "<邮箱>",
    "identity": "<身份证>",
    "passport": "<护照>",
    "card": "<银行卡>",
    "phone": "<电话>",
    "account": "<账号>",
    "password": "<密码>",
    "plate": "<车牌>",
    "ip": "<IP地址>",
}
"""The placeholder of each kind."""

# Mail first, whose names may be numbers; accounts last, so that a telephone number after 微信 is one.
_DETECTORS: tuple[Detector, ...] = (*ACCOUNTS[:3], *NUMBERS, *ACCOUNTS[3:])
_FOLLOWING = {
    kind: [detector for detector in _DETECTORS if detector.follows and detector.kind == kind] for kind in PLACEHOLDERS
}
_FARTHEST = 3
"""Characters between a placeholder and the number that it explains: a sign, and a space on both sides."""
_DIGITS = re.compile(rf"{D}(?:[-. ()（）－—–]{{0,2}}{D}){{4,}}")
"""Five digits or more, possibly with signs between them: numbers are only searched for around these."""
_AROUND_NUMBERS = (24, 12)
_AROUND_CUES = (12, 48)
_AROUND_AT = (80, 340)
"""Characters before and after that the patterns may look at."""


def mask(text: str) -> tuple[str, dict[str, int]]:
    """Replace personal data by placeholders; return the text and the number of each kind."""
    counts: dict[str, int] = {}
    masked, before = _mask_once(text, counts), text
    while masked != before:  # a placeholder may uncover what is beside it
        masked, before = _mask_once(masked, counts), masked
    return masked, counts


def _mask_once(text: str, counts: dict[str, int]) -> str:
    parts, done = [], 0
    for start, end in _windows(text):
        parts += [text[done:start], _masked(text[start:end], counts)]
        done = end
    return "".join(parts) + text[done:] if parts else text


def _windows(text: str) -> list[tuple[int, int]]:
    """Return the ranges that could contain personal data, with the context that the patterns need; they do not overlap."""
    found = [_around(match, _AROUND_NUMBERS) for match in _DIGITS.finditer(text)]
    found += [_around(match, _AROUND_CUES) for match in CUES.finditer(text)]
    found += [_around(match, _AROUND_NUMBERS) for match in identifiers.WRITTEN.finditer(text)]
    if "@" in text or "＠" in text:
        found += [_around(match, _AROUND_AT) for match in re.finditer("[@＠]", text)]
    found += [_around(match, _AROUND_AT) for match in SPELLED_AT.finditer(text)]
    if text.count(":") > 1:
        found += [_around(match, _AROUND_NUMBERS) for match in identifiers.IPV6.finditer(text)]
    windows: list[tuple[int, int]] = []
    for start, end in sorted(found):
        start, end = max(0, start), min(len(text), end)
        if windows and start <= windows[-1][1]:
            start, end = windows[-1][0], max(end, windows.pop()[1])
        windows.append((start, end))
    return windows


def _around(match: re.Match[str], characters: tuple[int, int]) -> tuple[int, int]:
    return match.start() - characters[0], match.end() + characters[1]


def _masked(text: str, counts: dict[str, int]) -> str:
    """Return a chunk of text with placeholders, and add them to the counts."""
    for detector in _DETECTORS:
        text = _replaced(text, detector, counts)
    return text


def _replaced(text: str, detector: Detector, counts: dict[str, int]) -> str:
    """Replace what a detector finds in a chunk of text, and the numbers that follow there."""
    parts: list[str] = []
    done = place = 0
    while found := detector.pattern.search(text, place):
        place = found.end()
        if detector.accept(found):
            parts += [text[done : _start(found)], PLACEHOLDERS[detector.kind]]
            counts[detector.kind] = counts.get(detector.kind, 0) + 1
            done = place = _replace_following(text, place, detector.kind, parts, counts)
    return "".join([*parts, text[done:]]) if parts else text


def _replace_following(text: str, place: int, kind: str, parts: list[str], counts: dict[str, int]) -> int:
    """Add to `parts` a row of numbers, each of which explains the next, with placeholders; return where it ends.

    All at once: a row may be a whole directory, and passes over the text would take time in the square of its length.
    """
    before = PLACEHOLDERS[kind]
    while found := _following(before + text[place : place + _AROUND_CUES[1]], kind):
        parts += [found.string[len(before) : _start(found)], before]
        counts[kind] += 1
        place += found.end() - len(before)
    return place


def _following(text: str, kind: str) -> re.Match[str] | None:
    """Return the number that the placeholder at the start of a text explains, if there is one."""
    for detector in _FOLLOWING.get(kind, ()):
        found = detector.pattern.search(text)
        if found and _start(found) <= len(PLACEHOLDERS[kind]) + _FARTHEST and detector.accept(found):
            return found
    return None


def _start(found: re.Match[str]) -> int:
    """Return where personal data start in a match: after the word that names them."""
    return found.end("cue") if "cue" in found.re.groupindex else found.start()
