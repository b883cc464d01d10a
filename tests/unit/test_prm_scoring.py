"""Four ways of scoring, one result; on a very small random model."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from typing import Any, get_args

import engine_data as data
import numpy as np
import numpy.typing as npt
import prm_data
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scoring_data import tiny

from vilbench.errors import CheckpointError, EngineError, InputError
from vilbench.prm.folder import LoadedPrm
from vilbench.prm.model import RewardModel
from vilbench.prm.scoring import Asked, PrmScoring, Scored, Way
from vilbench.types import Image

WAYS: tuple[Way, ...] = get_args(Way)
STEPS = (
    "",
    "left",
    "Step 1: I count 3 circles.",
    "Step 1: I count 3 red circles.",
    "The angle at the top is 40 degrees, so the third one is 60.",
    "<|im_end|> says the text, not the model",
    "Answer: 12",
)


@cache
def scoring(way: Way, side: str = "right", dtype: torch.dtype = torch.float32) -> PrmScoring:
    return PrmScoring(tiny(dtype, side), way)


def close(one: Scored, other: Scored, tolerance: float = 1e-5) -> None:
    assert [len(row) for row in one.values] == [len(row) for row in other.values]
    for row, same in zip(one.values, other.values, strict=True):
        assert row == pytest.approx(same, abs=tolerance)


@contextmanager
def fails_above(prm: LoadedPrm, tokens: int, error: Exception) -> Iterator[list[int]]:
    """Forwards of the text decoder over more tokens fail; lists the sizes of those tried."""
    tried: list[int] = []

    def check(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        tried.append(inputs["inputs_embeds"].shape[1])
        if tried[-1] > tokens:
            raise error

    handle = prm.model.backbone.get_decoder().register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield tried
    finally:
        handle.remove()


def parts_of(images: int, question: str = "?") -> list[str | Image]:
    return [*(data.picture(k, 64 + 32 * (k % 2)) for k in range(images)), question]


solutions = st.lists(st.integers(0, len(STEPS) - 1), max_size=4).map(
    lambda picks: tuple(STEPS[pick] for pick in picks)
)


@pytest.mark.timeout(1800)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    candidates=st.lists(solutions, min_size=1, max_size=32),
    images=st.integers(0, 3),
    question=st.sampled_from(["", "How many?", "How many circles are left of the square?"]),
    side=st.sampled_from(["left", "right"]),
    budget=st.sampled_from([1, 15, 60, None]),
    random=st.randoms(use_true_random=False),
)
@example([STEPS[k % 7 : k % 5 + 3] for k in range(32)], 1, "?", "left", 100, Random(0))
def test_four_ways_give_one_result(
    candidates: list[tuple[str, ...]],
    images: int,
    question: str,
    side: str,
    budget: int | None,
    random: Random,
) -> None:
    parts = parts_of(images, question)
    shuffled = random.sample(range(len(candidates)), len(candidates))
    for way in WAYS:
        scoring(way, side).forget()
    found = {way: scoring(way, side).score(parts, candidates) for way in WAYS}
    reference = found["per-prefix"]
    for scored in found.values():
        close(scored, reference)
    small = PrmScoring(tiny(side=side), "tree", budget).score(
        parts, [candidates[k] for k in shuffled]
    )
    again = dataclasses.replace(reference, values=tuple(reference.values[k] for k in shuffled))
    close(small, again)

    encoded = [scoring("tree", side).encoder.encode(parts, steps) for steps in candidates]
    ids = [one.ids for one in encoded if one.ids]
    prompt = len(encoded[0].prompt.ids)
    count = sum(len(steps) for steps in candidates)
    unique = {row[: k + 1] for row in ids for k in range(len(row))}
    some = bool(ids)
    expected: dict[Way, tuple[int, int]] = {
        "per-prefix": (sum(prompt + end + 1 for one in encoded for end in one.ends), count),
        "per-candidate": (sum(prompt + len(row) for row in ids), len(ids)),
        "shared": (some * prompt + sum(map(len, ids)), some),
        "tree": (some * prompt + len(unique), some),
    }
    for way, (tokens, prompts) in expected.items():
        counts = found[way].counts
        assert counts.tokens == tokens
        assert sum(found[way].computed) == tokens
        assert counts.image_encodings == prompts * images
    assert small.counts.tokens == found["tree"].counts.tokens
    assert found["per-prefix"].counts.forwards == count
    assert found["per-candidate"].counts.forwards == len(ids)


def test_values_are_those_of_the_models_own_forward() -> None:
    prm = tiny()
    parts, steps = (data.picture(1), "How many?"), ("I count 3.", "Answer: 3")
    encoded = prm.encoder().encode(parts, steps)
    pixels = dict(data.encoder().pixels(encoded.prompt.images))
    values = prm_data.values(prm, (*encoded.prompt.ids, *encoded.ids), pixels)
    read = [float(values[len(encoded.prompt.ids) + end]) for end in encoded.ends]
    for way in WAYS:
        scored = scoring(way).score(parts, [steps])
        assert scored.values[0] == pytest.approx(read, abs=1e-5)
        assert scored.lengths == (len(values),)


def test_values_differ_from_one_another() -> None:
    """Equal ways would prove nothing if all values were alike."""
    scored = scoring("tree").score((data.picture(1), "?"), [(step, "so") for step in STEPS])
    assert len({round(value or 0.0, 3) for row in scored.values for value in row}) == 14
    other = scoring("tree").score((data.picture(2), "?"), [("left",)])
    assert abs((other.values[0][0] or 0.0) - (scored.values[1][0] or 0.0)) > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_without_steps_nothing_is_computed(way: Way) -> None:
    for candidates in ([], [()], [(), ()]):
        scored = scoring(way).score((data.picture(1), "?"), candidates)
        assert scored.values == tuple(() for _ in candidates)
        assert (scored.counts.tokens, scored.counts.forwards) == (0, 0)
        assert scored.counts.peak_kv_bytes == scored.counts.image_encodings == 0


def test_forwards_and_key_values_stay_within_the_budget() -> None:
    candidates = [("left " * k, "right") for k in range(1, 13)]
    prm, parts = tiny(), (data.picture(1), "How many?")
    whole = PrmScoring(prm, "shared").score(parts, candidates)
    assert whole.counts.forwards == 2
    with fails_above(prm, 10**9, ValueError()) as sizes:
        cut = PrmScoring(prm, "shared", 40).score(parts, candidates)
    assert len(sizes) == cut.counts.forwards
    assert sum(sizes) == cut.counts.tokens == whole.counts.tokens
    assert max(sizes[1:]) <= 40
    close(cut, whole)
    # Two layers, two heads of 8, keys and values, four bytes each.
    token = 2 * 2 * 2 * 8 * 4
    prompt = len(prm.encoder().encode(parts, ()).prompt.ids)
    assert cut.counts.peak_kv_bytes == prompt * token + max(sizes) * token // 2
    assert whole.counts.peak_kv_bytes == prompt * token + sum(sizes[1:]) * token // 2
    alone = PrmScoring(prm, "per-candidate").score(parts, candidates)
    assert alone.counts.peak_kv_bytes == max(alone.lengths) * token // 2


def test_key_values_of_shared_steps_are_kept_for_later_batches_and_let_go() -> None:
    first, second = "left " * 20, "right " * 20
    branches = [(step, end) for step in (first, second) for end in ("a", "b b", "c c c")]
    prm, parts = tiny(), ("How many?",)
    whole = PrmScoring(prm, "tree").score(parts, branches)
    cut = PrmScoring(prm, "tree", 1).score(parts, branches)
    close(cut, whole)
    assert cut.counts.tokens == whole.counts.tokens
    assert cut.counts.forwards == 1 + len(branches)
    # The prompt and one of the two long steps at a time, and the longest run in work.
    encoded = [prm.encoder().encode(parts, steps) for steps in branches]
    token = 2 * 2 * 2 * 8 * 4
    longest = max(one.ends[0] + 1 for one in encoded)
    work = max(len(one.ids) for one in encoded)
    assert cut.counts.peak_kv_bytes <= (
        (len(encoded[0].prompt.ids) + longest) * token + work * token // 2
    )


@pytest.mark.parametrize("way", ["shared", "tree"])
@pytest.mark.parametrize("budget", [1, 30, None])
def test_a_question_that_comes_again_is_not_computed_again(way: Way, budget: int | None) -> None:
    parts, other = (data.picture(1), "How many?"), (data.picture(2), "How many?")
    rounds: list[list[tuple[str, ...]]] = [
        [("left",), ("I count",)],
        [("left", "so"), ("left", "right")],
        [("Answer: 3",)],
    ]
    prm = tiny()
    again, fresh = PrmScoring(prm, way, budget), PrmScoring(prm, way, budget)
    encoder = prm.encoder()
    prompt = len(encoder.encode(parts, ()).prompt.ids)
    for place, candidates in enumerate(rounds):
        fresh.forget()
        first, second = fresh.score(parts, candidates), again.score(parts, candidates)
        close(second, first)
        saved = prompt if place else 0
        assert second.counts.tokens == first.counts.tokens - saved == sum(second.computed)
        assert second.counts.image_encodings == (0 if place else 1)
        assert second.lengths == first.lengths
        # Another question in between, and both at once, known or not.
        again.score(other, candidates[:1])
        asked = [Asked(other, candidates), Asked(parts, candidates), Asked(("?",), candidates)]
        for one, alone in zip(again.score_many(asked), asked, strict=True):
            close(one, fresh.score(alone.parts, alone.candidates))


def test_questions_that_were_used_longest_ago_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    prm = tiny()
    prompts = [(data.picture(k), "How many?") for k in range(3)]
    length = len(prm.encoder().encode(prompts[0], ()).prompt.ids)
    # Two layers, two heads of 8, keys and values, four bytes each.
    monkeypatch.setattr("vilbench.prm.forwards._REMEMBERED", 2 * length * 2 * 2 * 2 * 8 * 4)
    scoring = PrmScoring(prm, "tree")

    def computed(place: int) -> bool:
        return scoring.score(prompts[place], [("left",)]).counts.tokens > length

    assert [computed(place) for place in (0, 1, 0, 2, 0, 1)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_question_has_the_same_bits_known_or_not() -> None:
    prm, parts = tiny(), (data.picture(1), "How many?")
    candidates = [("left", "so it is 3"), ("right",), ("left", "I count 3 red circles.")]
    scoring = PrmScoring(prm, "tree")
    first, known = (scoring.score(parts, candidates) for _ in range(2))
    assert known.counts.tokens < first.counts.tokens
    assert known.values == first.values
    # What came with it the first time does not matter either.
    scoring.forget()
    scoring.score(parts, candidates[:1])
    assert scoring.score(parts, candidates).values == first.values


def test_remembered_questions_make_room_before_batches_are_halved() -> None:
    prm = tiny()
    scoring = PrmScoring(prm, "tree")
    questions = [(f"How many {k}? " + "circles " * 4,) for k in range(8)]
    length = len(prm.encoder().encode(questions[0], ()).prompt.ids)
    known: list[int] = []

    def check(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        # The prompts that are remembered are those that were computed and not let go.
        if inputs["inputs_embeds"].shape[1] + sum(known) > 3 * length:
            known.clear()
            raise torch.OutOfMemoryError
        known.append(inputs["inputs_embeds"].shape[1])

    decoder = prm.model.backbone.get_decoder()
    handle = decoder.register_forward_pre_hook(check, with_kwargs=True)
    try:
        found = [scoring.score(parts, [("left",), ("right", "so")]) for parts in questions]
    finally:
        handle.remove()
    for parts, scored in zip(questions, found, strict=True):
        close(scored, PrmScoring(prm, "per-candidate").score(parts, [("left",), ("right", "so")]))
    # Nothing was halved: a prompt and its candidates are two forwards, as ever.
    assert {scored.counts.forwards for scored in found} == {2}


@pytest.mark.parametrize("way", ["shared", "tree"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    ],
)
def test_a_batch_that_memory_does_not_hold_is_halved_for_good(way: Way, error: Exception) -> None:
    candidates = [("Answer: " + "1" * k, "so " * k) for k in range(1, 17)]
    prm, parts = tiny(), ("How many?",)
    reference = scoring("per-candidate").score(parts, candidates)
    some = PrmScoring(prm, way)
    with fails_above(prm, 100, error) as tried:
        halved = some.score(parts, candidates)
        failed = [size for size in tried if size > 100]
        assert failed
        close(halved, reference)
        assert halved.counts.tokens == sum(tried) - sum(failed)
        tried.clear()
        close(some.score(parts, candidates), reference)
        assert max(tried) <= 100


@pytest.mark.parametrize("way", WAYS)
def test_memory_that_one_candidate_exceeds_is_an_error(way: Way) -> None:
    prm = tiny()
    with (
        fails_above(prm, 60, MemoryError()),
        pytest.raises(EngineError, match="not enough memory for a single candidate"),
    ):
        PrmScoring(prm, way).score(("How many?",), [("a",), ("left " * 100,)])
    # What failed leaves nothing behind: the model attends as ever.
    after = PrmScoring(prm, way).score(("?",), [("a",)])
    close(after, scoring("per-prefix").score(("?",), [("a",)]))


@pytest.mark.parametrize("way", ["per-candidate", "tree"])
def test_other_errors_are_not_taken_for_a_lack_of_memory(way: Way) -> None:
    prm = tiny()
    with fails_above(prm, 0, RuntimeError("broken")), pytest.raises(RuntimeError, match="broken"):
        PrmScoring(prm, way).score(("?",), [("a",), ("b",)])


def test_in_bfloat16_the_ranking_is_the_same_but_for_near_ties() -> None:
    drawn = np.random.default_rng(0)
    candidates = [tuple(STEPS[k] for k in drawn.integers(0, 7, size=3)) for _ in range(24)]
    parts = (data.picture(1), "How many?")
    half = tiny(torch.bfloat16)
    exact = dataclasses.replace(half, model=copy.deepcopy(half.model).float())
    truth = _last(PrmScoring(exact, "tree").score(parts, candidates))
    found = {
        way: _last(scoring(way, dtype=torch.bfloat16).score(parts, candidates)) for way in WAYS
    }
    error = {way: float(np.sqrt(np.mean((last - truth) ** 2))) for way, last in found.items()}
    apart = np.abs(truth[:, None] - truth) > 0.2 * truth.std()
    assert apart.mean() > 0.7
    assert error["per-prefix"] < 0.1 * truth.std()
    for way, last in found.items():
        same = np.sign(last[:, None] - last) == np.sign(truth[:, None] - truth)
        assert same[apart].all()
        # Merging blocks of attention loses no more than the stock way's own rounding.
        assert error[way] < 1.5 * error["per-prefix"]


def _last(scored: Scored) -> npt.NDArray[np.float64]:
    return np.array([row[-1] for row in scored.values], dtype=np.float64)


def test_dropped_steps_have_no_value() -> None:
    prm, parts = tiny(), ("How many?",)
    steps = ("left " * 20, "right " * 20, "Answer: 1")
    room = len(prm.encoder().encode(parts, steps[1:]).ids) + len(
        prm.encoder().encode(parts, ()).prompt.ids
    )
    config = prm.config.model_copy(update={"max_tokens": room, "overflow": "drop-early"})
    short = dataclasses.replace(prm, config=config)
    for way in WAYS:
        scored = PrmScoring(short, way).score(parts, [steps, ("Answer: 1",)])
        assert [value is None for value in scored.values[0]] == [True, False, False]
        assert scored.lengths[0] == room
        alone = scoring("per-prefix").score(parts, [steps[1:]])
        assert scored.values[0][1:] == pytest.approx(alone.values[0], abs=1e-5)
    strict = dataclasses.replace(prm, config=config.model_copy(update={"overflow": "error"}))
    with pytest.raises(InputError, match="more than"):
        PrmScoring(strict).score(parts, [steps])


@pytest.mark.parametrize("way", WAYS)
def test_a_value_that_is_no_number_is_an_error(way: Way) -> None:
    prm = tiny()
    model = RewardModel(prm.model.backbone)
    torch.nn.init.constant_(model.score.weight, float("nan"))
    broken = dataclasses.replace(prm, model=model)
    with pytest.raises(EngineError, match="candidate 1 has a value that is not a finite"):
        PrmScoring(broken, way).score(("?",), [(), ("a",)])


def test_a_sigmoid_head_gives_shares() -> None:
    prm = tiny()
    model = RewardModel(prm.model.backbone, seed=1, spread=0.2, activation="sigmoid")
    squashed = PrmScoring(dataclasses.replace(prm, model=model)).score(("?",), [("a", "b")])
    plain = scoring("tree").score(("?",), [("a", "b")])
    expected = [1 / (1 + np.exp(-value)) for value in plain.values[0] if value is not None]
    assert squashed.values[0] == pytest.approx(expected, abs=1e-6)


def test_no_way_runs_the_language_model_head(monkeypatch: pytest.MonkeyPatch) -> None:
    prm = tiny()

    def refuse(*_: Any) -> None:
        raise AssertionError("the language-model head was run")

    handle = prm.model.backbone.get_output_embeddings().register_forward_pre_hook(refuse)
    try:
        for way in WAYS:
            PrmScoring(prm, way).score((data.picture(1), "?"), [("a", "b")])
    finally:
        handle.remove()


def test_a_decoder_whose_attention_cannot_be_replaced_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prm = tiny()
    inner: Callable[..., Any] = prm.model.backbone.get_decoder().forward

    def stubborn(**inputs: Any) -> Any:
        prm.model.backbone.get_decoder().config._attn_implementation = "sdpa"
        return inner(**inputs)

    monkeypatch.setattr(prm.model.backbone.get_decoder(), "forward", stubborn)
    with pytest.raises(CheckpointError, match="cannot be replaced"):
        PrmScoring(prm).score(("?",), [("a",)])


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 0 tokens"):
        PrmScoring(tiny(), "tree", 0)


def test_stale_images_do_not_shift_a_question_without_one() -> None:
    some = PrmScoring(tiny(), "tree")
    before = some.score(("?",), [("a",)])
    some.score((data.picture(1, 96), "?"), [("a",)])
    some.forget()
    assert some.score(("?",), [("a",)]).values == before.values


@pytest.mark.parametrize("images", [0, 1, 3])
def test_images_are_encoded_once(images: int) -> None:
    candidates = [("a", "b"), ("a", "c"), ("d",)]
    expected: dict[Way, int] = {"per-prefix": 5, "per-candidate": 3, "shared": 1, "tree": 1}
    for way, times in expected.items():
        counts = scoring(way).score(parts_of(images), candidates).counts
        assert counts.image_encodings == times * images
