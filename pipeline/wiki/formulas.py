r"""Formulas inside sentences: those that plain text can say stay, all others go.

    plain(r"n+1")                    "n+1"          设<math>n+1</math>为素数 -> 设n+1为素数
    plain(r"\alpha \le 2\pi")        "α ≤ 2π"
    plain(r"x_{1}^2")                "x_1^2"
    plain(r"\frac{a}{b}")            ""             fractions, roots, sums and matrices have no plain form

Names of commands: https://www.mediawiki.org/wiki/Extension:Math/Syntax.
"""

import re

_SYMBOLS = dict(
    entry.split(":")
    for entry in [
        r"alpha:α",
        r"beta:β",
        r"gamma:γ",
        r"delta:δ",
        r"epsilon:ε",
        r"varepsilon:ε",
        r"zeta:ζ",
        r"eta:η",
        r"theta:θ",
        r"iota:ι",
        r"kappa:κ",
        r"lambda:λ",
        r"mu:μ",
        r"nu:ν",
        r"xi:ξ",
        r"pi:π",
        r"rho:ρ",
        r"sigma:σ",
        r"tau:τ",
        r"upsilon:υ",
        r"phi:φ",
        r"varphi:φ",
        r"chi:χ",
        r"psi:ψ",
        r"omega:ω",
        r"Gamma:Γ",
        r"Delta:Δ",
        r"Theta:Θ",
        r"Lambda:Λ",
        r"Xi:Ξ",
        r"Pi:Π",
        r"Sigma:Σ",
        r"Phi:Φ",
        r"Psi:Ψ",
        r"Omega:Ω",
        r"times:×",
        r"cdot:·",
        r"div:÷",
        r"pm:±",
        r"mp:∓",
        r"le:≤",
        r"leq:≤",
        r"ge:≥",
        r"geq:≥",
        r"ne:≠",
        r"neq:≠",
        r"approx:≈",
        r"equiv:≡",
        r"sim:~",
        r"to:→",
        r"rightarrow:→",
        r"infty:∞",
        r"in:∈",
        r"notin:∉",
        r"subset:⊂",
        r"subseteq:⊆",
        r"cup:∪",
        r"cap:∩",
        r"circ:°",
        r"ldots:…",
        r"cdots:…",
        r"dots:…",
        r"prime:′",
        r"hbar:ℏ",
        r"ell:ℓ",
        r"forall:∀",
        r"exists:∃",
        r"partial:∂",
        r"nabla:∇",
        r"perp:⊥",
        r"parallel:∥",
        r"angle:∠",
        r"sin:sin",
        r"cos:cos",
        r"tan:tan",
        r"log:log",
        r"ln:ln",
        r"exp:exp",
        r"lim:lim",
        r"max:max",
        r"min:min",
        r"gcd:gcd",
        r"det:det",
        r"dim:dim",
    ]
)
_SPACES = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~|\s+")
_STYLES = re.compile(
    r"\\(?:mathrm|mathbf|mathit|mathbb|mathcal|mathsf|text|textrm|operatorname|rm|bf|displaystyle|left|right)(?![A-Za-z])"
)
_ESCAPED = re.compile(r"\\([%$#_])")
_COMMAND = re.compile(r"\\([A-Za-z]++)")
_BRACES = re.compile(r"\{([^{}\\]*+)\}")
_PLAIN = re.compile(r"[^\\{}&\n]{1,40}")


def plain(formula: str) -> str:
    """A short formula of letters, digits and signs as text; empty when anything in it needs two dimensions."""
    if len(formula) > 200:
        return ""
    text = _ESCAPED.sub(r"\1", _STYLES.sub("", formula.replace(r"\{", "(").replace(r"\}", ")")))
    text = _COMMAND.sub(lambda match: _SYMBOLS.get(match[1], match[0]), _SPACES.sub(" ", text))
    for _ in range(3):  # braces of `x_{n_{k}}` stand three deep at most in what a line can say
        text = _BRACES.sub(r"\1", text)
    text = " ".join(text.split())
    return text if _PLAIN.fullmatch(text) else ""
