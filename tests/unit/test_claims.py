from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.problems.puzzles.claims import WORDINGS, Claim, Statement, evaluate, read, word

numbers = st.integers(-(10**8), 10**8).map(str)
subjects = st.sampled_from(
    ["angle A", "red bar", "number of objects", "row 2, column 3", "row of red circle", "start"]
)
values = st.sampled_from(["7", "-3", "empty", "red circle", "row 1, column 4", "+ 4", "* 3", "- 9"])
letters = st.sampled_from("ABCDEFGHIJ")
claims = st.one_of(
    st.builds(Claim, st.just("look"), subjects, values),
    st.builds(
        lambda a, sign, b, value: Claim("equation", f"{a} {sign} {b}", value),
        numbers,
        st.sampled_from("+-*/"),
        numbers,
        numbers,
    ),
    st.builds(Claim, st.just("option"), numbers, letters),
)


def equation(key: str, value: str) -> Claim:
    return Claim("equation", key, value)


def look(key: str, value: str) -> Claim:
    return Claim("look", key, value)


@given(claims, st.integers(0, WORDINGS - 1), st.integers(1, 99))
def test_what_is_worded_is_read_back(claim: Claim, wording: int, number: int) -> None:
    statement = read(f"Step {number}: {word(claim, wording)}")
    assert statement == Statement((claim,), (), opaque=False)


@pytest.mark.parametrize("kind", ["look", "equation", "option"])
def test_every_kind_has_as_many_wordings_as_said(kind: str) -> None:
    claim = {
        "look": look("red bar", "7"),
        "equation": equation("7 + 5", "12"),
        "option": Claim("option", "12", "C"),
    }[kind]
    assert len({word(claim, wording) for wording in range(WORDINGS)}) == WORDINGS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("7 + 5", 12),
        ("7 - 12", -5),
        ("-4 * 3", -12),
        ("400 - -8", 408),
        ("12 / 4", 3),
        ("12 / 5", None),
        ("12 / 0", None),
    ],
)
def test_evaluate(key: str, value: int | None) -> None:
    assert evaluate(key) == value


@pytest.mark.parametrize(
    "marker",
    [
        "",
        "Step 2: ",
        "step 2: ",
        "**Step 2:** ",
        "**Step 2**: ",
        "### Step 2\n",
        "### Step 2: ",
        "2. ",
        "2) ",
        "- ",
        "* Step 2: ",
        "Step two: ",
        "Step 2. ",
        "Step 2 - ",
        "Step #2: ",
        "  \t Step 2: ",
        "> 2. **Step 2:** ",
    ],
)
def test_markers_say_nothing(marker: str) -> None:
    assert read(f"{marker}7 + 5 = 12.") == Statement((equation("7 + 5", "12"),), (), False)
    assert read(f"{marker}the red bar is 7.") == Statement((look("red bar", "7"),), (), False)


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("7+5=12", "7 + 5", "12"),
        ("7 x 5 = 35", "7 * 5", "35"),
        ("7x5=35", "7 * 5", "35"),
        ("7 X 5 = 35", "7 * 5", "35"),
        ("7 × 5 = 35", "7 * 5", "35"),
        ("7 · 5 = 35", "7 * 5", "35"),
        ("12 ÷ 4 = 3", "12 / 4", "3"),
        ("12 − 4 = 8", "12 - 4", "8"),
        ("12-4=8", "12 - 4", "8"),
        ("84° + 52° = 136°", "84 + 52", "136"),
        ("$7 + 5 = 12$", "7 + 5", "12"),
        ("**7 + 5 = 12**", "7 + 5", "12"),
        ("400 - -8 = 408", "400 - -8", "408"),
        ("400 - (-8) = 408", "400 - -8", "408"),
        ("-2 * 3 = -6", "-2 * 3", "-6"),
        ("007 + 05 = 012", "7 + 5", "12"),
        ("So, 7 + 5 = 12!", "7 + 5", "12"),
        ("Therefore this gives 7 + 5 = 12;", "7 + 5", "12"),
        ("7  +  5  =  12", "7 + 5", "12"),
    ],
)
def test_spellings_of_equations(written: str, key: str, value: str) -> None:
    assert read(written) == Statement((equation(key, value),), (), opaque=False)


@pytest.mark.parametrize(
    "written",
    [
        "7 + 5 + 3 = 15",
        "1 + 7 + 5 = 13",
        "7 * 5 + 3 = 8",
        "7 x 5 + 3 = 8",
        "7 + 5 = 12 + 3 = 15",
        "7 + 5 = 12 = 3 * 4",
        "2.7 + 5 = 12",
        "7 + 5 = 12.5",
        "7 + 5 = 12,000",
        "7 + 5 = 12x",
        "7 + 5 = 12%",
        "1234567890 + 1 = 1234567891",
        "7 + 5",
        "7 + 5 =",
        "= 12",
        "(3 + 7) + 5 = 15",
    ],
)
def test_parts_of_longer_equations_are_no_claims(written: str) -> None:
    assert read(written) == Statement((), (), opaque=True)
    assert not [c for c in read(f"As we know, {written}").claims if c.kind == "equation"]


def test_an_equation_amid_text_is_a_claim_and_the_text_stays_opaque() -> None:
    statement = read("Step 3: Adding both bars we find that 7 + 5 = 13 in all.")
    assert statement == Statement((equation("7 + 5", "13"),), (), opaque=True)


def test_every_claim_of_a_step_is_read() -> None:
    expected = (look("red bar", "7"), look("blue bar", "5"), equation("7 + 5", "12"))
    for step in (
        "the red bar is 7. the blue bar is 5. so 7 + 5 = 12.",
        "The red bar is 7, the blue bar is 5, so 7 + 5 = 12",
        "the red bar is 7 and the blue bar is 5; 7 + 5 = 12.",
        "Step 1: the red bar is 7.\nblue bar: 5.\n7 + 5 = 12.",
        "the red bar is 7.\n\n- the blue bar is 5.\n- 7 + 5 = 12.",
    ):
        assert read(step) == Statement(expected, (), opaque=False), step


def test_capitals_are_no_obstacle() -> None:
    assert read("The red bar is 7.").claims == (look("red bar", "7"),)
    assert read("I see the Angle A is 84.").claims == (look("Angle A", "84"),)
    assert read("Option c says 12.").claims == (Claim("option", "12", "C"),)


@pytest.mark.parametrize(
    ("step", "answers"),
    [
        ("7 + 5 = 12.\nAnswer: 12", ("12",)),
        ("7 + 5 = 12. Answer: 12.", ("12",)),
        ("7 + 5 = 12.\n**Answer:** 12", ("12",)),
        ("7 + 5 = 12.\n**Final Answer: 12**", ("12",)),
        ("7 + 5 = 12.\nSo the answer is 12.", ("12",)),
        ("7 + 5 = 12.\nanswer:   12  ", ("12",)),
        ("7 + 5 = 12.\nAnswer: C. 12", ("C. 12",)),
        ("7 + 5 = 12.\nAnswer: 12\nAnswer: 13", ("12", "13")),
        ("7 + 5 = 12.\nAnswer:", ("",)),
        ("7 + 5 = 12.", ()),
    ],
)
def test_answer_lines(step: str, answers: tuple[str, ...]) -> None:
    assert read(step) == Statement((equation("7 + 5", "12"),), answers, opaque=False)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "Step 1:", "**Step 1**", "###"])
def test_a_step_that_says_nothing(text: str) -> None:
    assert read(text) == Statement((), (), opaque=False)


@pytest.mark.parametrize("text", ["hm", "Let me think", ":", "Thought process:", "?" * 50, "٣٤"])
def test_what_is_not_understood_is_opaque(text: str) -> None:
    assert read(text) == Statement((), (), opaque=True)


@given(st.text() | st.text(alphabet="stepxanwriogl 0123456789:.,=+-*/×#()\n", max_size=60))
@settings(max_examples=200)
def test_any_text_is_read_into_well_formed_claims(text: str) -> None:
    for claim in read(text).claims:
        if claim.kind == "equation":
            assert re.fullmatch(r"-?[0-9]+ [-+*/] -?[0-9]+", claim.key)
            assert re.fullmatch(r"-?[0-9]+", claim.value)
        elif claim.kind == "option":
            assert re.fullmatch("[A-Z]", claim.value)
        else:
            assert claim.key and claim.value


@pytest.mark.parametrize(
    "unit",
    ["9", " ", "\n", "#", "-", "> ", "1+", "7 + 5 = ", "the ", "a is ", "answer: ", "so ", ". ",
     "**", "Step 1: ", "x", ", ", "and ", "7 + 5 = 12. ", "(", "\x00", "é", "\U0001f600"],
)  # fmt: skip
def test_long_text_is_quick_and_never_wholly_understood(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.process_time()
    statement = read(text)
    assert time.process_time() - began < 0.5
    assert statement.opaque
