"""What best-of-n reaches at the compute of a guided search."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "guided.py"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guided", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["guided"] = module
    spec.loader.exec_module(module)
    return module


guided = loaded()


def reached(policy: float, scorer: float, *correct: float) -> Any:
    """A size of best-of-n; what was written is no part of the compute."""
    size = len(correct)
    spent = np.full(size, policy), np.full(size, scorer)
    return guided.Reached(np.array(correct), np.full(size, 7.0), *spent)


ONE = reached(60, 40, 0, 1, 0)  # 100 tokens
TWO = reached(150, 50, 1, 1, 0)  # 200
FOUR = reached(700, 100, 1, 0, 1)  # 800
LADDER = [ONE, TWO, FOUR]


def test_compute_is_of_policy_and_scorer_in_the_mean_of_problems() -> None:
    spent = guided.Reached(*map(np.array, ([0.0, 1.0], [9.0, 9.0], [10.0, 30.0], [1.0, 5.0])))
    assert spent.compute == 23.0


@pytest.mark.parametrize(("tokens", "size"), [(100, ONE), (200, TWO), (800, FOUR)])
def test_at_the_compute_of_a_size_it_is_that_size(tokens: float, size: Any) -> None:
    assert guided.at_compute(tokens, LADDER).tolist() == size.correct.tolist()


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (100 * math.sqrt(2), [0.5, 1.0, 0.0]),  # half way from 100 to 200, and no 150
        (400, [1.0, 0.5, 0.5]),  # half way from 200 to 800
        (200 * math.sqrt(2), [1.0, 0.75, 0.25]),  # a quarter of it
    ],
)
def test_between_two_sizes_it_goes_by_the_logarithm(tokens: float, expected: list[float]) -> None:
    assert guided.at_compute(tokens, LADDER) == pytest.approx(expected)


@pytest.mark.parametrize("tokens", [99.9, 800.1])
def test_outside_the_sizes_there_is_nothing_to_compare_with(tokens: float) -> None:
    assert guided.at_compute(tokens, LADDER) is None


@pytest.mark.parametrize("ladder", [[], [ONE], [ONE, ONE]])
def test_two_sizes_of_the_same_compute_have_nothing_between(ladder: list[Any]) -> None:
    assert guided.at_compute(100, ladder) is None


def test_a_size_that_costs_no_more_than_the_one_before_is_passed_over() -> None:
    again = reached(100, 0, 1, 0, 1)
    # From `again` to TWO, in whose pool the second problem is right and the third is not.
    assert guided.at_compute(100 * math.sqrt(2), [ONE, again, TWO]) == pytest.approx([1, 0.5, 0.5])
