from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vilbench.engines.sampler import choose, stream_key, uniforms


def numbers(key: int, count: int) -> list[float]:
    keys = np.full(count, key, dtype=np.uint64)
    return [float(u) for u in uniforms(keys, np.arange(count, dtype=np.uint64))]


def pick(weights: list[float], uniform: float, temperature: float = 1.0, top_p: float = 1.0) -> int:
    logits = torch.tensor([weights]).log()
    row = torch.tensor([uniform], dtype=torch.float64)
    return int(choose(logits, row, torch.tensor([temperature]), torch.tensor([top_p]))[0])


def test_numbers_are_those_of_splitmix64() -> None:
    # The published first outputs of SplitMix64 for the seed 0.
    outputs = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)
    assert numbers(0, 3) == [(output >> 11) / 2**53 for output in outputs]


def test_streams_of_other_seeds_and_indices_differ() -> None:
    keys = {stream_key(seed, index) for seed in range(-3, 30) for index in range(30)}
    assert len(keys) == 33 * 30
    assert stream_key(1, 11) != stream_key(11, 1)
    assert stream_key(2**80, 0) == stream_key(2**80, 0) < 2**64


def test_numbers_are_uniform() -> None:
    drawn = np.array([numbers(stream_key(7, index), 40) for index in range(250)])
    assert drawn.min() >= 0 and drawn.max() < 1
    counts, _ = np.histogram(drawn, bins=20, range=(0, 1))
    assert ((counts - 500) ** 2 / 500).sum() < 45  # chi-square of 19 degrees: p of 0.001 is 43.8
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.19, 0), (0.21, 1), (0.49, 1), (0.51, 3), (1 - 2**-53, 3)]
)
def test_tokens_follow_the_cumulative_distribution(uniform: float, token: int) -> None:
    assert pick([0.2, 0.3, 0.0, 0.5, 0.0], uniform) == token


def test_temperature_scales_logits() -> None:
    # At temperature 1/2 the weights 1:3 become 1:9.
    assert pick([0.25, 0.75], 0.09, temperature=0.5) == 0
    assert pick([0.25, 0.75], 0.11, temperature=0.5) == 1


def test_temperature_zero_takes_the_most_probable_and_the_lower_id_of_equals() -> None:
    assert pick([0.2, 0.4, 0.4], 0.999, temperature=0.0) == 1
    assert pick([0.2, 0.4, 0.4], 0.0, temperature=0.0, top_p=0.1) == 1


def test_top_p_keeps_the_token_that_crosses_it() -> None:
    weights = [0.1, 0.5, 0.15, 0.25]
    # 0.5 alone is below 0.6, with 0.25 above it: tokens 1 and 3 stay, at 2/3 and 1/3.
    assert [pick(weights, u, top_p=0.6) for u in (0.0, 0.66, 0.67, 0.999)] == [1, 1, 3, 3]
    assert [pick(weights, u, top_p=1e-6) for u in (0.0, 0.999)] == [1, 1]
    # Of equal ones the lower id comes first.
    assert [pick([0.25] * 4, u, top_p=0.5) for u in (0.49, 0.51, 0.999)] == [0, 1, 1]


ROWS = st.lists(
    st.tuples(
        st.lists(st.floats(-8, 8, width=32), min_size=6, max_size=6),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        st.sampled_from([1e-3, 0.5, 0.9, 1.0]),
    ),
    min_size=1,
    max_size=6,
)


@given(ROWS)
def test_a_row_does_not_depend_on_its_neighbours(
    rows: list[tuple[list[float], float, float, float]],
) -> None:
    def run(some: list[tuple[list[float], float, float, float]]) -> list[int]:
        logits, uniform, temperature, top_p = zip(*some, strict=True)
        chosen = choose(
            torch.tensor(logits),
            torch.tensor(uniform, dtype=torch.float64),
            torch.tensor(temperature),
            torch.tensor(top_p),
        )
        return chosen.tolist()

    together = run(rows)
    assert together == [run([row])[0] for row in rows]
    assert run(rows[::-1]) == together[::-1]


def test_frequencies_are_the_probabilities() -> None:
    weights = torch.tensor([0.05, 0.6, 0.35])
    uniform = torch.from_numpy(
        np.concatenate([numbers(stream_key(3, index), 50) for index in range(200)])
    )
    rows = len(uniform)
    tokens = choose(
        weights.log().repeat(rows, 1), uniform, torch.ones(rows), torch.ones(rows)
    ).bincount(minlength=3)
    assert np.abs(tokens.numpy() / rows - weights.numpy()).max() < 0.015
