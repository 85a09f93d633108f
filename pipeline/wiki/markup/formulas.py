r"""Formulas inside sentences: kept if plain text can express them, otherwise dropped.

    plain(r"n+1")                    "n+1"          设<math>n+1</math>为素数 -> 设n+1为素数
    plain(r"\alpha \le 2\pi")        "α ≤ 2π"
    plain(r"x_{1}^2")                "x_1^2"
    plain(r"\frac{a}{b}")            ""             fractions, roots, sums and matrices have no plain form

Names of commands: https://www.mediawiki.org/wiki/Extension:Math/Syntax.
"""

import re

_COMMANDS = """
    alpha:α beta:β gamma:γ delta:δ epsilon:ε varepsilon:ε zeta:ζ eta:η theta:θ iota:ι kappa:κ lambda:λ mu:μ nu:ν xi:ξ pi:π
    rho:ρ sigma:σ tau:τ upsilon:υ phi:φ varphi:φ chi:χ psi:ψ omega:ω Gamma:Γ Delta:Δ Theta:Θ Lambda:Λ Xi:Ξ Pi:Π Sigma:Σ Phi:Φ
    Psi:Ψ Omega:Ω times:× cdot:· div:÷ pm:± mp:∓ le:≤ leq:≤ ge:≥ geq:≥ ne:≠ neq:≠ approx:≈ equiv:≡ sim:~ to:→ rightarrow:→
    infty:∞ in:∈ notin:∉ subset:⊂ subseteq:⊆ cup:∪ cap:∩ circ:° ldots:… cdots:… dots:… prime:′ hbar:ℏ ell:ℓ forall:∀ exists:∃
    partial:∂ nabla:∇ perp:⊥ parallel:∥ angle:∠ sin:sin cos:cos tan:tan log:log ln:ln exp:exp lim:lim max:max min:min gcd:gcd
    det:det dim:dim
"""
_SYMBOLS = dict(entry.split(":") for entry in _COMMANDS.split())
_SPACES = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~|\s+")
_STYLES = re.compile(
    r"\\(?:mathrm|mathbf|mathit|mathbb|mathcal|mathsf|text|textrm|operatorname|rm|bf|displaystyle|left|right)(?![A-Za-z])"
)
_ESCAPED = re.compile(r"\\([%$#_])")
_COMMAND = re.compile(r"\\([A-Za-z]++)")
_BRACES = re.compile(r"\{([^{}\\]*+)\}")
_PLAIN = re.compile(r"[^\\{}&\n]{1,40}")


def plain(formula: str) -> str:
    """Return a short formula of letters, digits and signs as text; "" if any of it needs two dimensions."""
    if len(formula) > 200:
        return ""
    text = _ESCAPED.sub(r"\1", _STYLES.sub("", formula.replace(r"\{", "(").replace(r"\}", ")")))
    text = _COMMAND.sub(lambda match: _SYMBOLS.get(match[1], match[0]), _SPACES.sub(" ", text))
    for _ in range(3):  # a formula that fits on a line nests braces three deep at most: `x_{n_{k}}`
        text = _BRACES.sub(r"\1", text)
    text = " ".join(text.split())
    return text if _PLAIN.fullmatch(text) else ""
