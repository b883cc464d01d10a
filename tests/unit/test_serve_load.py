"""Many clients at once, by the benchmark's own client: nothing lost, nothing mixed up."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from serve_data import TextScorer, running

from vilbench.serve.limits import Limits
from vilbench.types import Problem, Solution, StepScores

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "serving.py"


@pytest.fixture(scope="module")
def serving() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_serving", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def options(**more: Any) -> argparse.Namespace:
    given: dict[str, Any] = {"clients": 24, "seconds": 1.0, "alone": 0.2, "flood": 0}
    given |= {"problems": 5, "solutions": 2, "queue": 4, "least": 0.0}
    return argparse.Namespace(**{**given, **more})


async def test_every_request_is_answered_with_its_own_scores(
    serving: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer = TextScorer(seconds=0.01)
    with running(scorer) as server:
        assert await serving.measure(options(), server.url) == []
    assert "24 clients: " in capsys.readouterr().out
    assert max(scorer.calls) > 2  # requests of several clients went together


async def test_a_flood_is_refused_and_passes(
    serving: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = Limits(waiting=4, batch_tokens=1500)
    with running(TextScorer(seconds=0.02), limits=limits) as server:
        assert await serving.measure(options(clients=2, flood=32), server.url) == []
        assert server.made.service.queue.load.refused > 0
        assert server.made.service.queue.waiting == 0
    assert "429: " in capsys.readouterr().out


async def test_what_must_not_be_is_told(serving: ModuleType) -> None:
    class Forgetful(TextScorer):
        async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
            if len(self.calls) == 12:
                self.granularity = "solution"
            return await super().score(problem, solutions)

    with running(Forgetful()) as server:
        faults = await serving.measure(options(least=1e6), server.url)
    assert any(one.endswith("x wrong") for one in faults)
    assert any("is less than" in one for one in faults)
    refused = await serving.ask(server.url, [b"{}"], 2, 0.05)
    assert refused.faults("200") == [f"{refused.sent} x lost (ConnectError)"]
    with running(TextScorer()) as other:
        unusable = await serving.ask(other.url, [b"{}"], 2, 0.05)
    assert unusable.faults("200") == [f"{unusable.sent} x 400"]
