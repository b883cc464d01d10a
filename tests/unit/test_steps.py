"""Asking for steps and splitting them."""

from __future__ import annotations

import pickle
import time
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import ProblemError
from vilbench.steps import FORMATS, StepFormat, Strategy, extended, question_parts, split
from vilbench.types import BytesSource, Image, Problem

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def cut(text: str, strategy: Strategy = "marker", max_steps: int | None = None) -> list[str]:
    return [text[start:end] for start, end in split(text, strategy, max_steps)]


MARKED = [
    pytest.param(
        "Step 1: The base is 3.\nStep 2: The height is 4.\nAnswer: 12",
        ["Step 1: The base is 3.", "Step 2: The height is 4.\nAnswer: 12"],
        id="plain",
    ),
    pytest.param("Step 1. a\nStep 2. b", ["Step 1. a", "Step 2. b"], id="full-stop"),
    pytest.param("STEP 1 - a\nStep #2) b", ["STEP 1 - a", "Step #2) b"], id="dash-and-hash"),
    pytest.param(
        "**Step 1**\na\n\n**Step 2: Sum**\nb\n\n**Answer:** B",
        ["**Step 1**\na", "**Step 2: Sum**\nb\n\n**Answer:** B"],
        id="bold",
    ),
    pytest.param(
        "### Step 1: Read\n- a\n- b\n\n### Step 2\nc\n\n### Final Answer\n12",
        ["### Step 1: Read\n- a\n- b", "### Step 2\nc\n\n### Final Answer\n12"],
        id="headings",
    ),
    pytest.param(
        "### Step 1\na\n**Step 2** b\nStep 3: c\n### Verification\nd",
        ["### Step 1\na", "**Step 2** b", "Step 3: c", "### Verification\nd"],
        id="mixture",
    ),
    pytest.param("- Step 1: a\n- Step 2: b", ["- Step 1: a", "- Step 2: b"], id="bullets"),
    pytest.param("Step one: a\nStep two: b", ["Step one: a", "Step two: b"], id="words"),
    pytest.param(
        "Step 1: a = 3. Step 2: b = 4. Answer: 7",
        ["Step 1: a = 3.", "Step 2: b = 4. Answer: 7"],
        id="one-line",
    ),
    pytest.param("Step 3: c\nStep 4: d", ["Step 3: c", "Step 4: d"], id="continued"),
    pytest.param(
        "Step 1: a\nStep 2: we know\n1. p\n2. q\n3. r\nStep 3: c",
        ["Step 1: a", "Step 2: we know\n1. p\n2. q\n3. r", "Step 3: c"],
        id="numbers-inside-a-step",
    ),
    pytest.param(
        "Step 1: a\nStep 2 gives the area,\nas in Step 1: see there.\nStep 2: b",
        ["Step 1: a\nStep 2 gives the area,\nas in Step 1: see there.", "Step 2: b"],
        id="mentions",
    ),
    pytest.param(
        "Step 1: a\nStep 1.5: half\nStep 9: no\nStep 2: b",
        ["Step 1: a\nStep 1.5: half\nStep 9: no", "Step 2: b"],
        id="implausible-numbers",
    ),
    pytest.param(
        "Step 1: a\nStep 2: wrong\nLet me begin again.\nStep 1: b\nStep 2: c",
        ["Step 1: a", "Step 2: wrong\nLet me begin again.", "Step 1: b", "Step 2: c"],
        id="begun-again",
    ),
    pytest.param("1. a\n2. b\n3. c", ["1. a", "2. b", "3. c"], id="numbers"),
    pytest.param("1) a\n2) b", ["1) a", "2) b"], id="parentheses"),
    pytest.param(
        "**1. Read** x\n   1. p\n   2. q\n**2. Sum** y",
        ["**1. Read** x\n   1. p\n   2. q", "**2. Sum** y"],
        id="bold-numbers-nested-list",
    ),
    pytest.param(
        "1. a\n2. b:\n1. p\n2. q\n3. r\n3. c",
        ["1. a", "2. b:\n1. p\n2. q\n3. r", "3. c"],
        id="anew",
    ),
    pytest.param(
        "1. a\n   1. p\n   2. q\n   3. r\n2. b",
        ["1. a\n   1. p\n   2. q\n   3. r", "2. b"],
        id="deep",
    ),
    pytest.param(
        "1. In\n2024. That is\n1.5 times\n2. more",
        ["1. In\n2024. That is\n1.5 times", "2. more"],
        id="years-and-decimals",
    ),
    pytest.param(
        "# Area\n\n## Reading\nbase 3\n1. p\n2. q\n## Sum\n12\n## Answer\n12",
        ["## Reading\nbase 3\n1. p\n2. q", "## Sum\n12\n## Answer\n12"],
        id="titles",
    ),
    pytest.param("## Solution\n\n1. a\n2. b", ["1. a", "2. b"], id="bare-heading"),
    pytest.param("**Solution:**\n\nStep 1: a", ["Step 1: a"], id="bare-bold-heading"),
    pytest.param(
        "We need the area, so we read it off.\n\n1. a\n2. b",
        ["We need the area, so we read it off.\n\n1. a", "2. b"],
        id="preamble",
    ),
    pytest.param("One.\n\nTwo.\n\nThree.", ["One.", "Two.", "Three."], id="no-markers"),
    pytest.param("One.\nTwo. Three.", ["One.\nTwo. Three."], id="nothing"),
    pytest.param("The value is\n1. Then go on.", ["The value is\n1. Then go on."], id="wrapped"),
    pytest.param("Step 1: a\r\nStep 2: b\r\n", ["Step 1: a", "Step 2: b"], id="crlf"),
    pytest.param(
        "Step 1: 3\nStep 2: so\nStep 3: The answer is 4",
        ["Step 1: 3", "Step 2: so", "Step 3: The answer is 4"],
        id="answer-in-a-marked-step",
    ),
]


@pytest.mark.parametrize(("text", "steps"), MARKED)
def test_marker(text: str, steps: list[str]) -> None:
    assert cut(text) == steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("One.\n\n\n  Two.\nMore.\n \nThree.", ["One.", "Two.\nMore.", "Three."]),
        ("One.\n\nTwo.\n\nAnswer: 12", ["One.", "Two.\n\nAnswer: 12"]),
        ("One.\n\nTwo.\n\n**Final Answer:**\n\n12", ["One.", "Two.\n\n**Final Answer:**\n\n12"]),
        ("One.\n\n**Final Answer**\n\n\\[\n12\n\\]", ["One.\n\n**Final Answer**\n\n\\[\n12\n\\]"]),
        ("One.\n\nTwo.\n\n$$\\boxed{12}$$", ["One.", "Two.\n\n$$\\boxed{12}$$"]),
        ("One.\n\nSo the answer is 12.", ["One.\n\nSo the answer is 12."]),
        ("Answer: 12\n\nIt is 3 by 4.", ["Answer: 12", "It is 3 by 4."]),
        ("### Read\n\nOne.\n\n**Sum**\n\nTwo.", ["### Read\n\nOne.", "**Sum**\n\nTwo."]),
        ("One:\n\n- a\n\n- b\n\nTwo.", ["One:\n\n- a\n\n- b", "Two."]),
        ("1. a\n\n2. b\n\n   more b\n\nTwo.", ["1. a\n\n2. b\n\n   more b", "Two."]),
        ("One.\n\n$$\na\n\nb\n$$\n\nTwo.", ["One.", "$$\na\n\nb\n$$", "Two."]),
        (
            "\\begin{align}\na\n\nb\n\\end{align}\n\nTwo.",
            ["\\begin{align}\na\n\nb\n\\end{align}", "Two."],
        ),
        ("```\na\n\nb\n```\n\nTwo.", ["```\na\n\nb\n```", "Two."]),
        ("~~~py\na\n\n```\n\nb\n~~~\n\nTwo.", ["~~~py\na\n\n```\n\nb\n~~~", "Two."]),
        ("One.\n\n```\nnever closed\n\nb", ["One.", "```\nnever closed\n\nb"]),
    ],
)
def test_blank_line(text: str, steps: list[str]) -> None:
    assert cut(text, "blank-line") == steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("One\nTwo\n\nThree", ["One", "Two", "Three"]),
        ("One\nTwo:\n- a\n- b\nThree\nAnswer: 1", ["One", "Two:\n- a\n- b", "Three\nAnswer: 1"]),
        ("One\n\\[\na\n\\]\nTwo", ["One", "\\[\na\n\\]", "Two"]),
        ("- a long\nitem\n- b\nTwo", ["- a long\nitem\n- b", "Two"]),
        ("Step 1: a\nStep 2: b", ["Step 1: a", "Step 2: b"]),
    ],
)
def test_newline(text: str, steps: list[str]) -> None:
    assert cut(text, "newline") == steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("It is 3. It is 4! Is it 5? Yes.", ["It is 3.", "It is 4!", "Is it 5?", "Yes."]),
        ("See e.g. Fig. 2 and Eq. 3. Then go.", ["See e.g. Fig. 2 and Eq. 3.", "Then go."]),
        ("Dr. J. R. Smith saw 1.5 m. He left.", ["Dr. J. R. Smith saw 1.5 m.", "He left."]),
        ("This is at point A. Next comes B.", ["This is at point A.", "Next comes B."]),
        ("See No. 5 here. No. It is 4.", ["See No. 5 here.", "No.", "It is 4."]),
        ("We have 5! = 120. So it is.", ["We have 5! = 120.", "So it is."]),
        ("Let $x. Y$ be. Then \\(a. B\\) is.", ["Let $x. Y$ be.", "Then \\(a. B\\) is."]),
        ("Run `a. B` now. Then stop.", ["Run `a. B` now.", "Then stop."]),
        ("It costs $5. Then $6 more. Fine.", ["It costs $5.", "Then $6 more.", "Fine."]),
        ('He said "Go." Then (he left.) Now.', ['He said "Go."', "Then (he left.)", "Now."]),
        ("One\nline. Two\n\nThree", ["One\nline.", "Two", "Three"]),
        ("Step 1. Go on. Now.", ["Step 1. Go on.", "Now."]),
        ("It is 3. So the answer is 3.", ["It is 3. So the answer is 3."]),
        (
            "First. We have:\n- a. B\n- c. D\n\nLast.",
            ["First.", "We have:\n- a. B\n- c. D", "Last."],
        ),
        ("It is 3.\n\nAnswer: 3", ["It is 3.\n\nAnswer: 3"]),
        ("One. It is 3.\n**Final Answer:** B", ["One.", "It is 3.\n**Final Answer:** B"]),
        ("甲是三。乙是四。", ["甲是三。", "乙是四。"]),
        ("Wait... Then go.", ["Wait...", "Then go."]),
    ],
)
def test_sentence(text: str, steps: list[str]) -> None:
    assert cut(text, "sentence") == steps


def test_forgotten_marks_swallow_nothing() -> None:
    assert cut("Step 1: $$a = 1\n\nStep 2: $$b = 2$$\nStep 3: c") == [
        "Step 1: $$a = 1",
        "Step 2: $$b = 2$$",
        "Step 3: c",
    ]
    assert cut("Step 1: \\[a\nStep 2: b\\]") == ["Step 1: \\[a", "Step 2: b\\]"]
    assert cut("Step 1: \\begin{a}\nStep 2: b") == ["Step 1: \\begin{a}", "Step 2: b"]
    assert cut("a \\(b\n\nc\\) d", "blank-line") == ["a \\(b", "c\\) d"]


def test_markers_in_code_are_code() -> None:
    text = "Step 1: run\n```\nStep 2: no\n1. no\n# no\n```\nStep 2: yes"
    assert cut(text) == ["Step 1: run\n```\nStep 2: no\n1. no\n# no\n```", "Step 2: yes"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("text", ["", " ", "\n\n\t\r\n", "\u2003\u00a0\n"])
def test_blank_text_has_no_steps(text: str, strategy: Strategy) -> None:
    assert split(text, strategy) == ()


def test_max_steps_merges_evenly() -> None:
    text = "\n".join(f"Step {k}: s{k}" for k in range(1, 8))
    assert len(cut(text, max_steps=12)) == 7
    assert cut(text, max_steps=1) == [text]
    assert [step.count("Step") for step in cut(text, max_steps=3)] == [3, 2, 2]
    assert cut(text, max_steps=3)[1] == "Step 4: s4\nStep 5: s5"
    assert cut("", max_steps=3) == []
    with pytest.raises(ValueError, match="max_steps"):
        split(text, "marker", 0)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 20))
def test_groups_differ_by_at_most_one(count: int, most: int) -> None:
    text = "\n".join(f"Step {k}: s" for k in range(1, count + 1))
    sizes = [step.count("Step") for step in cut(text, max_steps=most)]
    assert len(sizes) == min(count, most)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1


PIECES = st.sampled_from(
    [
        *(
            "Step 1: ",
            "Step 2: ",
            "\nStep 3:",
            "1. ",
            "2) ",
            "- a",
            "**Step 1**",
            "### title",
            "**b**",
        ),
        *(
            "\n",
            "\n\n",
            " ",
            ". ",
            "! A",
            ":\n",
            "```",
            "~~~",
            "$",
            "$$",
            "\\[",
            "\\]",
            "\\(",
            "\\)",
        ),
        *(
            "\\begin{a}",
            "\\end{a}",
            "`",
            "word",
            "e.g.",
            "Answer: 12",
            "\\boxed{1}",
            "。",
            "\u200f",
            "\x00",
        ),
        *("\r\n", "\x1c", "\u2028", "    ", "\\\\", "\\$", "5"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join)
ANY = st.sampled_from(STRATEGIES)
LIMIT = st.none() | st.integers(1, 4)


@settings(max_examples=100, deadline=None)
@given(TEXTS, ANY, LIMIT)
def test_spans_are_sound(text: str, strategy: Strategy, limit: int | None) -> None:
    spans = split(text, strategy, limit)
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(text)
        step = text[span.start : span.end]
        assert step == step.strip()
        assert not text[end : span.start].strip() or end == 0
        end = span.end
    assert not text[end:].strip()
    assert bool(spans) == bool(text.strip())
    assert limit is None or len(spans) <= limit
    # Only a bare heading before the first marker is in no step.
    before = text[: spans[0].start].strip() if spans else ""
    assert not before or strategy == "marker"
    for line in before.split("\n"):
        assert line.strip() == "" or line.strip()[0] in "#*" or line.strip()[-1] in ":："


@settings(max_examples=100, deadline=None)
@given(TEXTS, ANY)
def test_merging_all_spans_from_first_to_last(text: str, strategy: Strategy) -> None:
    spans = split(text, strategy)
    merged = split(text, strategy, 1)
    assert merged == (((spans[0].start, spans[-1].end),) if spans else ())


@settings(max_examples=100, deadline=None)
@given(
    TEXTS.filter(lambda text: "`" not in text and "~" not in text),
    TEXTS.filter(lambda text: "`" not in text and "~" not in text),
    TEXTS.filter(lambda text: "`" not in text and "~" not in text),
    st.sampled_from(["```", "~~~", "````"]),
    ANY,
)
def test_a_fence_is_never_torn(
    before: str, code: str, after: str, mark: str, strategy: Strategy
) -> None:
    fence = f"{mark}\n{code}\n{mark}"
    text = f"{before}\n{fence}\n{after}"
    start = len(before) + 1
    whole = [
        span
        for span in split(text, strategy)
        if span.start <= start < start + len(fence) <= span.end
    ]
    assert len(whole) == 1


@settings(deadline=None)
@given(st.text("abX. \n-1", min_size=1).filter(str.strip), ANY)
def test_latex_is_never_torn(inner: str, strategy: Strategy) -> None:
    formula = f"\\begin{{align}}{inner}\\end{{align}}"
    text = f"One. Two.\n\n{formula}\n\nThree."
    start = text.index(formula)
    assert any(s.start <= start and s.end >= start + len(formula) for s in split(text, strategy))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "x",
            "1. ",
            "1.\n",
            "$",
            "$a ",
            "(",
            "\\(",
            "\\[",
            "$$",
            "Step 1:\n",
            "Step 1: a. ",
            "- a\n",
        ),
        *(
            "```\n",
            "`\n",
            "#### a\n### a\n",
            "a:\n\n",
            ". ",
            "A. B ",
            "\\begin{a}",
            " ",
            "\n",
            "\r",
        ),
        *("\u202e", "\x00", "\x1b[31m", "**a**\n\n", "_", "\t1.\n"),
    ],
)
def test_long_texts_are_quick(pattern: str, strategy: Strategy) -> None:
    text = (pattern * 100_000)[:100_000]
    start = time.process_time()
    split(text, strategy)
    assert time.process_time() - start < 2  # a third of a second on an idle core


def test_control_and_bidi_characters_are_text() -> None:
    assert cut("Step 1: \u202ea\x1b[31m\nStep 2: \x00b") == [
        "Step 1: \u202ea\x1b[31m",
        "Step 2: \x00b",
    ]


def image(name: str) -> Image:
    return Image.of(BytesSource(name.encode()))


def problem(question: str, choices: tuple[str, ...] = (), images: int = 1) -> Problem:
    return Problem(
        id="p",
        source="test",
        question=question,
        answer="A",
        answer_kind="choice" if choices else "text",
        choices=choices,
        images=tuple(image(f"i{k}") for k in range(1, images + 1)),
    )


def test_ask_puts_images_question_choices_instruction() -> None:
    prompt = FORMATS["steps-brief"].ask(problem("What?", ("red", "blue"), images=2))
    assert prompt.parts == (
        image("i1"),
        image("i2"),
        "What?\nA. red\nB. blue\nWrite numbered steps, then the answer.",
    )
    assert (prompt.system, prompt.prefill) == ("", "")
    assert FORMATS["direct"].ask(problem("What?", images=0)).parts == (
        "What?\nAnswer with the final answer only.",
    )


@pytest.mark.parametrize(
    ("question", "choices", "images", "parts"),
    [
        ("See <image 1> and <image 2>.", (), 2, ("See ", 1, " and ", 2, ".")),
        ("See <image 2>.", (), 2, (1, "See ", 2, ".")),
        ("See <image 3> and <image 1>", (), 1, ("See <image 3> and ", 1)),
        ("<image 1><image 2>?", (), 2, (1, 2, "?")),
        ("<image 1> as <image 1>", (), 1, (1, " as <image 1>")),
        ("<image 0> <image 99>", (), 1, (1, "<image 0> <image 99>")),
        ("Which?", ("<image 1>", "<image 2>"), 2, ("Which?\nA. ", 1, "\nB. ", 2)),
        ("", (), 1, (1,)),
        ("", ("red", "blue"), 1, (1, "A. red\nB. blue")),
        ("", (), 0, ()),
    ],
)
def test_question_parts(
    question: str, choices: tuple[str, ...], images: int, parts: tuple[str | int, ...]
) -> None:
    shown = tuple(image(f"i{part}") if isinstance(part, int) else part for part in parts)
    assert question_parts(problem(question, choices, images)) == shown


def test_instruction_without_a_question_or_after_an_image() -> None:
    direct = FORMATS["direct"]
    assert direct.ask(problem("")).parts == (image("i1"), direct.instruction)
    assert direct.ask(problem("See <image 1>")).parts == (
        "See ",
        image("i1"),
        "\n" + direct.instruction,
    )


@settings(deadline=None)
@given(TEXTS, st.lists(TEXTS, max_size=4), st.integers(0, 3))
def test_ask_extends_question_parts(question: str, choices: list[str], images: int) -> None:
    asked = problem(question, tuple(choices), images)
    parts = question_parts(asked)
    assert not any(isinstance(a, str) and isinstance(b, str) for a, b in pairwise(parts))
    assert sorted(part.digest for part in parts if isinstance(part, Image)) == sorted(
        shown.digest for shown in asked.images
    )
    for form in FORMATS.values():
        newline = "\n" if any(isinstance(part, str) for part in parts) else ""
        assert form.ask(asked).parts == extended(parts, newline + form.instruction)


def test_more_choices_than_letters() -> None:
    with pytest.raises(ProblemError, match="field 'choices'"):
        question_parts(problem("Which?", tuple("x" * 27)))


def test_formats() -> None:
    assert set(FORMATS) == {"steps", "steps-brief", "direct", "source-steps", "source-direct"}
    assert all(name == form.name for name, form in FORMATS.items())
    assert FORMATS["steps"].split("Step 1: a\nStep 2: b", 1) == ((0, 19),)
    assert pickle.loads(pickle.dumps(FORMATS["steps"])) == FORMATS["steps"]  # noqa: S301


def test_fingerprint_changes_with_the_instruction() -> None:
    one = StepFormat("f", 1, "Go.", "marker")
    assert one.fingerprint.startswith("f@1-")
    others = [
        StepFormat("f", 1, "Go!", "marker"),
        StepFormat("f", 2, "Go.", "marker"),
        StepFormat("g", 1, "Go.", "marker"),
        StepFormat("f", 1, "Go.", "newline"),
    ]
    assert len({one.fingerprint, *(form.fingerprint for form in others)}) == 5
