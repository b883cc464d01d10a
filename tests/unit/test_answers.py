"""Final answers: what is read from replies, their normal form, their verdicts."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.answers import Reading, extract, grade, normalize, read
from vilbench.answers.numbers import canonical, quantities, rounded
from vilbench.answers.wording import plain, worded
from vilbench.types import AnswerKind, Problem

AREAS = ("6 cm", "12 cm", "12.5 cm", "24 cm")


def problem(
    kind: AnswerKind = "number",
    answer: str = "12",
    choices: tuple[str, ...] = (),
    precision: int | None = None,
    unit: str | None = None,
) -> Problem:
    return Problem(
        id="p",
        source="test",
        question="q",
        answer=answer,
        answer_kind=kind,
        choices=choices,
        precision=precision,
        unit=unit,
    )


CHOICE = problem("choice", "B", AREAS)
TEN = problem("choice", "J", tuple(f"reading {i}" for i in range(10)))
MANY = problem("choice", "Z", tuple(f"reading {i}" for i in range(26)))
NUMBER = problem()
TEXT = problem("text", "red")
YES = problem("text", "Yes")

CHOICE_REPLIES = [
    ("B", "B"),
    ("(B)", "B"),
    ("b", "B"),
    ("b) 12 cm", "B"),
    ("B. 12 cm", "B"),
    ("B 12 cm", "B"),
    ("**B**", "B"),
    ("12 cm", "B"),
    ("The area is 12 cm.", "B"),
    ("The area is 12.5 cm.", "C"),
    ("$\\boxed{B}$", "B"),
    ("\\boxed{\\text{B. 12 cm}}", "B"),
    ("Step 1: 3 * 4 = 12.\nAnswer: B", "B"),
    ("Step 1: 3 * 4 = 12.\n**Answer:** B", "B"),
    ("Step 1: 3 * 4 = 12.\n**Answer: B. 12 cm**", "B"),
    ("### Final Answer\n\n**(B) 12 cm**", "B"),
    ("Step 1: so it could be A.\nAnswer:\nB", "B"),
    ("Answer: A\nWait, that is wrong.\nAnswer: B", "B"),
    ("The answer is A? No. \\boxed{C}\nFinal answer: B", "B"),
    ("Some thoughts.\n\nTherefore, the correct option is (B).", "B"),
    ("Thus the correct answer is option B, because 3 times 4 is 12.", "B"),
    ("The final answer is: $\\boxed{\\textbf{(B)}}$.", "B"),
    ("So we choose B.", "B"),
    ("We multiply the sides.\nSo the area is 12 cm, option B", "B"),
    ("We multiply the sides.\nTherefore the area is 12 cm.", "B"),
    ("<think>A is tempting.</think>\n<answer>B</answer>", "B"),
    ("It is not A, so B.", "B"),
    ("Answer - B", "B"),
    ("I would go with B.", "B"),
    ("Based on the image, the correct choice is:\n\n**B. 12 cm**", "B"),
    ("**Final Answer**\n\nThe correct option is:\n\\[\n\\boxed{B}\n\\]", "B"),
    ("The answer is option A or B", None),
    ("A is the right one", "A"),
    ("Answer: A because the sides are short.", "A"),
    ("A rectangle has four sides.", None),
    ("A rectangle of 3 by 4 has an area of 12 cm.", "B"),
    ("I cannot see the image.", None),
    ("I think a careful look is needed.", None),
    ("Answer: E", None),
    ("Answer: A and C", None),
    ("Answer: A, B", None),
    ("Answer: either 6 cm or 24 cm", None),
    ("The answer is not B", None),
    ("", None),
    ("Step 1: the side of 12 cm is given.\nStep 2: the height of 6", None),
]


@pytest.mark.parametrize(("text", "letter"), CHOICE_REPLIES)
def test_choice(text: str, letter: str | None) -> None:
    assert extract(text, CHOICE) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("J", "J"),
        ("The answer is (J).", "J"),
        ("Answer: I", "I"),
        ("Answer: I think it is J.", "J"),
        ("I see reading 9 on the dial.", "J"),
        ("Answer: K", None),
    ],
)
def test_ten_choices(text: str, letter: str | None) -> None:
    assert extract(text, TEN) == letter


def test_choices_up_to_z() -> None:
    assert extract("Option Z", MANY) == "Z"
    assert read("Answer: (z)", MANY) == Reading("Z", "correct")


def test_choice_by_text() -> None:
    animals = problem("choice", "A", ("A dog", "A cat", "A dog and a cat", "None"))
    assert extract("A dog", animals) == "A"
    assert extract("the cat", animals) == "B"
    assert extract("There is a dog and a cat.", animals) == "C"
    roman = problem("choice", "B", ("I", "II", "III", "IV"))
    assert extract("Answer: II", roman) == "B"
    assert extract("Answer: I", roman) == "A"
    swapped = problem("choice", "A", ("B", "A"))
    assert normalize("A", swapped) == "A"  # the letter goes before the text
    numbers = problem("choice", "C", ("3", "30", "1,200", "1/2"))
    assert extract("Answer: 1200", numbers) == "C"
    assert extract("Answer: 0.5", numbers) == "D"
    assert extract("Answer: \\frac{1}{2}", numbers) == "D"


def test_choice_without_texts() -> None:
    inline = problem("choice", "D")
    assert read("Answer: (D) red", inline).verdict == "correct"
    assert read("It shows a red car.", inline) == Reading(None, "unparsed")


NUMBER_REPLIES = [
    ("12", "12"),
    ("12.0", "12"),
    ("x = 12", "12"),
    ("12 cm", "12"),
    ("12cm.", "12"),
    ("Twelve", "12"),
    ("There are twelve cars.", "12"),
    ("Answer: 1,200", "1200"),
    ("Answer: 1{,}200", "1200"),
    ("Answer: $1,234,567.50", "1234567.5"),
    ("Answer: -3.50", "-3.5"),
    ("Answer: −3", "-3"),
    ("Answer: 3/4", "0.75"),
    ("Answer: 1/3", "1/3"),
    ("Answer: 2/6", "1/3"),
    ("Answer: $\\frac{3}{4}$", "0.75"),
    ("Answer: $-\\dfrac{1}{3}$", "-1/3"),
    ("Answer: $2\\frac{1}{2}$", "2.5"),
    ("Answer: 1½", "1.5"),
    ("Answer: 45%", "45"),
    ("Answer: 45\\%", "45"),
    ("Answer: 45 percent", "45"),
    ("Answer: $30^\\circ$", "30"),
    ("Answer: 30°", "30"),
    ("Answer: \\( 30^{\\circ} \\)", "30"),
    ("Answer: 1.2e3", "1200"),
    ("Answer: 1.2 × 10^3", "1200"),
    ("Answer: $1.2 \\times 10^{-3}$", "0.0012"),
    ("Answer: 10⁵", "100000"),
    ("Answer: −10³ J", "-1000"),
    ("Answer: 3 × 10⁵", "300000"),
    ("Answer: 10 m²", "10"),
    ("Answer: 5 × 10³", "5000"),
    ("Answer: 12 \\text{ cm}^2", "12"),
    ("Answer: 12 cm²", "12"),
    ("Answer: $\\boxed{12}$", "12"),
    ("**Final Answer**\n\n\\[\n\\boxed{12}\n\\]", "12"),
    ("Answer: about ~12.5 km", "12.5"),
    ("So $$\\boxed{\\frac{7}{2}}$$", "3.5"),
    ("\\boxed{3} no, \\boxed{4}", "4"),
    ("Answer: 5 + 7 = 12", "12"),
    ("Answer: 12 (rounded to 1 decimal)", "12"),
    ("Answer: 12 because 3 times 4 is it", "12"),
    ("Answer: 12. This is 3 times 4.", "12"),
    ("The answer is 12. There are 3 sides.", "12"),
    ("Step 1: 3 + 4 = 7.\nThe answer is 7 apples.", "7"),
    ("Step 1: 3 + 4 = 7.\nTherefore, x is 7.", "7"),
    ("Step 1: 3 + 4 = 7.\nStep 2: So the angle is 70°.", "70"),
    ("Answer: 2 hours 30 minutes", "2.5"),
    ("Answer: ５", "5"),
    ("Answer: 3\u200b0", "30"),
    ("*12*", "12"),
    ("It is 12!", "12"),
]


@pytest.mark.parametrize(("text", "number"), NUMBER_REPLIES)
def test_number(text: str, number: str) -> None:
    assert read(text, NUMBER).answer == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot tell.",
        "Answer: unknown",
        "Answer:",
        "Answer: 2\\sqrt{3}",
        "Answer: 2√3",
        "Answer: 2\\pi",
        "Answer: 2π",
        "Answer: 2^5",
        "Answer: 2⁵",
        "Answer: 3 + 4",
        "Answer: 5-3",
        "Answer: 5–10",
        "Answer: 3:4",
        "Answer: (1,2)",
        "Answer: 1/0",
        "Answer: 1e999999999",
        "Answer: 2x",
        "Answer: 1.2.3",
        "Answer: 5'6",
        "Step 1: 3 + 4 = 7.\nStep 2: now 7 +",
        "Step 1: 3 + 4 = 7.\nSo the angle is 4",
        "Step 1: the angle is 30.",
        "\\boxed{12",
    ],
)
def test_no_number(text: str) -> None:
    assert read(text, NUMBER) == Reading(None, "unparsed")


@pytest.mark.parametrize(
    ("reply", "gold", "precision", "verdict"),
    [
        ("12.0", "12", None, "correct"),
        ("12.01", "12", None, "wrong"),
        ("0.333", "1/3", None, "wrong"),
        ("2/6", "1/3", None, "correct"),
        ("3.14159", "3.14", 2, "correct"),
        ("3.145", "3.14", 2, "wrong"),
        ("3.145", "3.15", 2, "correct"),
        ("3.1449", "3.14", 2, "correct"),
        ("-2.5", "-3", 0, "correct"),
        ("12.4", "12", 0, "correct"),
        ("0.1 + 0.2", "0.3", None, "unparsed"),
        ("2\\sqrt{3}", "2\\sqrt{3}", None, "correct"),
        ("2 \\sqrt{2}", "2\\sqrt{3}", None, "wrong"),
    ],
)
def test_grading_of_numbers(reply: str, gold: str, precision: int | None, verdict: str) -> None:
    assert read(f"Answer: {reply}", problem(answer=gold, precision=precision)).verdict == verdict


@pytest.mark.parametrize(
    ("reply", "gold", "unit", "verdict"),
    [
        ("5", "5", "cm", "correct"),
        ("5 cm", "5", "cm", "correct"),
        ("5 centimeters", "5 cm", "cm", "correct"),
        ("0.05 m", "5", "cm", "correct"),
        ("5 m", "5", "cm", "wrong"),
        ("5 kg", "5", "cm", "wrong"),
        ("5 apples", "5", "apples", "correct"),
        ("5 in total", "5", "cm", "correct"),
        ("500 cm^2", "500", "cm^2", "correct"),
        ("0.05 m²", "500", "cm^2", "correct"),
        ("500 cm", "500", "cm^2", "correct"),
        ("5 ft 6 in", "66", "inches", "correct"),
        ("90 minutes", "1.5", "hours", "correct"),
        ("30 degrees", "30", "°", "correct"),
    ],
)
def test_units(reply: str, gold: str, unit: str, verdict: str) -> None:
    assert read(f"Answer: {reply}", problem(answer=gold, unit=unit)).verdict == verdict


@pytest.mark.parametrize(
    ("text", "gold", "answer"),
    [
        ("Red", "red", "red"),
        ("Answer: The Red.", "red", "red"),
        ("**Answer:** “red”", "red", "red"),
        ("The answer is red. It stands left of blue.", "red", "red"),
        ("Answer: \\text{red}", "red", "red"),
        ("Answer: R\u200bed\u202e", "red", "red"),
        ("Answer: Ｒｅｄ", "red", "red"),
        ("Yes, it is.", "yes", "yes"),
        ("Answer: Yes it is", "yes", "yes"),
        ("Answer: No", "no", "no"),
        ("Nope.", "no", "no"),
        ("No smoking", "No smoking", "no smoking"),
        ("Answer: top left", "top left", "top left"),
    ],
)
def test_text(text: str, gold: str, answer: str) -> None:
    assert read(text, problem("text", gold)) == Reading(answer, "correct")


def test_text_that_is_not_stated() -> None:
    assert read("Look at the car.\nIt is red, and there is more.", TEXT) == Reading(
        None, "unparsed"
    )
    assert read("Answer: dark red", TEXT) == Reading("dark red", "wrong")
    assert read("No, it is not.", YES) == Reading("no", "wrong")


def test_grade_of_nothing() -> None:
    assert grade(None, NUMBER) == "unparsed"
    assert grade("", NUMBER) == "wrong"


def test_an_article_is_no_vote() -> None:
    assert normalize("a red car", TEXT) == normalize("The red car!", TEXT) == "red car"
    assert normalize("!!!", TEXT) == "!!!"


def test_plain() -> None:
    assert plain("\\left( \\dfrac{1}{2} \\right)") == "( 1/2 )"
    assert plain("\\text{\\textbf{x}} **y** `z` 5\\,cm 90^{\\circ} \\$3") == "x y z 5 cm 90° $3"


def test_rounding_is_half_away_from_zero() -> None:
    assert [rounded(Fraction(x), 1) for x in ("0.25", "0.35", "-0.25", "0.249")] == [3, 4, -3, 2]


@settings(deadline=None)
@given(st.fractions() | st.decimals(allow_nan=False, allow_infinity=False, places=6).map(Fraction))
def test_canonical_numbers_read_back(value: Fraction) -> None:
    text = canonical(value)
    (found,) = quantities(text)
    assert found.value == value
    assert canonical(found.value) == text
    assert grade(text, problem(answer=text)) == "correct"


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_thousands_commas(value: int) -> None:
    assert read(f"Answer: {value:,} cm", NUMBER).answer == str(value)


MARKS = st.text(st.sampled_from("aAbBiIe 01.,/-+%$\\{}()[]*_^`:\n\u200bé½²°x"), max_size=30)
SNIPPETS = st.lists(
    MARKS
    | st.text(max_size=8)
    | st.sampled_from(
        ["Answer: ", "\\boxed{", "\\frac{1}{2}", "the answer is ", "yes, ", "12 cm", "\\text{", "}"]
    ),
    max_size=8,
).map("".join)
PROBLEMS = st.sampled_from(
    [CHOICE, TEN, NUMBER, TEXT, YES, problem(unit="cm"), problem(answer="2π"), problem("choice")]
)


@settings(max_examples=100, deadline=None)
@given(SNIPPETS, PROBLEMS)
def test_normalize_is_idempotent(answer: str, asked: Problem) -> None:
    normal = normalize(answer, asked)
    assert normalize(normal, asked) == normal


@settings(max_examples=100, deadline=None)
@given(SNIPPETS.filter(bool), st.sampled_from(["choice", "number", "text"]))
def test_gold_is_correct(gold: str, kind: AnswerKind) -> None:
    asked = problem(kind, gold, AREAS if kind == "choice" else ())
    assert grade(gold, asked) == "correct"
    assert grade(normalize(gold, asked), asked) == "correct"


@settings(max_examples=100, deadline=None)
@given(SNIPPETS, PROBLEMS)
def test_read_agrees_with_its_parts(text: str, asked: Problem) -> None:
    reading = read(text, asked)
    answer = extract(text, asked)
    assert (reading.answer is None) == (answer is None) == (reading.verdict == "unparsed")
    assert reading.verdict == grade(answer, asked)


@settings(deadline=None)
@given(st.sampled_from("ABCD"), st.text(st.characters(codec="ascii"), max_size=80))
def test_the_answer_line_wins(letter: str, thoughts: str) -> None:
    assert extract(f"{thoughts}\nAnswer: {letter}", CHOICE) == letter


@pytest.mark.parametrize(
    "pattern",
    [
        *("x", "1", "1. ", "$", "(", "{", "\\boxed{", "\\text{", "answer: ", "answer:\n"),
        *(
            "the answer is ",
            "A ",
            "(A)",
            "1/",
            "-5 ",
            "½",
            "12 cm ",
            "so is A ",
            "\u202e",
            " ",
            "\n",
        ),
    ],
)
def test_long_replies_are_quick(pattern: str) -> None:
    text = (pattern * 100_000)[:100_000]
    start = time.process_time()
    for asked in (CHOICE, NUMBER, TEXT):
        read(text, asked)
    assert time.process_time() - start < 2  # a third of a second on an idle core
    assert worded(worded(text)) == worded(text)
