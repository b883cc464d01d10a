"""Several questions in one packed forward: the values of each alone."""

from __future__ import annotations

from functools import cache

import engine_data as data
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scoring_data import tiny

from vilbench.backbone.tokens import PromptEncoder
from vilbench.errors import InputError
from vilbench.prm.scoring import Asked, PrmScoring, Way
from vilbench.types import Image

STEPS = (
    "",
    "left",
    "Step 1: I count 3 circles.",
    "Step 1: I count 3 red circles. " + "They are all in the upper half of the picture. " * 3,
    "The angle at the top is 40 degrees, so the third one is 60.",
    "Answer: 12",
)
QUESTIONS = ("", "How many?", "How many circles are left of the square? " * 4)


@cache
def scoring(budget: int | None = None) -> PrmScoring:
    return PrmScoring(tiny(), "tree", budget)


def asked(question: int, images: tuple[int, ...], candidates: list[tuple[int, ...]]) -> Asked:
    shown: list[str | Image] = [data.picture(k, 64 + 32 * (k % 2)) for k in images]
    text = QUESTIONS[question] or ("?" if not images else "")
    parts = [*shown, text] if text else shown
    return Asked(parts, [tuple(STEPS[k] for k in steps) for steps in candidates])


candidates = st.lists(st.lists(st.integers(0, len(STEPS) - 1), max_size=3).map(tuple), max_size=4)
questions = st.builds(
    asked,
    st.integers(0, len(QUESTIONS) - 1),
    st.lists(st.integers(0, 2), max_size=2).map(tuple),
    candidates,
)


@pytest.mark.timeout(1800)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(some=st.lists(questions, min_size=1, max_size=5), budget=st.sampled_from([1, 40, 200, None]))
@example([asked(1, (0,), [(2, 3)]), asked(1, (1,), [(2, 3)]), asked(1, (0,), [(2, 4)])], None)
@example([asked(2, (0, 1), [(2, 3), (2, 4), (2,)]), asked(0, (), [(1,), (1, 5)])], 40)
def test_values_are_those_of_each_alone(some: list[Asked], budget: int | None) -> None:
    together = scoring(budget).score_many(some)
    assert len(together) == len(some)
    for one, found in zip(some, together, strict=True):
        alone = scoring().score(one.parts, one.candidates)
        assert found.lengths == alone.lengths
        assert [len(row) for row in found.values] == [len(row) for row in alone.values]
        for row, expected in zip(found.values, alone.values, strict=True):
            assert row == pytest.approx(expected, abs=1e-5)


def test_the_work_is_done_once_and_in_one_forward() -> None:
    some = [asked(k % 3, (k % 3,), [(2, 4), (2, 5)]) for k in range(6)]
    fresh = PrmScoring(tiny(), "tree")
    many = fresh.score_many(some)
    counts = many[0].counts
    assert counts.forwards == 1
    assert counts.image_encodings == 3  # sets of images that are alike are encoded once
    alone = [PrmScoring(tiny(), "tree").score(one.parts, one.candidates) for one in some]
    # The last three questions are the first three again.
    assert counts.tokens == sum(one.counts.tokens for one in alone[:3])
    assert sum(one.counts.forwards for one in alone) == 12


@pytest.mark.parametrize("way", ["shared", "tree"])
def test_a_question_that_comes_twice_is_computed_once(way: Way) -> None:
    first, other = asked(1, (0,), [(2, 4), (2, 5)]), asked(2, (1,), [(2,)])
    again = asked(1, (0,), [(2, 4), (), (3,)])
    found = PrmScoring(tiny(), way).score_many([first, other, again])
    for one, scored in zip([first, other, again], found, strict=True):
        alone = PrmScoring(tiny(), way).score(one.parts, one.candidates)
        assert scored.lengths == alone.lengths
        for row, expected in zip(scored.values, alone.values, strict=True):
            assert row == pytest.approx(expected, abs=1e-5)
    counts = found[0].counts
    assert counts.image_encodings == 2
    assert counts.tokens == sum(sum(scored.computed) for scored in found)
    joint = PrmScoring(tiny(), way)
    merged = joint.score(first.parts, [*first.candidates, *again.candidates])
    apart = joint.score(other.parts, other.candidates)
    assert counts.tokens == merged.counts.tokens + apart.counts.tokens
    assert (found[0].computed + found[2].computed, found[1].computed) == (
        merged.computed,
        apart.computed,
    )
    # The candidate that was there before costs nothing in a tree, and the empty one nowhere.
    assert [tokens == 0 for tokens in found[2].computed] == [way == "tree", True, False]


@pytest.mark.parametrize("way", ["shared", "tree"])
def test_pixels_of_a_known_question_are_not_made_again(
    monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    made: list[tuple[Image, ...]] = []
    expand = PromptEncoder._expand

    def counted(encoder: PromptEncoder, control: str, images: tuple[Image, ...]) -> list[int]:
        made.append(images)
        return expand(encoder, control, images)

    monkeypatch.setattr(PromptEncoder, "_expand", counted)
    one, more = asked(1, (0,), [(2, 4)]), asked(1, (0,), [(5,), (2, 3)])
    known = PrmScoring(tiny(), way)
    expected = [known.score(two.parts, two.candidates).values for two in (one, more)]
    known.forget()
    known.score(one.parts, one.candidates)
    made.clear()
    # So many pictures came in between that the encoder let go the pixels of this one.
    known.encoder.encoder._pixels.clear()
    assert known.score(more.parts, more.candidates).values == expected[1]
    assert made == []
    # Another question about it does need them.
    known.score(asked(2, (0,), []).parts, one.candidates)
    assert made == [(data.picture(0, 64),)]


def test_one_fault_is_that_of_all() -> None:
    broken = Asked(["How many?"], [("\ud800",)])
    with pytest.raises(Exception, match=r"Unicode|surrogate"):
        scoring().score_many([asked(1, (), [(2,)]), broken])
    too_long = PrmScoring(tiny(), "tree")
    too_long.encoder.max_tokens = 4
    with pytest.raises(InputError):
        too_long.score_many([asked(1, (), [(2,)]), asked(2, (), [(2,)])])


def test_other_ways_score_them_one_by_one() -> None:
    some = [asked(1, (0,), [(2, 4)]), asked(2, (), [(3,)])]
    found = PrmScoring(tiny(), "per-candidate").score_many(some)
    for one, expected in zip(found, scoring().score_many(some), strict=True):
        assert one.values[0] == pytest.approx(expected.values[0], abs=1e-5)
