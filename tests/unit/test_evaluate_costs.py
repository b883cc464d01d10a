"""Costs of the stages: tokens from what is stored, time and memory from the starts' notes."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest

from vilbench.engines.openai.money import TokenPrice
from vilbench.errors import EngineError
from vilbench.evaluate.costs import costs
from vilbench.evaluate.effort import WORK, effort, efforts
from vilbench.evaluate.pools import Pools
from vilbench.evaluate.results import Cost, Row
from vilbench.evaluate.scoring import score
from vilbench.evaluate.stages import note_sampling, noted
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import Problem, Solution, Span, StepScores, Usage

PROMPT, COMPLETION = 100, 20


def problem(number: int) -> Problem:
    return Problem(
        id=f"p{number}", source="s", question="q", answer="1", answer_kind="number",
        modality="text-dominant",
    )  # fmt: skip


def solution(problem_id: str, index: int) -> Solution:
    return Solution(
        problem_id=problem_id, index=index, text="1", steps=(Span(0, 1),), answer="1",
        verdict="correct", finish_reason="stop",
        usage=Usage(prompt_tokens=PROMPT, completion_tokens=COMPLETION),
    )  # fmt: skip


class Fixed:
    """A scorer that gives 1 and takes 10 tokens a solution; it fails on some problems once."""

    name, granularity, fingerprint = "prm", "step", "f"

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.failing = failing

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        if problem.id in self.failing:
            raise EngineError("no")
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer="prm",
                granularity="step",
                values=(1.0,),
                usage=Usage(prompt_tokens=10),
            )
            for one in solutions
        ]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    manifest = Manifest.of("r", {}, seed=0, problem_set="x", versions={})
    run = Run.open(tmp_path / "run", manifest)
    run.add_problems([problem(i) for i in range(4)])
    note_sampling(run, "k", 2, "policy")
    with effort(run, "k") as tally:
        for i in range(3):
            run.put_solutions("k", [solution(f"p{i}", j) for j in range(2)])
            tally.problems += 1
    return run


def found(
    run: Run,
    prices: dict[str, TokenPrice] | None = None,
    rows: dict[str, Row] | None = None,
) -> dict[str, Cost]:
    begun = noted(run)
    values = {name: run.scores(key) for name, key in begun.score_keys.items()}
    pools = Pools.of(run.problems(), run.solutions("k"), 2)
    return {one.stage: one for one in costs(run, pools, values, prices or {}, rows or {})}


async def test_tokens_are_per_problem_that_holds_something(run: Run) -> None:
    with run:
        await score(run, Fixed(failing=["p2"]), "k")  # type: ignore[arg-type]
        told = found(run)
    assert (told["sample"].n_problems, told["sample"].n_solutions) == (3, 6)
    assert told["sample"].prompt_tokens == 2 * PROMPT
    assert told["sample"].completion_tokens == 2 * COMPLETION
    assert (told["prm"].n_problems, told["prm"].prompt_tokens) == (2, 20)
    assert told["prm"].usd is None


async def test_seconds_are_summed_over_the_starts_of_a_stage(run: Run) -> None:
    with run:
        await score(run, Fixed(failing=["p2"]), "k")  # type: ignore[arg-type]
        await score(run, Fixed(), "k")  # type: ignore[arg-type]
        key = noted(run).score_keys["prm"]
        starts = efforts(run)[key]
        assert [one.problems for one in starts] == [3, 1]
        events = len(run.events())
        await score(run, Fixed(), "k")  # type: ignore[arg-type]
        assert len(run.events()) == events
        data = [
            event.data for event in run.events() if event.kind == WORK and event.data["key"] == key
        ]
        told = found(run)["prm"]
    assert told.n_timed == 4
    assert told.seconds == pytest.approx(sum(float(str(one["seconds"])) for one in data) / 4)


def test_an_interrupted_start_is_noted_for_what_it_stored(run: Run) -> None:
    with run:
        with pytest.raises(KeyboardInterrupt), effort(run, "other") as tally:
            tally.problems += 2
            raise KeyboardInterrupt
        assert [one.problems for one in efforts(run)["other"]] == [2]


def test_an_old_run_shows_tokens_only(run: Run) -> None:
    with run:
        assert found(run)["sample"].n_timed == 3
        note_sampling(run, "old", 2, "policy")
        run.put_solutions("old", [solution("p0", 0)])
        pools = Pools.of(run.problems(), run.solutions("old"), 1)
        (told,) = costs(run, pools, {}, {}, {})
    assert told.seconds is None
    assert told.peak_bytes is None
    assert told.n_timed == 0
    assert told.prompt_tokens == PROMPT


async def test_a_stage_has_what_it_buys_beside_it(run: Run) -> None:
    row = Row(
        problem_set="x", source="all", modality="all", method="prm/mean", k=2, n_problems=4,
        accuracy=0.6, ci_low=0.5, ci_high=0.7, accuracy_min=0.6, accuracy_max=0.6, tie_rate=0.0,
        delta_vs_cot=0.1, delta_low=0.0, delta_high=0.2, p_value=0.04,
    )  # fmt: skip
    with run:
        await score(run, Fixed(), "k")  # type: ignore[arg-type]
        told = found(run, rows={"prm": row})
    assert (told["prm"].kind, told["sample"].kind) == ("score", "sample")
    assert (told["prm"].method, told["prm"].accuracy) == ("prm/mean", 0.6)
    assert (told["prm"].ci_low, told["prm"].ci_high) == (0.5, 0.7)
    assert (told["sample"].method, told["sample"].accuracy) == (None, None)


def test_money_is_by_the_price_of_the_stage(run: Run) -> None:
    with run:
        told = found(run, {"sample": TokenPrice(2.0, 10.0)})
    per_problem = 2 * (PROMPT * 2.0 + COMPLETION * 10.0) / 1e6
    assert told["sample"].usd == pytest.approx(per_problem)


def test_memory_is_the_most_while_the_stage_went_on(run: Run) -> None:
    with run:
        with effort(run, "big") as tally:
            held = bytearray(64 << 20)
            held[::4096] = b"1" * len(held[::4096])
            tally.problems += 1
        del held
        with effort(run, "small") as tally:
            tally.problems += 1
        big, small = efforts(run)["big"][0].peak_bytes, efforts(run)["small"][0].peak_bytes
    assert big is not None
    assert small is not None
    assert big > 64 << 20
    if sys.platform == "linux":
        assert small < big


def test_memory_of_accelerators_is_asked_of_a_loaded_torch(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset: list[int] = []
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        reset_peak_memory_stats=reset.append,
        max_memory_allocated=lambda device: 10 * (device + 1),
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    with run:
        with effort(run, "gpu") as tally:
            tally.problems += 1
        assert efforts(run)["gpu"][0].accelerator_bytes == 30
    assert reset == [0, 1]
