"""Steps that were scored before are not computed again, and count the same."""

from __future__ import annotations

from typing import Any

import engine_data as data
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scoring_data import tiny

from vilbench.prm import forwards, trunk
from vilbench.prm.scoring import Asked, PrmScoring
from vilbench.types import Image

STEPS = (
    "left",
    "Step 1: I count 3 circles.",
    "Step 1: I count 3 red circles. " + "They are all in the upper half of the picture. " * 3,
    "Answer: 12",
)
Candidates = list[tuple[str, ...]]

solutions = st.lists(st.sampled_from(STEPS), max_size=4).map(tuple)
rounds = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.lists(solutions, max_size=4)), max_size=2),
    min_size=1,
    max_size=5,
)


def parts(question: int) -> list[str | Image]:
    return [data.picture(1), f"How many of {question}?"] if question else ["How many?"]


def asked(question: int, candidates: Candidates) -> Asked:
    return Asked(parts(question), candidates)


@pytest.mark.timeout(1800)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rounds, st.sampled_from([1, 60, None]))
@example([[(1, [STEPS[:2]])], [(1, [STEPS[:3], STEPS[:1], STEPS[1:]])], [(1, [STEPS])]], None)
def test_values_are_those_of_a_scorer_without_memory(
    calls: list[list[tuple[int, Candidates]]], budget: int | None
) -> None:
    recalling, fresh = PrmScoring(tiny(), "tree", budget, recall=True), PrmScoring(tiny(), "tree")
    seen: dict[int, set[tuple[int, ...]]] = {}
    for call in calls:
        some = [asked(*one) for one in call]
        found = recalling.score_many(some)
        for one, scored in zip(some, found, strict=True):
            alone = fresh.score(one.parts, one.candidates)
            assert scored.lengths == alone.lengths
            for row, expected in zip(scored.values, alone.values, strict=True):
                assert row == pytest.approx(expected, abs=1e-5)
        new = 0
        for question, candidates in call:
            encoded = recalling.encoder.encode_all(parts(question), candidates)
            own = {ids[: k + 1] for ids in (one.ids for one in encoded) for k in range(len(ids))}
            if own and question not in seen:
                new += len(encoded[0].prompt.ids)
            new += len(own - seen.get(question, set()))
            if own:
                seen.setdefault(question, set()).update(own)
        assert sum(sum(one.computed) for one in found) == new
        if found:
            assert found[0].counts.tokens == new


def test_a_search_reads_every_step_once() -> None:
    recalling, forgetful = PrmScoring(tiny(), "tree", recall=True), PrmScoring(tiny(), "tree")
    kept: tuple[str, ...] = ()
    read, again = 0, 0
    for turn in range(5):
        candidates = [(*kept, f"Step {turn + 1}: there are {k} of them.") for k in range(3)]
        found = recalling.score(parts(1), candidates)
        other = forgetful.score(parts(1), candidates)
        read, again = read + found.counts.tokens, again + other.counts.tokens
        assert [row[-1] for row in found.values] == pytest.approx(
            [row[-1] for row in other.values], abs=1e-5
        )
        if turn:
            assert found.counts.image_encodings == 0
            assert max(found.computed) < max(other.computed)
        kept = candidates[turn % 3]
    whole = recalling.encoder.encode_all(parts(1), [kept])[0]
    assert read < again
    assert recalling.score(parts(1), [kept]).counts.tokens == 0
    assert recalling.score(parts(1), [kept]).values[0] == pytest.approx(
        forgetful.score(parts(1), [kept]).values[0], abs=1e-5
    )
    recalling.forget()
    anew = recalling.score(parts(1), [kept]).counts
    assert (anew.tokens, anew.image_encodings) == (len(whole.prompt.ids) + len(whole.ids), 1)


def test_little_room_costs_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is computed again."""
    roomy = PrmScoring(tiny(), "tree", recall=True)
    shape = roomy._forwards._shape
    monkeypatch.setattr(forwards, "_RECALLED", 20 * shape.token_bytes)
    narrow = PrmScoring(tiny(), "tree", recall=True)
    for k in range(4):
        candidates = [STEPS[:k], (*STEPS[: k + 1], "Answer: 12"), (STEPS[0], f"or {k}")]
        found, expected = narrow.score(parts(1), candidates), roomy.score(parts(1), candidates)
        for row, other in zip(found.values, expected.values, strict=True):
            assert row == pytest.approx(other, abs=1e-5)
        assert narrow._forwards._recall.bytes <= 20 * shape.token_bytes


def test_steps_are_let_go_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    recalling = PrmScoring(tiny(), "tree", recall=True)
    expected = recalling.score(parts(1), [STEPS[:3]])
    whole, failures = trunk.run_packed, [torch.OutOfMemoryError("no memory")]

    def failing(*given: object) -> torch.Tensor:
        if failures:
            raise failures.pop()
        return whole(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(forwards, "run_packed", failing)
    found = recalling.score(parts(1), [STEPS])
    assert found.values[0][:3] == pytest.approx(expected.values[0], abs=1e-5)
    assert found.counts.forwards == 1


def test_a_chunk_that_cannot_keep_what_it_computed_is_halved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it keeps itself, once more each time, is no room to be gained."""
    recalling, fresh = PrmScoring(tiny(), "tree", recall=True), PrmScoring(tiny(), "tree")
    inner, tried = recalling._forwards, []
    whole, most = inner._keep, 20 * inner._shape.token_bytes

    def keep(*given: Any) -> None:
        tried.append(inner._recall.bytes)
        assert len(tried) < 100
        if inner._recall.bytes > most:
            raise torch.OutOfMemoryError("no memory")
        whole(*given)

    monkeypatch.setattr(inner, "_keep", keep)
    candidates = [(f"Step 1: I count {k} circles.", f"Answer: {k}") for k in range(6)]
    found, expected = recalling.score(parts(1), candidates), fresh.score(parts(1), candidates)
    for row, other in zip(found.values, expected.values, strict=True):
        assert row == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("recall", [False, True])
def test_a_known_question_stays_at_hand_when_images_of_another_run_out_of_memory(
    recall: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring, fresh = PrmScoring(tiny(), "tree", recall=recall), PrmScoring(tiny(), "tree")
    known, new = asked(1, [STEPS[:2]]), Asked([data.picture(2), "How many?"], [STEPS[1:]])
    scoring.score(known.parts, known.candidates)
    backbone = scoring._forwards._backbone
    backbone.forget_images()
    whole, failures = backbone.encode_images, [torch.OutOfMemoryError("no memory")]

    def encode(pixels: Any) -> None:
        if failures:
            raise failures.pop()
        whole(pixels)

    monkeypatch.setattr(backbone, "encode_images", encode)
    found = scoring.score_many([known, new])
    for scored, one in zip(found, (known, new), strict=True):
        expected = fresh.score(one.parts, one.candidates).values[0]
        assert scored.values[0] == pytest.approx(expected, abs=1e-5)
    assert found[0].counts.image_encodings == 1
