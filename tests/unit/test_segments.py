"""Segmentations: what each cuts, and what none of them may do."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vilbench.problems.puzzles import puzzles
from vilbench.problems.puzzles.checker import check
from vilbench.problems.puzzles.claims import word
from vilbench.problems.puzzles.puzzle import gold_claims
from vilbench.steps import SEGMENTATIONS, split

TEXT = (
    "Step 1: the red bar is 7.\n"
    "Step 2: blue bar: 5. It is the lowest of all the bars in view.\n"
    "Step 3: so 7 + 5 = 12.\n"
    "Step 4: 12 is option C.\nAnswer: C"
)
ONE = "Step 1: the red bar is 7."
TWO = "Step 2: blue bar: 5. It is the lowest of all the bars in view."
THREE = "Step 3: so 7 + 5 = 12."
FOUR = "Step 4: 12 is option C.\nAnswer: C"


def cut(name: str, text: str, values: list[float | None] | None = None) -> list[str]:
    return [text[start:end] for start, end in SEGMENTATIONS[name].spans(text, values)]


def test_strategies_are_those_of_splitting() -> None:
    assert cut("marker", TEXT) == [ONE, TWO, THREE, FOUR]
    assert len(cut("sentence", TEXT)) == 5
    assert cut("newline", TEXT) == [ONE, TWO, THREE, FOUR]
    assert cut("blank-line", TEXT) == [TEXT]


def test_the_answer_line_becomes_a_step() -> None:
    assert cut("answer-apart", TEXT) == [ONE, TWO, THREE, "Step 4: 12 is option C.", "Answer: C"]
    without = TEXT.removesuffix("\nAnswer: C")
    assert cut("answer-apart", without) == cut("marker", without)
    # An answer alone stays one step.
    assert cut("answer-apart", "Answer: C") == ["Answer: C"]


def test_short_steps_are_joined_and_the_rest_joins_the_last() -> None:
    assert cut("merged-length", TEXT) == [f"{ONE}\n{TWO}", f"{THREE}\n{FOUR}"]
    # The last step alone is too short and has none after it.
    assert cut("merged-length", f"{ONE}\n{TWO}\n{THREE}") == [f"{ONE}\n{TWO}\n{THREE}"]
    assert cut("merged-length", "Step 1: a.\nStep 2: b.") == ["Step 1: a.\nStep 2: b."]
    long = "word " * 20
    assert len(cut("merged-length", f"Step 1: {long}\nStep 2: {long}\nStep 3: b.")) == 2


def test_steps_that_move_a_value_little_are_joined() -> None:
    assert cut("merged-change", TEXT, [0.9, 0.85, 0.4, 0.38]) == [
        f"{ONE}\n{TWO}",
        f"{THREE}\n{FOUR}",
    ]
    assert cut("merged-change", TEXT, [0.9, 0.7, 0.4, 0.1]) == [ONE, TWO, THREE, FOUR]
    assert cut("merged-change", TEXT, [0.9, 0.9, 0.9, 0.9]) == [TEXT]
    # Without a verdict nothing is known of a change.
    assert cut("merged-change", TEXT, [0.9, None, 0.9, 0.9]) == [ONE, TWO, f"{THREE}\n{FOUR}"]


def test_a_first_scoring_has_to_fit() -> None:
    with pytest.raises(ValueError, match="needs the values"):
        cut("merged-change", TEXT)
    with pytest.raises(ValueError, match="4 steps and 1 values"):
        cut("merged-change", TEXT, [0.5])


def test_names_and_fingerprints_are_told_apart() -> None:
    found = {one.fingerprint for one in SEGMENTATIONS.values()}
    assert len(found) == len(SEGMENTATIONS)
    assert all(name == one.name for name, one in SEGMENTATIONS.items())


@given(
    st.text(alphabet="Step 1234:.\nAnswer ab", max_size=200), st.sampled_from(sorted(SEGMENTATIONS))
)
def test_no_segmentation_loses_text_or_order(text: str, name: str) -> None:
    base = split(text, "marker")
    values: list[float | None] = [0.5 if place % 3 else 0.1 for place in range(len(base))]
    spans = SEGMENTATIONS[name].spans(text, values)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(text[a:b].strip() == text[a:b] != "" for a, b in spans)
    if name.startswith(("merged", "answer", "whole")):
        held = "".join("".join(text[a:b].split()) for a, b in spans)
        assert held == "".join("".join(text[a:b].split()) for a, b in base)
    if name.startswith(("merged", "whole")):
        assert {a for a, _ in spans} <= {a for a, _ in base}
        assert len(spans) <= len(base)


def test_a_merged_segment_is_right_when_all_of_its_steps_are() -> None:
    for puzzle in puzzles("dev", 30):
        claims = [word(claim, place) for place, claim in enumerate(gold_claims(puzzle.scene))]
        for wrong in range(-1, len(claims)):
            said = list(claims)
            if wrong >= 0:
                said[wrong] = "99 + 99 = 7."
            text = "\n".join(f"Step {place}: {one}" for place, one in enumerate(said, 1))
            labels = [one.label for one in check(puzzle.problem, cut("marker", text))]
            for name in ("merged-length", "whole"):
                spans = SEGMENTATIONS[name].spans(text)
                base = SEGMENTATIONS["marker"].spans(text)
                found = check(puzzle.problem, [text[a:b] for a, b in spans])
                for (start, end), one in zip(spans, found, strict=True):
                    inside = [
                        label
                        for (a, b), label in zip(base, labels, strict=True)
                        if start <= a and b <= end
                    ]
                    assert (one.label == "right") == all(label == "right" for label in inside)
