"""Arithmetic of {{#expr:...}} and {{#ifexpr:...}}: numbers, signs, comparisons, and the functions of a pocket calculator.

    evaluate("2 * (3 + 4)")           "14"
    evaluate("1/3 round 2")           "0.33"
    evaluate("7 mod 4 = 3")           "1"
    evaluate("2 +")                   None: MediaWiki shows an error

Operators and their precedence: https://www.mediawiki.org/wiki/Help:Extension:ParserFunctions##expr.
"""

import math
import operator
import re
from collections.abc import Callable

_TOKEN = re.compile(r"\s*+(?:(\d++(?:\.\d*+)?|\.\d++)|([a-z]++)|(<>|!=|<=|>=|[-+*/^()=<>−×÷]))")
_MAX_LENGTH = 300
_Number = float | int


def _power(base: _Number, exponent: _Number) -> _Number:
    if abs(exponent) > 1000:
        raise OverflowError
    result = float(base) ** exponent
    if isinstance(result, complex):
        raise ArithmeticError
    return result


def _round(number: _Number, digits: _Number) -> _Number:
    """Round half away from zero, as PHP does."""
    scale = 10.0 ** max(-20, min(20, int(digits)))
    return math.copysign(math.floor(abs(number) * scale + 0.5) / scale, number)


_BINARY: dict[str, tuple[int, Callable[[_Number, _Number], _Number]]] = {
    "e": (10, lambda a, b: a * _power(10, b)),
    "^": (9, _power),
    "*": (8, operator.mul),
    "×": (8, operator.mul),
    "/": (8, operator.truediv),
    "÷": (8, operator.truediv),
    "div": (8, operator.truediv),
    "mod": (8, lambda a, b: math.fmod(int(a), int(b))),
    "fmod": (8, math.fmod),
    "+": (7, operator.add),
    "-": (7, operator.sub),
    "−": (7, operator.sub),
    "round": (6, _round),
    **{sign: (5, function) for sign, function in (("=", operator.eq), ("<", operator.lt), (">", operator.gt))},
    **{sign: (5, function) for sign, function in (("<=", operator.le), (">=", operator.ge))},
    **{sign: (5, operator.ne) for sign in ("<>", "!=")},
    "and": (4, lambda a, b: bool(a) and bool(b)),
    "or": (3, lambda a, b: bool(a) or bool(b)),
}
_UNARY: dict[str, Callable[[_Number], _Number]] = {
    "-": operator.neg,
    "−": operator.neg,
    "+": operator.pos,
    "not": operator.not_,
    "abs": abs,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "floor": math.floor,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "ln": math.log,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
}
_UNARY_STRENGTH = 9
_CONSTANTS = {"pi": math.pi, "e": math.e}


def evaluate(expression: str) -> str | None:
    """Return the value as MediaWiki shows it: "" for an empty expression; None for one that is wrong or too long."""
    if not expression.strip():
        return ""
    tokens = _tokens(expression.lower()) if len(expression) <= _MAX_LENGTH else []
    try:
        calculation = _Calculation(tokens)
        value = calculation.value(0)
        return _shown(value) if calculation.is_finished() else None
    except (ArithmeticError, ValueError, LookupError):
        return None


def _tokens(expression: str) -> list[str]:
    """Return the tokens; none if anything else is in the expression."""
    tokens = []
    place = 0
    expression = expression.rstrip()
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            return []
        tokens.append(match[0].strip())
        place = match.end()
    return tokens


class _Calculation:
    """Precedence climbing over tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._place = 0

    def is_finished(self) -> bool:
        return self._place == len(self._tokens)

    def value(self, strength: int) -> _Number:
        """Return the value of what operators of more than this strength bind.

        Raises: IndexError, ValueError, ArithmeticError for an expression that is wrong.
        """
        left = self._operand()
        while not self.is_finished():
            name = self._tokens[self._place]
            if name not in _BINARY or _BINARY[name][0] <= strength:
                break
            self._place += 1
            precedence, function = _BINARY[name]
            left = function(left, self.value(precedence))
        return left

    def _operand(self) -> _Number:
        token = self._tokens[self._place]
        self._place += 1
        if token == "(":
            value = self.value(0)
            if self._tokens[self._place] != ")":
                raise ValueError
            self._place += 1
            return value
        if token in _UNARY:
            return _UNARY[token](self.value(_UNARY_STRENGTH))
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        return float(token)


def _shown(value: _Number) -> str:
    """Return a number as PHP prints it: whole numbers without a point, others with 14 digits."""
    if not math.isfinite(value):
        raise ArithmeticError
    text = f"{float(value):.14G}"
    if "E" in text:
        digits, _, exponent = text.partition("E")
        return f"{digits if '.' in digits else digits + '.0'}E{int(exponent):+d}"
    return "0" if text == "-0" else text
