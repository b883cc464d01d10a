"""Steps in other words of the same meaning, by rules that hold it.

    wording       puzzles: each claim in another of the wordings that solutions of puzzles use
    operands      "7 + 5 = 12" as "5 + 7 = 12", for sums and products that stand alone
    connective    a leading so, thus, hence or therefore as another of them
    number-words  "there are 3 bars" as "there are three bars", up to twelve
    full-stop     the full stop at the end of a line dropped, or set where there is none
    spacing       blanks between words doubled

Of puzzles a rewrite counts only where the exact checker reads the same claims in it and
labels every step alike. `wording` stays inside what the embedded models were trained on, so
that it measures inconsistency; the others may show them words or spellings that they never
met, and what moves then is ignorance as well. Markers, answer lines and texts with code or
LaTeX are left alone. Consistency under meaning-preserving rewrites as a property of reward
models: reWordBench (Wu et al. 2025).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from vilbench.diagnostics.probes.variants import Rewrite, Variant, with_steps
from vilbench.evaluate.labels import checked
from vilbench.problems.puzzles.claims import WORDINGS, read, word
from vilbench.types import Problem, Solution

_MARKER = re.compile(r"(?:[#*]{0,3} ?)?step \d{1,3}[:.)][* ]{0,3}", re.IGNORECASE)
_ANSWER = re.compile(r"[*\s]{0,4}(?:the )?(?:final )?answer\b", re.IGNORECASE)
_NOT_PROSE = re.compile(r"```|`|\$|\\|^\s{4}|\|", re.MULTILINE)
_SUM = re.compile(
    r"(?<![\w.,()=+*/×·÷-])(?<![\d=+*/x×·÷-] )"
    r"(\d{1,9}(?:\.\d{1,9})?) ([+*×]) (\d{1,9}(?:\.\d{1,9})?)(?= = )"
)
_CONNECTIVES = ("so", "thus", "hence", "therefore")
_CONNECTIVE = re.compile(
    r"(?:\A|(?<=[.!?;] ))(so|thus|hence|therefore)(?=,? )"
    r"(?! (?:that|far|much|many|long|as|on|called|few|little)\b)",
    re.IGNORECASE,
)
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_COUNTED = re.compile(
    r"\b((?:there (?:are|were)|(?:we|I) (?:see|count|have)|has|have|shows?|contains?) )"
    r"(\d{1,2})(?= [a-z]{3,30}s\b)(?! (?:degrees|percents|units|times|plus|minus|litres|liters"
    r"|metres|meters|grams|inches|miles|pounds|dollars|cents)\b)",
    re.IGNORECASE,
)
_FINAL = re.compile(r"(?<=[\w)])(\.?)\Z")
_GAP = re.compile(r"(?<=\w) (?=\w)")

Line = Callable[[str, random.Random], str]
"""A line of prose, without its marker, in other words."""


def _by_lines(change: Line) -> Rewrite:
    """Rewrites every line of every step that is prose, and holds the result to the checker."""

    def rewrite(problem: Problem, solution: Solution, rng: random.Random) -> Solution | None:
        if _NOT_PROSE.search(solution.text):
            return None
        steps = [
            "\n".join(_line(line, change, rng) for line in step.split("\n"))
            for step in solution.step_texts()
        ]
        changed = with_steps(solution, steps)
        return changed if changed and _means_the_same(problem, solution, changed) else None

    return rewrite


def _line(line: str, change: Line, rng: random.Random) -> str:
    marker = _MARKER.match(line)
    body = line[marker.end() :] if marker else line
    if not body.strip() or _ANSWER.match(body):
        return line
    return line[: len(line) - len(body)] + change(body, rng)


def _means_the_same(problem: Problem, before: Solution, after: Solution) -> bool:
    """Of a puzzle whether the checker says the same of every step; of others the rule itself."""
    labels = checked(problem, before)
    return labels is None or checked(problem, after) == labels


def _wording(body: str, rng: random.Random) -> str:
    """A claim in another of the puzzles' wordings; what is no single claim stays."""
    said = read(body)
    if said.opaque or said.answers or len(said.claims) != 1:
        return body
    (claim,) = said.claims
    others = [one for number in range(WORDINGS) if (one := word(claim, number)) != body]
    others = [one for one in others if read(one) == said]
    return rng.choice(others) if others else body


def _of_puzzles(rewrite: Rewrite) -> Rewrite:
    def only(problem: Problem, solution: Solution, rng: random.Random) -> Solution | None:
        known = {"facts", "equations"} <= problem.metadata.keys()
        return rewrite(problem, solution, rng) if known else None

    return only


def _operands(body: str, rng: random.Random) -> str:
    return _SUM.sub(lambda found: f"{found[3]} {found[2]} {found[1]}", body)


def _connective(body: str, rng: random.Random) -> str:
    def other(found: re.Match[str]) -> str:
        said = found[1]
        chosen = rng.choice([one for one in _CONNECTIVES if one != said.lower()])
        return chosen.capitalize() if said[0].isupper() else chosen

    return _CONNECTIVE.sub(other, body)


def _number_words(body: str, rng: random.Random) -> str:
    def spelt(found: re.Match[str]) -> str:
        number = int(found[2])
        return found[1] + (_WORDS[number] if number < len(_WORDS) else found[2])

    return _COUNTED.sub(spelt, body)


def _full_stop(body: str, rng: random.Random) -> str:
    return _FINAL.sub(lambda found: "" if found[1] else ".", body)


def _spacing(body: str, rng: random.Random) -> str:
    return _GAP.sub("  ", body)


WORDING = Variant("paraphrase", "wording", 1, rewrite=_of_puzzles(_by_lines(_wording)))
OPERANDS = Variant("paraphrase", "operands", 1, rewrite=_by_lines(_operands))
CONNECTIVE = Variant("paraphrase", "connective", 1, rewrite=_by_lines(_connective))
NUMBER_WORDS = Variant("paraphrase", "number-words", 1, rewrite=_by_lines(_number_words))
FULL_STOP = Variant("paraphrase", "full-stop", 1, rewrite=_by_lines(_full_stop))
SPACING = Variant("paraphrase", "spacing", 1, rewrite=_by_lines(_spacing))
