from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from vilbench.errors import EngineError, InputError
from vilbench.scorers.prm import PrmScorer
from vilbench.steps import question_parts
from vilbench.testing import make_problem, make_solution
from vilbench.types import Image, Solution

PROBLEM = make_problem()


@dataclass(frozen=True)
class Answer:
    values: tuple[tuple[float | None, ...], ...]
    lengths: tuple[int, ...]
    computed: tuple[int, ...]


class Fake:
    """Scores a step by its length; refuses steps that say so."""

    def __init__(self, pause: float = 0.0) -> None:
        self.calls: list[tuple[tuple[str, ...], ...]] = []
        self.parts: list[tuple[str | Image, ...]] = []
        self.inside = 0
        self.most = 0
        self.threads: set[int] = set()
        self._pause = pause

    def score(self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]) -> Answer:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.threads.add(threading.get_ident())
        time.sleep(self._pause)
        self.inside -= 1
        self.parts.append(tuple(parts))
        self.calls.append(tuple(map(tuple, candidates)))
        for steps in candidates:
            if "too long" in steps:
                raise InputError("9 tokens are more than 8", field="steps")
            if "broken" in steps:
                raise EngineError("no finite number")
        return Answer(
            tuple(tuple(float(len(step)) for step in steps) for steps in candidates),
            tuple(10 + len(steps) for steps in candidates),
            tuple(len(steps) + 10 * (k == 0) for k, steps in enumerate(candidates)),
        )


def solutions(*texts: str) -> list[Solution]:
    return [make_solution(PROBLEM, index, text) for index, text in enumerate(texts)]


async def test_each_step_has_its_value() -> None:
    fake = Fake()
    scorer = PrmScorer(fake, "abc", "mine")
    records = await scorer.score(PROBLEM, solutions("a\nbb", "ccc", "a\nbb"))
    assert [record.values for record in records] == [(1.0, 2.0), (3.0,), (1.0, 2.0)]
    assert [record.usage.prompt_tokens for record in records] == [12, 11, 12]
    # The first pays the question, the next what it adds, an equal one nothing.
    assert [record.usage.cached_tokens for record in records] == [0, 10, 12]
    assert {record.scorer for record in records} == {"mine"}
    assert fake.calls == [(("a", "bb"), ("ccc",))]  # equal ones once
    assert fake.parts == [question_parts(PROBLEM)]
    assert (scorer.name, scorer.granularity, scorer.fingerprint) == ("mine", "step", "prm/abc")
    assert threading.get_ident() not in fake.threads
    assert await scorer.score(PROBLEM, []) == []


async def test_one_that_cannot_be_scored_takes_no_other_along() -> None:
    fake = Fake()
    texts = ("a", "b", "too long", "d", "e\nbroken", "f", "g")
    records = await PrmScorer(fake, "").score(PROBLEM, solutions(*texts))
    assert [record.values for record in records] == [
        *((1.0,), (1.0,), (None,), (1.0,), (None, None), (1.0,), (1.0,))
    ]
    assert records[2].error == f"problem '{PROBLEM.id}': field 'steps': 9 tokens are more than 8"
    assert records[4].error == f"problem '{PROBLEM.id}': no finite number"
    assert [k for k, record in enumerate(records) if record.error] == [2, 4]


async def test_nothing_scored_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match=f"problem '{PROBLEM.id}': .*more than 8"):
        await PrmScorer(Fake(), "").score(PROBLEM, solutions("too long", "a\ntoo long"))


async def test_one_call_at_a_time() -> None:
    fake = Fake(pause=0.02)
    scorer = PrmScorer(fake, "")
    await asyncio.gather(*(scorer.score(PROBLEM, solutions(f"{k}")) for k in range(4)))
    assert len(fake.calls) == 4
    assert fake.most == 1


async def test_the_loop_goes_on_meanwhile() -> None:
    reached, freed = threading.Event(), threading.Event()

    class Waiting(Fake):
        def score(
            self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]
        ) -> Answer:
            reached.set()
            assert freed.wait(60)  # only the loop can free it
            return super().score(parts, candidates)

    scoring = asyncio.create_task(PrmScorer(Waiting(), "").score(PROBLEM, solutions("a")))
    assert await asyncio.to_thread(reached.wait, 60)
    freed.set()
    assert len(await scoring) == 1


async def test_a_cancelled_call_is_not_overtaken() -> None:
    fake = Fake(pause=0.05)
    scorer = PrmScorer(fake, "")
    first = asyncio.create_task(scorer.score(PROBLEM, solutions("a")))
    await asyncio.sleep(0.01)
    first.cancel()
    await scorer.score(PROBLEM, solutions("b"))
    assert fake.most == 1
