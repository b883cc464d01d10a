"""Choices that stand in a question's text."""

from __future__ import annotations

import time

import pytest

from vilbench.problems.adapters.options import Asked, apart, without, without_hint

TEN = ", ".join(f"{letter}: {number}" for number, letter in enumerate("ABCDEFGHIJ", 1))


@pytest.mark.parametrize(
    ("text", "question", "choices"),
    [
        ("Find x.\nChoices:\nA: 30\nB: 45\nC: 60", "Find x.", ("30", "45", "60")),
        ("Q?\nChoice:\nA.5 cm\nB.5 m", "Q?", ("5 cm", "5 m")),
        ("Q?\nChoices:\n(A) 97\n(B) 102\n", "Q?", ("97", "102")),
        ("Q? Options: A: a, b, and c, B: d., C: e", "Q?", ("a, b, and c", "d.", "e")),
        (f"Q?\nOptions: {TEN}", "Q?", tuple(str(number) for number in range(1, 11))),
        ("Options: A: x, B: y", "", ("x", "y")),
        ("Which way?\n\nA. Left\nB. Right", "Which way?", ("Left", "Right")),
        ("Of A: the set, choose.\nA. x\nB. y", "Of A: the set, choose.", ("x", "y")),
        ("如图\nChoices:\nA:65°\nB:55°", "如图", ("65°", "55°")),
        ("Q\nOPTIONS:\nA. $\\frac{1}{2}$\nB. 2", "Q", ("$\\frac{1}{2}$", "2")),
    ],
)
def test_choices_are_told_from_the_question(
    text: str, question: str, choices: tuple[str, ...]
) -> None:
    assert apart(text) == Asked(question, choices)


@pytest.mark.parametrize(
    "text",
    [
        "What is it?",
        "Look at figure A.\nB. is what?",
        "A. Person walks.",
        "Q?\nA. x\nC. y",
        "Q?\nA. x\nA. y",
        "Q?\nChoices:\nA: x",
        "Q?\nChoices:\nA: x\nB:",
        "Q?\nChoices:\nA: x\nB: y, C: z",
        # What follows the choices would become part of the last one.
        "Q?\nChoices:\n(A) 1\n(B) 2\nAnswer with the letter.",
        "Q?\nOptions: A: 1, B: 2\nAnswer with the letter.",
    ],
)
def test_a_question_stays_whole_where_its_choices_are_not_clear(text: str) -> None:
    assert apart(text) == Asked(text, ())


@pytest.mark.parametrize(
    "text",
    [
        "\nchoices: " * 20_000,
        "A. x\n" * 50_000,
        "A. x\nB. y\n" * 30_000,
        "Options: A: " + "B" * 500_000,
        "Options: A:" + " ,B" * 100_000,
        " " * 300_000 + "choices",
        "(" * 300_000,
    ],
    ids=range(7),
)
def test_hostile_text_takes_no_time(text: str) -> None:
    begun = time.process_time()
    apart(text)
    assert time.process_time() - begun < 2


def test_instructions_are_taken_off() -> None:
    hint = "Hint: Please answer with a number.\nQuestion: How many?\nIn all."
    assert without_hint(hint) == "How many?\nIn all."
    assert without_hint("Hint: it is red.") == "Hint: it is red."
    assert without("How many?\nSay it.", ("Say it.",)) == "How many?"
