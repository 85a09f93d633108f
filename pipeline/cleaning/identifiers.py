"""Numbers that belong to a person: identity, bank card, telephone, address on the internet, licence plate. See pii.py.

11010519491231002X      valid province, date of birth and check digit
6222021234567890128     issuer and check digit, and a word such as 卡号 before it or spaces between its groups
护照E12345678           such a word before it
13800138000             a prefix in use; no unit after it, no longer number around it, unless a word such as 电话 is before it
一三八零零一三八零零零  a mobile number too, as 1③⑧00138000 is
010-65091234            an area code, or such a word
123.57.46.8             on the public internet, and no version
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv6Address, ip_address

Found = re.Match[str]


@dataclass(frozen=True)
class Detector:
    """Finds personal data of one kind."""

    kind: str
    pattern: re.Pattern[str]
    """What to replace. A group `cue` at its start is kept."""
    accept: Callable[[Found], bool] = bool
    """Whether a match really is of the kind."""
    follows: bool = False
    """Whether it also finds what a placeholder of the kind before it explains: 65091235 in <电话>/65091235."""


D = "[0-9０-９]"
UNITS = (
    r"万(?![科达])|亿|美?元|美金|欧|日元|港[元币]|韩元|人(?![工民事员才])|吨|公[斤里]|千[克瓦]|克(?![拉隆])|米(?![兰饭])|度(?![假过])|股(?![东份])|册|件|辆"
    r"|台(?![湾北州山])|个(?!人)|次(?!日)|字|票|户(?![外型])|亩|[%％]"
)
"""Units of amounts, unless the next character makes another word of them: 台, not 台湾."""
LOOK_BEHIND = 12
"""Characters before a number in which a word that explains it is looked for."""

# 18 digits may have a space or dash between any two: the check digit tells. 15 need a word before them.
_IDENTITY = re.compile(
    rf"(?<![0-9０-９])(?<![0-9０-９][.．-])[1-9１-９](?:(?:[ -]?{D}){{16}}[ -]?[0-9０-９XxＸｘ]|{D}{{14}})(?![0-9０-９])"
)
_IDENTITY_CUE = re.compile(r"身份|证件|证号|公民|\bID", re.ASCII)
_PROVINCES = frozenset(
    [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82]
)
_CARD = re.compile(
    rf"(?<![0-9０-９])(?<![0-9０-９][.．-])[2-9２-９]{D}{{3}}(?:[ -]?{D}{{4}}){{2,3}}(?:[ -]?{D}{{1,4}})?(?![0-9０-９])"
)
_CARD_CUE = re.compile(r"卡号|银行|[账帐][号户]|[工农建中招交]行|储蓄|信用[卡社]|汇款|转账|打款|[Cc]ard")
_CARD_ISSUER = re.compile(r"62|4|5[1-5]|3[47]|35|60|9[4-9]")
"""UnionPay, Visa, Mastercard, American Express, JCB, and numbers that Chinese banks gave before UnionPay's."""

_MOBILE = re.compile(
    rf"(?<![0-9０-９])(?:(?:[+＋]|00)?86[- ]?)?(?:1[3-9]|１[３-９]){D}(?:(?:[- ]?{D}{{4}}){{2}}|(?:[.．·]{D}{{4}}){{2}})"
    r"(?![0-9０-９]|[.．][0-9０-９])"
)
_MOBILE_PREFIX = re.compile(r"1(?:3\d|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])")
_PHONE_CUE = re.compile(
    r"(?:电话|手机|联系|致电|来电|拨打|热线|咨询|微信|客服|短信|传真|号码|[Tt]el|TEL|[Pp]hone|[Mm]ob(?:ile)?|QQ|qq|[VvWw][Xx]|加[VvＶ微薇]|[☎☏📱📞])"
    r"(?:方式|号码?|人)?[为是]?[:：=＝.．\s/(（-]{0,3}\Z"
)
_PART_OF_MORE = re.compile(r"[A-Za-z_=&?%]\Z|[0-9０-９][.．]\Z|[A-Za-z0-9０-９_.][-/]\Z")
"""Before a number that is part of a word, an address or a longer number."""
_NUMBER_BEFORE = re.compile(r"<电话>\s?[-/／、,，;；|或及和~]?\s?\Z")
_WORD_AFTER = re.compile(
    r"\s?(?:微信|QQ|qq|[VvWw][Xx]|[Ww]e[Cc]hat|[Ee]-?[Mm]ail|[Tt]el|TEL|[Ff]ax|FAX|[Ee]xt|and|or|http|www)"
)
_AFTER_AMOUNT = re.compile(rf"[A-Za-z_]|\s?(?:{UNITS})")
_LONGER = re.compile(rf"[- ]{D}{{2,}}")

_WRITTEN_DIGITS = {
    sign: str(digit)
    for digit, signs in enumerate(("〇零○", "一幺壹", "二贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"))
    for sign in signs
}
_W = f"[0-9０-９{''.join(_WRITTEN_DIGITS)}⓪①-⑨❶-❾➀-➈➊-➒]"
WRITTEN = re.compile(rf"[1１一幺壹①❶➀➊](?<!{_W}.)(?:[-－·. ]?{_W}){{10}}(?!{_W}|[.．年月日十百千万亿])")
"""A mobile number whose digits are not all plain ones."""
_PASSPORT = re.compile(
    r"(?P<cue>(?:护照|通行证|[Pp]assport)(?:号码?|编号|证号| ?[Nn]o\.?)?[为是]?[:：\s(（]{0,3})"
    r"(?:[EGDSPegdsp]\d{8}|[EeDdSsPp][A-HJ-NP-Za-hj-np-z]\d{7}|[CWHMcwhm]\d{8,10}|1[45]\d{7})(?![0-9A-Za-z])",
    re.ASCII,
)

_AREA = rf"[0０](?:[1１][0０]|[2２][0-57-9０-５７-９]|[3-9３-９]{D}{{2}})"
_LOCAL = (
    rf"[2-8２-８]{D}{{2,3}}[- ]?{D}{{4}}(?:[-－—–转 ]{{1,2}}{D}{{1,5}})?(?![0-9０-９A-Za-z_]|[.．][0-9０-９])(?!\s?(?:{UNITS}))"
)
_LANDLINE = re.compile(
    rf"(?:(?<![0-9０-９A-Za-z_=/&?%-])(?<![0-9０-９][.．])(?:[+＋]?86[- ]?)?{_AREA}[-－—–]{{1,2}}|[（(]{_AREA}[)）] ?){_LOCAL}"
)
_CALLED = re.compile(
    rf"(?P<cue>(?:电话|传真|座机|致电|拨打|Tel|TEL|tel|Fax|FAX|fax)[号码为是]*[:：. ]{{0,2}})(?:{_AREA} ?)?{_LOCAL}"
)
_SECOND = re.compile(rf"(?P<cue><电话>\s?[-/／、,，;；|或及和~]\s?)(?:{_AREA}[- ]?)?{_LOCAL}")
"""A number beside a telephone number needs no area code of its own."""

_IPV4 = re.compile(r"(?<![0-9A-Za-z_.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9])")
IPV6 = re.compile(r"[23](?<![0-9A-Za-z:.][23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?![0-9A-Za-z:.])")
_VERSION = re.compile(r"(?:\b[Vv]|[Vv]er|[Vv]ersion|版本?)[号为是:： ]*\Z")
_PLATE = re.compile(
    r"[京津沪渝冀晋蒙辽吉黑苏浙皖闽赣鲁豫鄂湘粤桂琼川贵云藏陕甘青宁新][A-HJ-NP-Z][·•. ]?"
    r"(?:[DF][A-HJ-NP-Z0-9]\d{4}|\d{5}[DF]|[A-HJ-NP-Z0-9]{5}|[A-HJ-NP-Z0-9]{4}[挂学警港澳])(?![A-Za-z0-9])",
    re.ASCII,
)
_PLATE_DIGITS = 3


def before(found: Found) -> str:
    """Return the characters right before a match."""
    return found.string[max(0, found.start() - LOOK_BEHIND) : found.start()]


def plain_digits(number: str) -> str:
    """Return the digits of a number as ASCII, with X for a check digit of ten: １１０ 101-Ｘ -> 110101X"""
    return "".join(str(int(sign)) if sign.isdecimal() else "X" for sign in number if sign.isdecimal() or sign in "XxＸｘ")


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


def is_card_number(digits: str) -> bool:
    """Return whether digits are the number of a bank card: 15 to 19, an issuer, the check digit of ISO/IEC 7812 (Luhn)."""
    if not 15 <= len(digits) <= 19 or not _CARD_ISSUER.match(digits):
        return False
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[::-2]))) % 10 == 0


def _is_identity(found: Found) -> bool:
    digits = plain_digits(found[0])
    return is_identity_number(digits) and (len(digits) == 18 or _IDENTITY_CUE.search(before(found)) is not None)


def _is_card(found: Found) -> bool:
    grouped = " " in found[0] or "-" in found[0]
    return is_card_number(plain_digits(found[0])) and (grouped or _CARD_CUE.search(before(found)) is not None)


def _is_mobile(found: Found) -> bool:
    """Return whether a match is a mobile number, by its prefix and by what is before and after it."""
    national = plain_digits(found[0]).removeprefix("00").removeprefix("86")
    if _MOBILE_PREFIX.match(national) is None:
        return False
    ahead, end = found.string, found.end()
    if (longer := _LONGER.match(ahead, end)) and _MOBILE.match(ahead, longer.start() + 1) is None:
        # 138-0013-8000-1234 and 13800138000-1234567 are other numbers; 13800138000 2019 and 13800138000-802 are not.
        separated = found[0][-5] in "- "
        if (separated and ahead[end] == found[0][-5]) or (ahead[end] == "-" and longer.end() - end > 5):
            return False
    if _PHONE_CUE.search(before(found)) or _NUMBER_BEFORE.search(before(found)):
        return True
    if _PART_OF_MORE.search(before(found)):
        return False
    return _WORD_AFTER.match(ahead, end) is not None or _AFTER_AMOUNT.match(ahead, end) is None


def _is_written(found: Found) -> bool:
    """Return whether signs, not all of them plain digits, are those of a mobile number."""
    number = "".join(_WRITTEN_DIGITS.get(sign, "") or str(unicodedata.digit(sign, "")) for sign in found[0])
    return plain_digits(found[0]) != number and _MOBILE_PREFIX.match(number) is not None


def _is_public(found: Found) -> bool:
    """Return whether an address is on the public internet; 4.2.2.1 is more likely a version or the number of a section."""
    try:
        address = ip_address(found[0])
    except ValueError:
        return False
    if _VERSION.search(before(found)) or not address.is_global:
        return False
    return isinstance(address, IPv6Address) or sum(len(part) > 1 for part in found[0].split(".")) >= 2


def _is_plate(found: Found) -> bool:
    return sum(sign.isdecimal() for sign in found[0][2:]) >= _PLATE_DIGITS


NUMBERS = (
    Detector("identity", _IDENTITY, _is_identity),
    Detector("card", _CARD, _is_card),
    Detector("phone", _MOBILE, _is_mobile, follows=True),
    Detector("phone", WRITTEN, _is_written),
    Detector("passport", _PASSPORT),
    Detector("phone", _LANDLINE),
    Detector("phone", _CALLED),
    Detector("phone", _SECOND, follows=True),
    Detector("plate", _PLATE, _is_plate),
    Detector("ip", _IPV4, _is_public),
    Detector("ip", IPV6, _is_public),
)
"""In the order in which they are searched for."""
