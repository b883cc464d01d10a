from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vilbench.scorers.judge import PROMPTS, Judgement, NoVerdict
from vilbench.testing import scripted_completion
from vilbench.types import Completion, Token

BRIEF = PROMPTS["brief"]


def judged(text: str) -> int:
    return BRIEF.read(scripted_completion(text)).score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Reasoning: fine.\nOverall Score: 4", 4),
        ("overall score: 1", 1),
        ("Score: 5.", 5),
        ("score=3", 3),
        ("**Overall Score:** 3", 3),
        ("**Overall Score**: 3", 3),
        ("**Overall Score: 3**", 3),
        ("### Overall Score: `3`", 3),
        ("Overall Score: [4]", 4),
        ("Overall Score: (4)", 4),
        ("Overall Score:4", 4),
        ("Overall Score: 4/5", 4),
        ("Overall Score: **4**/5", 4),
        ("Overall Score: 4 / 5.", 4),
        ("Overall Score: 4 out of 5", 4),
        ("Overall Score: 4 (out of 5)", 4),
        ("Overall Score: 4.0", 4),
        ("Overall Score: 4.0/5", 4),
        ("Overall Score: 4 (good)", 4),
        ("Overall Score: 4 - a good step", 4),
        ("Overall Score: 4, since it is right.", 4),
        ("Overall Score: 4\n\nOverall Score: 4", 4),
        ("Score: 4. In all: Overall Score: 4.0", 4),
        ("The overall score is 2.", 2),
        ("Accuracy score: 5\nClarity score: 3\nOverall Score: 4", 4),
        ("Overall Score：4", 4),
        ('```json\n{"reasoning": "ok", "overall_score": 4}\n```', 4),
        ('{"score": "2"}', 2),
        ("Reasoning: I get 12, 7. Step 2 is 5 too large.\nOverall Score: 1", 1),
        ("Overall Score: 3\x1b[0m", 3),
    ],
)
def test_scores_that_are_read(text: str, score: int) -> None:
    assert judged(text) == score


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5",
        "4/5",
        "I would give it a 4.",
        "This is excellent.",
        "Overall Score:",
        "Overall Score: four",
        "Overall Score: ４",
        "Overall Score: ٤",
        "Overall Score: ４\nOverall Score: 3",
        "Overall Score: 0",
        "Overall Score: 6",
        "Overall Score: -4",
        "Overall Score: +4",
        "Overall Score: 45",
        "Overall Score: 4.5",
        "Overall Score: 4,5",
        "Overall Score: 4.5/5",
        "Overall Score: 3.99",
        "Overall Score: 4/10",
        "Overall Score: 4 out of 10",
        "Overall Score: 4/5/5",
        "Overall Score: 80%",
        "Overall Score: 4%",
        "Overall Score: 4 %",
        "Overall Score: [1-5]",
        "Overall Score: 1-5",
        "Overall Score: 3 – 4",
        "Overall Score: 3 to 4",
        "Overall Score: 3 or 4",
        "Overall Score: 4th",
        "Overall Score: 4x",
        "Overall Score: 1e1",
        "Overall Score: 0x4",
        "Overall Score: 1.2.3",
        "Overall Score: 99999999999999999999",
        "Overall Score: 2\nOverall Score: 5",
        "Score: 2. Score: 5.",
        "Overall Score: 12345\nOverall Score: 4",
        "Underscore: 4",
        "Scores: 4",
        '{"overall_score": null}',
        '{"overall_score": [3, 4]}',
        "<score>4</score>",
    ],
)
def test_there_is_never_a_score_by_default(text: str) -> None:
    with pytest.raises(NoVerdict):
        judged(text)


def test_reasoning_is_what_stands_before_the_score() -> None:
    found = BRIEF.read(scripted_completion("Reasoning: I get 5.\n**Overall Score:** 4"))
    assert found == Judgement(4, None, "Reasoning: I get 5.")
    assert BRIEF.read(scripted_completion("Overall Score: 4")).reasoning == ""


def test_the_error_says_what_was_found() -> None:
    with pytest.raises(NoVerdict, match="no score in the reply"):
        judged("fine")
    with pytest.raises(NoVerdict, match="scores that differ: 2, 5"):
        judged("Score: 5 Score: 2")
    with pytest.raises(NoVerdict, match=r"not an integer from 1 to 5: 4\.5$"):
        judged("Score: 4.5\nmore")


@given(st.text())
def test_any_reply_gives_a_score_of_the_scale_or_no_verdict(text: str) -> None:
    for reply in (text, f"Overall Score: {text}", f"{text}Score:{text}"):
        try:
            found = BRIEF.read(Completion(reply, "stop"))
        except NoVerdict:
            continue
        assert found.score in range(1, 6)
        assert found.expected is None


@given(st.integers(-20, 120), st.sampled_from(["", "/5", ".", "/10", "0", ".5", " "]))
def test_whole_scores_of_the_scale_alone_are_read(number: int, after: str) -> None:
    good = number in range(1, 6) and after in ("", "/5", ".", " ")
    try:
        assert judged(f"Overall Score: {number}{after}") == number and good
    except NoVerdict:
        assert not good


@pytest.mark.parametrize(
    "unit",
    ["9", "1.", "Score: 4", "Overall Score:", "overall ", "score ", "score: 4 ", "* ", "\n", "(",
     "score: 1" + "0" * 90, "4/5", " ", "Score: 4-"],
)  # fmt: skip
def test_long_replies_are_quick(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.process_time()
    for reply in (text, f"Overall Score: {text}", f"{text}\nOverall Score: 3"):
        try:
            BRIEF.read(Completion(reply, "stop"))
        except NoVerdict:
            continue
    assert time.process_time() - began < 1.0


def probabilities(**masses: float) -> dict[str, float]:
    return {text.replace("_", " "): math.log(mass) for text, mass in masses.items()}


def test_expectation_under_the_probabilities_of_the_score() -> None:
    top = {"4": {"4": math.log(0.6), "5": math.log(0.3), "3": math.log(0.1), "x": math.log(0.5)}}
    found = BRIEF.read(scripted_completion("Reasoning: I get 4.\nOverall Score: 4", top))
    # 4 * 0.6 + 5 * 0.3 + 3 * 0.1
    assert found.expected == pytest.approx(4.2)
    assert found.score == 4


def test_the_probabilities_are_normalized_over_the_five_scores() -> None:
    top = {"5": {"5": math.log(0.2), "1": math.log(0.2), "0": math.log(0.3), "7": math.log(0.1)}}
    assert BRIEF.read(scripted_completion("Score: 5", top)).expected == pytest.approx(3.0)


def test_spellings_of_a_score_add_up() -> None:
    tokens = (
        Token("Score:", -0.1),
        Token(
            " 4", math.log(0.5), {" 4": math.log(0.5), "4": math.log(0.25), " 1": math.log(0.25)}
        ),
    )
    found = BRIEF.read(Completion("Score: 4", "stop", tokens=tokens))
    # 4 * (0.5 + 0.25) + 1 * 0.25; one spelling alone would give 3.25 or 2.5 of less mass.
    assert found.expected == pytest.approx(3.25)


def test_the_expectation_is_read_at_the_last_mention() -> None:
    completion = scripted_completion("Score: 4. Overall Score: 4", {"4": {"4": -0.1, "5": -0.1}})
    assert BRIEF.read(completion).expected == pytest.approx(4.5)


def test_no_expectation_without_log_probabilities_of_scores() -> None:
    def expected(*tokens: Token) -> float | None:
        return BRIEF.read(Completion("Score: 4", "stop", tokens=tokens)).expected

    assert expected() is None
    assert expected(Token("Score: ", -1.0), Token("4", -1.0)) is None
    assert expected(Token("Score: ", -1.0), Token("4", -1.0, {"a": -1.0, "6": -2.0})) is None
    assert expected(Token("Score: ", -1.0), Token("4", -1.0, {"4": -math.inf})) is None
    # Tokens that do not spell the text tell nothing of the place.
    assert expected(Token("Core: ", -1.0), Token(" 4", -1.0, {"4": -0.1})) is None
    assert expected(Token("Score: ", -1.0)) is None
