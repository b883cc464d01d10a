"""What work on GPUs is said to cost follows from counted tokens and stated assumptions."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pool_data import Crew
from pydantic import ValidationError

from vilbench.engines.rehearsal import Work

ROOT = Path(__file__).parents[2]


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks" / "scaling.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


scaling = loaded()
GIVEN = scaling.assumed(scaling.ASSUMPTIONS)
COUNTED = scaling.counted(GIVEN.solutions)
ROUND = GIVEN.model_copy(
    update={
        "reading": 0.5,
        "writing": 0.5,
        "memory": 1.0,
        "most_sequences": 10,
        "policy": scaling.Model(name="m", parameters=1e9, kv_bytes=1e6),
    }
)
GPU = scaling.Gpu(name="g", usd_per_hour=2, memory_gb=4, tflops=400, gb_per_s=2000)


def test_the_page_has_what_the_command_prints() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert "\n".join(scaling.costs(GIVEN, COUNTED)) in page


def test_arithmetic_bounds_reading() -> None:
    # Half of 400e12 operations a second, at two for each of 1e9 parameters.
    assert scaling.Assumptions.read_per_s(ROUND, GPU, ROUND.policy) == 100_000


@pytest.mark.parametrize(
    ("context", "sequences"),
    [
        (100, 10),  # as many as the server takes
        (500, 4),  # 2 GB beside the weights hold four times 500 MB
        (2500, 0),  # not even one
    ],
)
def test_bandwidth_and_memory_bound_writing(context: int, sequences: int) -> None:
    # A token of each moves 2 GB of weights once, and 1 MB for each token before, at 1000 GB/s.
    moved = 2 + sequences * context / 1000
    assert ROUND.written_per_s(GPU, ROUND.policy, context) == pytest.approx(
        sequences * 1000 / moved
    )


def test_nothing_is_written_faster_than_read() -> None:
    wide = ROUND.model_copy(update={"most_sequences": 10_000})
    quick = GPU.model_copy(update={"gb_per_s": 1e6})
    assert wide.written_per_s(quick, wide.policy, 0.1) == 100_000


def test_hours_are_of_what_is_not_cached() -> None:
    work = Work(requests=10, completions=10, prompt_tokens=4e8, cached_tokens=4e7)
    assert ROUND.hours(GPU, ROUND.policy, work) == pytest.approx(3.6e8 / 100_000 / 3600)
    long = Work(requests=1, completions=1, prompt_tokens=2400, completion_tokens=200)
    assert math.isinf(ROUND.hours(GPU, ROUND.policy, long))


def test_labels_of_which_half_are_kept_cost_twice_as_much() -> None:
    once = COUNTED.scaled(GIVEN)
    twice = COUNTED.scaled(GIVEN.model_copy(update={"kept": 0.5}))
    assert twice.policy.completion_tokens == pytest.approx(2 * once.policy.completion_tokens)
    assert twice.hosted_usd == pytest.approx(2 * once.hosted_usd)
    assert twice.sampled == once.sampled
    assert once.sampled.completions == pytest.approx(GIVEN.problems * GIVEN.solutions)
    assert once.judge.completions == pytest.approx(once.hosted.completions)


def test_assumptions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError):
        scaling.Gpu(name="g", usd_per_hour=-1, memory_gb=4, tflops=1, gb_per_s=1)
    with pytest.raises(ValidationError):
        scaling.Assumptions.model_validate({**GIVEN.model_dump(), "reading": 40})


async def test_a_job_is_one_call_of_one_worker() -> None:
    crew = Crew(lambda number: [scaling.Empty()])
    pool = crew.pool(1)
    await pool.open()
    await scaling.jobs(pool, 20, 4, b"data")
    assert (pool.counts.jobs, pool.counts.again) == (20, 0)
    await pool.aclose()
