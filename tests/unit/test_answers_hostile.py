"""Hostile answers: nothing hangs, nothing crashes, nothing is thought right."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from vilbench.answers import comparison, read
from vilbench.answers.equality import COMPARER, Comparer, Limits
from vilbench.types import AnswerKind, Problem

GOLDS: dict[AnswerKind, str] = {
    "choice": "B",
    "choices": "A,B",
    "number": "12",
    "text": "red",
    "list": "[1, 3]",
    "expression": "2\\sqrt{3}",
}
CPU = 5.0
"""Seconds of processor time that no answer may pass, here or in the worker."""

COMPUTING = [
    "9^{9^{9^9}}",
    "9^{9^{9^{9^{9^9}}}} - 9^{9^{9^{9^{9^9}}}}",
    "100000!!!!",
    "((10^9)!)!",
    "(x+y+z+1)^{3000}",
    "\\sum_{i=1}^{10^{10}} i^{i}",
    "\\prod_{k=1}^{10^{9}} k",
    "\\int_0^1 e^{x^2} \\sin(x^3) \\log(x) dx",
    "\\binom{10^{9}}{10^{8}}",
    "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}^{100000000}",
    "x^{x^{x^{x^x}}}=3",
    "\\lim_{n\\to\\infty}(1+\\frac{1}{n})^{n^{n}}",
    "\\sqrt[10^{9}]{10^{10^{9}}}",
    "10^{10^{10}}\\%",
    "\\frac{1}{" * 25 + "2" + "}" * 25,
    "\\sqrt{" * 28 + "2" + "}" * 28,
    "+".join(f"\\sqrt{{{n}}}" for n in range(2, 60))[:400],
]
LONG = [
    "({" * 200 + "1" + "})" * 200,
    "[\\{\\frac{" * 60_000,
    "\\boxed{" * 100_000,
    "$x$ and A and " * 50_000 + "$",
    "9" * 1_000_000,
    "-" * 1_000_000,
    "\\text{" * 100_000 + "}" * 100_000,
    "1:1-" * 100_000,
    "((1,999)," * 100_000,
    "x is not =\\pm " * 60_000,
    "选答案是因此" * 60_000,
    "½\x00\u202e" * 60_000,
    "the " * 60_000,
    "A is wrong, " * 60_000,
]


def problem(kind: AnswerKind) -> Problem:
    choices = ("12 cm", "\\frac{1}{2}", "直角") if kind.startswith("choice") else ()
    return Problem(
        id="p", source="s", question="q", answer=GOLDS[kind], answer_kind=kind, choices=choices
    )


@pytest.fixture(scope="module")
def quick() -> Iterator[Comparer]:
    """One with a short limit, so that the tests are short."""
    comparer = Comparer(Limits(cpu=0.5))
    yield comparer
    comparer.close()


@pytest.mark.parametrize("text", COMPUTING)
def test_what_computes_without_end_is_ended(
    text: str, quick: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "COMPARER", quick)
    start = time.process_time()
    assert read(f"Answer: ${text}$", problem("expression")).verdict == "wrong"
    assert time.process_time() - start < 1
    assert quick.tally.longest < 1
    assert quick.tally.started <= 1  # nothing brings down the worker itself


@pytest.mark.parametrize("text", COMPUTING[:2])
def test_the_limits_that_are_shipped(text: str) -> None:
    assert read(f"Answer: ${text}$", problem("expression")).verdict == "wrong"
    assert COMPARER.tally.longest < CPU


@pytest.mark.parametrize("kind", GOLDS)
@pytest.mark.parametrize("form", ["{}", "Answer: {}", "\\boxed{{{}}}"])
def test_long_answers_are_quick(
    kind: AnswerKind, form: str, quick: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "COMPARER", quick)
    for text in LONG:
        start = time.process_time()
        assert read(form.format(text), problem(kind)).verdict != "correct"
        assert time.process_time() - start < CPU, text[:20]
