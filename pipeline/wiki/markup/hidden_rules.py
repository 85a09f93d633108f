"""Conversion rules for the whole page inside text that is dropped: the page must not lose them.

    hidden_rules("| 名 = -{A|zh-cn:大仲马;zh-tw:大仲馬}-| 年 = -{zh-cn:甲;zh-tw:乙}-")     "-{H|zh-cn:大仲马;zh-tw:大仲馬}-"

Rules with the flags A (add), H (add without showing), T (title) or - (remove) have an effect elsewhere; others only show text.
"""

import re

_RULE = re.compile(r"-\{([AaHhTt+\-;\s]{1,12}+)\|([^{}]*+)\}-")


def hidden_rules(text: str) -> str:
    """Return these rules in a form that shows nothing."""
    if "-{" not in text:
        return ""
    return "".join(_hidden(flags.upper(), rule) for flags, rule in _RULE.findall(text))


def _hidden(flags: str, rule: str) -> str:
    if "-" in flags:
        return f"-{{-|{rule}}}-"
    return f"-{{{'H;T' if 'T' in flags and 'A' in flags else 'T' if 'T' in flags else 'H'}|{rule}}}-"
