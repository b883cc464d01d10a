r"""One spelling of LaTeX answers: what merely looks different becomes equal.

Spaces, `\dfrac`, `\left`, `\text{}`, "√3", "π", "x²", "≤", degrees and multiplication signs are
brought to one form. Nothing is understood or computed here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from vilbench.answers.wording import unmarked

_SPELLINGS: Final = tuple(
    (re.compile(pattern), spelling)
    for pattern, spelling in (
        (r",?\s+(?:and|or)\s+", ","),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\frac\s?(\d)\s?(\d)", r"\\frac{\1}{\2}"),
        (r"\\(?:left|right|big|Big|bigg|Bigg)(?![a-zA-Z])\.?", ""),
        (r"(?<![\w./}])(\d+)\s?/\s?(\d+)(?=\s?[A-Za-z(\\])", r"\\frac{\1}{\2}"),
        (r"\\(?:displaystyle|limits|mathstrut)\b", ""),
        (r"\\[,;:! ]|\\q?quad\b|~|\{,\}(?=\d{3})", " "),
        (r"\s?\^\s?(?:\{\s?\\circ\s?\}|\\circ\b)|\*?\s?\\degree\b|°", ""),
        (r"\\(?:leqslant|le)(?![a-z])|≤|⩽|<=", r"\\leq "),
        (r"\\(?:geqslant|ge)(?![a-z])|≥|⩾|>=", r"\\geq "),
        (r"\\lt(?![a-z])", "<"),
        (r"\\gt(?![a-z])", ">"),
        (r"\\(?:neq|ne)(?![a-z])|≠|!=", r"\\neq "),
        (r"≈|≅|≃|\\(?:thickapprox|cong|simeq)(?![a-z])", r"\\approx "),
        (r"√\s?\(([^()]*)\)|\bsqrt\s?\(([^()]*)\)", r"\\sqrt{\1\2}"),
        (r"√\s?\{\{([^{}]*)\}\}|√\s?\{([^{}]*)\}", r"\\sqrt{\1\2}"),
        (r"√\s?(\d+(?:\.\d+)?|[A-Za-z])", r"\\sqrt{\1}"),
        (r"\\sqrt\s?(\d)(?!\d)", r"\\sqrt{\1}"),
        (r"π|(?<![\\A-Za-z])pi(?![A-Za-z])", r"\\pi "),
        (r"∞|(?<![\\A-Za-z])(?:infinity|infty|inf)(?![A-Za-z])", r"\\infty "),
        (r"∪|(?<=[)\]])\s?U\s?(?=[(\[])", r"\\cup "),
        (r"\\pm(?![a-z])|±", r"\\pm "),
        (r"\\(?:times|cdot|ast)(?![a-z])|[×·⋅∙]", "*"),
        (r"÷|\\div(?![a-z])", "/"),
        (r"[−–—]", "-"),
        (r"\\lvert|\\rvert|\\vert(?![a-z])|\\mid(?![a-z])", "|"),
        (r"\\([%#&])", r"\1"),
        (r"\\(?:lbrace|\{)", r"\\{"),
        (r"\\(?:rbrace|\})", r"\\}"),
        (r"\^\s?\{([^{}])\}", r"^\1"),
        (r"(?<=[\d)}A-Za-z])\s?\*\s?(?=[\\A-Za-z(])", ""),
        (r"(\\[A-Za-z]+)\s+(?=[A-Za-z])", r"\1~"),
        (r"\s+", ""),
        (r"~", " "),
    )
)
_VULGAR: Final = re.compile(r"[¼½¾⅐-⅞]")
_SUPERSCRIPT: Final = re.compile(r"[⁻⁺]?[⁰¹²³⁴-⁹]+")
_POWER: Final = re.compile(r"(?<=[\w)])\*\*(?=[\w(])")
_WRAPPER: Final = re.compile(
    r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf|it|sf)|mbox|boxed|fbox|operatorname)\s?"
    r"\{([^{}]*)\}"
)


def unwrapped(text: str) -> str:
    r"""`text` with the content of `\text{}`, `\boxed{}` and the like in their place."""
    for _ in range(4):  # wrappers in wrappers
        text, changed = _WRAPPER.subn(r"\1", text)
        if not changed:
            break
    return text


def spelled(text: str) -> str:
    """One spelling of an expression; applying it twice changes nothing."""
    text = _VULGAR.sub(_fraction, text)
    text = _SUPERSCRIPT.sub(
        lambda match: "^{" + unicodedata.normalize("NFKC", match[0]) + "}", text
    )
    text = _POWER.sub("^", unicodedata.normalize("NFKC", text))
    text = unwrapped(unmarked(text))
    for _ in range(2):  # one rule makes way for another
        for pattern, spelling in _SPELLINGS:
            text = pattern.sub(spelling, text)
    return text.strip(" .,;:")


def _fraction(match: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    return f"\\frac{{{over}}}{{{under}}}"
