r"""Formulas inside sentences: kept if a line of text can express them, otherwise dropped.

    plain(r"n+1")                       "n+1"          设<math>n+1</math>为素数 -> 设n+1为素数
    plain(r"\alpha \le 2\pi")           "α ≤ 2π"
    plain(r"x_{1}^2 + e^{-kt}")         "x_1^2 + e^(-kt)"
    plain(r"\frac{1}{2}mv^2")           "1/2 mv^2"
    plain(r"\frac{a+b}{2}")             "(a+b)/2"
    plain(r"\sqrt{2}, \sqrt[3]{x+1}")   "√2, ³√(x+1)"
    plain(r"\sum_{i=1}^n x_i")          ""             sums, integrals and matrices have no plain form

Names of commands: https://www.mediawiki.org/wiki/Extension:Math/Syntax.
"""

import re

_COMMANDS = """
    alpha:α beta:β gamma:γ delta:δ epsilon:ε varepsilon:ε zeta:ζ eta:η theta:θ vartheta:ϑ iota:ι kappa:κ lambda:λ mu:μ nu:ν
    xi:ξ pi:π rho:ρ varrho:ϱ sigma:σ tau:τ upsilon:υ phi:φ varphi:φ chi:χ psi:ψ omega:ω Gamma:Γ Delta:Δ Theta:Θ Lambda:Λ Xi:Ξ
    Pi:Π Sigma:Σ Phi:Φ Psi:Ψ Omega:Ω times:× cdot:· div:÷ pm:± mp:∓ le:≤ leq:≤ ge:≥ geq:≥ ne:≠ neq:≠ approx:≈ equiv:≡ sim:~
    cong:≅ simeq:≃ propto:∝ ll:≪ gg:≫ lt:< gt:> to:→ rightarrow:→ leftarrow:← leftrightarrow:↔ Rightarrow:⇒ implies:⇒ iff:⇔
    Leftrightarrow:⇔ mapsto:↦ infty:∞ in:∈ notin:∉ ni:∋ subset:⊂ subseteq:⊆ supset:⊃ supseteq:⊇ cup:∪ cap:∩ setminus:∖
    emptyset:∅ varnothing:∅ land:∧ wedge:∧ lor:∨ vee:∨ lnot:¬ neg:¬ oplus:⊕ otimes:⊗ circ:° ast:* star:⋆ bullet:• ldots:…
    cdots:… dots:… prime:′ hbar:ℏ ell:ℓ Re:ℜ Im:ℑ aleph:ℵ forall:∀ exists:∃ partial:∂ nabla:∇ perp:⊥ parallel:∥ mid:| angle:∠
    triangle:△ degree:° sin:sin cos:cos tan:tan cot:cot sec:sec csc:csc arcsin:arcsin arccos:arccos arctan:arctan sinh:sinh
    cosh:cosh tanh:tanh log:log lg:lg ln:ln exp:exp lim:lim max:max min:min sup:sup inf:inf gcd:gcd det:det dim:dim ker:ker
    deg:deg arg:arg mod:mod bmod:mod langle:⟨ rangle:⟩ lbrace:( rbrace:) vert:| Vert:‖ lfloor:⌊ rfloor:⌋ lceil:⌈ rceil:⌉ quad:_
    qquad:_ colon::
"""
_SYMBOLS = {name: text.replace("_", " ") for name, _, text in (entry.partition(":") for entry in _COMMANDS.split())}
_WITHOUT_EFFECT = """
    mathrm mathbf mathit mathbb mathcal mathsf mathfrak mathscr boldsymbol bold text textrm textit textbf mbox operatorname rm
    bf it displaystyle textstyle scriptstyle left right big Big bigl bigr Bigl Bigr limits nolimits vec mathop
"""
_STYLES = frozenset(_WITHOUT_EFFECT.split())
_FRACTIONS = frozenset(["frac", "tfrac", "dfrac", "cfrac", "sfrac"])
_CHARACTERS = {"{": "(", "}": ")", ",": " ", ";": " ", ":": " ", " ": " ", "!": "", "|": "‖"}
"""What a backslash before one of these characters shows; others show themselves, and a second backslash has no plain form."""
_TOKEN = re.compile(r"\\([A-Za-z]++)|\\(.)|([^\\])", re.DOTALL)
_SUPERSCRIPTS = str.maketrans("0123456789n", "⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ")
_TERM = re.compile(r"√?[^\W_]+(?:[_^][+\-−]?[^\W_]+)*|[+\-−]?\d+(?:\.\d+)?|\d*[+\-−]|[^\w\s]|\d+(?:\.\d+)?[%°]")
"""What needs no brackets above, below or behind a sign: x, 2π, x_1^2, -1, 2+, ∞."""
_RAISED = frozenset("′°*")
_MAX_LENGTH = 200
_PLAIN = re.compile(r"[^\\{}&\n]{1,60}")


class _NoPlainFormError(Exception):
    """The formula needs two dimensions."""


def plain(formula: str) -> str:
    """Return a short formula of letters, digits and signs as text; "" if any of it needs two dimensions."""
    if len(formula) > _MAX_LENGTH:
        return ""
    try:
        text = " ".join(_Reader(formula).text().split())
    except _NoPlainFormError:
        return ""
    return text if _PLAIN.fullmatch(text) else ""


class _Reader:
    """Reads a formula from left to right; arguments and groups are read by recursion, which its length bounds."""

    def __init__(self, formula: str) -> None:
        self._tokens = [(command or "", escaped or "", character) for command, escaped, character in _TOKEN.findall(formula)]
        self._place = 0

    def text(self, end: str = "") -> str:
        """Return the text up to a closing brace or bracket, or to the end of the formula."""
        shown = ""
        while self._place < len(self._tokens):
            token = self._tokens[self._place]
            if end and token[2] == end:
                self._place += 1
                return shown
            if token[0] in _FRACTIONS:
                shown = _apart(shown, self._next())
                rest = self._tokens[self._place][2] if self._place < len(self._tokens) else ""
                shown += " " if rest.isalnum() else ""
            else:
                shown += self._next()
        if end:
            raise _NoPlainFormError
        return shown

    def _next(self) -> str:
        """Return the text of the next token, with its arguments; "" at the end."""
        if self._place == len(self._tokens):
            return ""
        command, escaped, character = self._tokens[self._place]
        self._place += 1
        if command:
            return self._command(command)
        if escaped:
            if escaped == "\\":
                raise _NoPlainFormError
            return _CHARACTERS.get(escaped, escaped)
        if character == "{":
            return self.text("}")
        if character in "}&":
            raise _NoPlainFormError
        if character in "^_":
            text = self._argument()
            return text if character == "^" and text and set(text) <= _RAISED else character + _bracketed(text)
        return " " if character == "~" or character.isspace() else character

    def _command(self, name: str) -> str:
        if name in _FRACTIONS:
            return f"{_bracketed(self._argument())}/{_bracketed(self._argument())}"
        if name == "sqrt":
            return self._root()
        if name in ("binom", "tbinom", "dbinom"):
            return f"C({self._argument()}, {self._argument()})"
        if name == "pmod":
            return f" (mod {self._argument()})"
        if name in _STYLES:
            if name in ("left", "right") and self._place < len(self._tokens) and self._tokens[self._place][2] == ".":
                self._place += 1
            return ""
        if name not in _SYMBOLS:
            raise _NoPlainFormError
        return _SYMBOLS[name]

    def _root(self) -> str:
        degree = ""
        if self._place < len(self._tokens) and self._tokens[self._place][2] == "[":
            self._place += 1
            degree = self.text("]").strip()
            if not degree or degree.strip("0123456789n"):
                raise _NoPlainFormError
        return f"{degree.translate(_SUPERSCRIPTS)}√{_bracketed(self._argument())}"

    def _argument(self) -> str:
        """Return what a command applies to: a group or one token."""
        while self._place < len(self._tokens) and self._tokens[self._place][2].isspace():
            self._place += 1
        text = self._next().strip()
        if not text and self._place < len(self._tokens):  # \mathrm and the like apply to what follows
            text = self._next().strip()
        if not text:
            raise _NoPlainFormError
        return text


def _apart(before: str, text: str) -> str:
    """Return both texts, with a space if they would run together, as 2 and 1/2."""
    return f"{before} {text}" if before[-1:].isalnum() else before + text


def _bracketed(text: str) -> str:
    """Return a text, in brackets if it has several terms."""
    enclosed = text[0] == "(" and text.find(")") == len(text) - 1
    return text if enclosed or _TERM.fullmatch(text) else f"({text})"
