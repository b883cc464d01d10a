"""Generators and scorers on workers say what they say here, and images travel with their bytes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from collect_data import SEARCHES, HashScorer, make_method, make_run, reply
from pool_data import Crew

from vilbench.collect.forest import Width, collect
from vilbench.errors import EngineError
from vilbench.executors.models import PooledGenerator, PooledScorer, pooled
from vilbench.store import trees
from vilbench.store.run import Run
from vilbench.testing import (
    ScriptedEngine,
    TableScorer,
    make_problem,
    make_solution,
    prompt_text,
    tiny_png,
)
from vilbench.types import FileSource, Generator, Image, Prompt, Sampling, StepScorer


def models() -> list[Any]:
    engine = ScriptedEngine(lambda prompt, index: f"{prompt_text(prompt)} {index}")
    return [engine, TableScorer("table", "solution", {("p0", 0): [4.0]})]


class Seeing(ScriptedEngine):
    """Says how many bytes the images have."""

    def __init__(self, forget: Path) -> None:
        super().__init__(self._look)
        self._forget = forget

    def _look(self, prompt: Prompt, index: int) -> str:
        self._forget.unlink(missing_ok=True)
        return str([len(image.read()) for image in prompt.images])


async def test_they_answer_as_they_do_here() -> None:
    pool = Crew(lambda number: models()).pool(2)
    facts = await pool.open()
    engine, scorer = (pooled(pool, place, fact, 2) for place, fact in enumerate(facts))
    here, table = models()
    assert isinstance(engine, PooledGenerator)
    assert isinstance(engine, Generator)
    assert isinstance(scorer, PooledScorer)
    assert isinstance(scorer, StepScorer)
    assert (engine.name, engine.fingerprint) == (here.name, here.fingerprint)
    assert (scorer.name, scorer.fingerprint) == (table.name, table.fingerprint)
    assert scorer.granularity == "solution"
    prompt = Prompt(("How many?",), "system", "Step 1:")
    asked = (prompt, 3, Sampling(), 7)
    assert await engine.generate(*asked, first=2) == await here.generate(*asked, first=2)
    solutions = [make_solution(make_problem(), index) for index in range(2)]
    given = await scorer.score(make_problem(), solutions)
    assert given == await table.score(make_problem(), solutions)
    await pool.aclose()


async def test_images_travel_with_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(tiny_png())
    image = Image.of(FileSource(path))
    pool = Crew(lambda number: [Seeing(path)]).pool(1)
    (facts,) = await pool.open()
    engine = PooledGenerator(pool, 0, facts, 1)
    (told,) = await engine.generate(Prompt((image, "?")), 1, Sampling(), 0)
    assert told.text == f"[{len(tiny_png())}]"
    with pytest.raises(EngineError, match=r"a\.png"):
        await engine.generate(Prompt((image, "?")), 1, Sampling(), 0)
    scorer = PooledScorer(pool, 0, facts, 1)
    with pytest.raises(EngineError, match=r"a\.png"):
        await scorer.score(make_problem(images=(image,)), [])
    await pool.aclose()


def grown(run: Run, key: str) -> dict[str, Any]:
    """Trees, and what they cost but for time."""
    found = trees.trees(run, key)
    return {
        one.tree.problem_id: (one.tree, one.spent.model_copy(update={"seconds": 0.0}))
        for one in found
    }


@pytest.mark.parametrize("rule", SEARCHES)
async def test_trees_are_the_same_whatever_workers_are_lost(rule: str, tmp_path: Path) -> None:
    with make_run(tmp_path / "here") as run:
        method = make_method(rule)
        await collect(run, method, width=Width(1, 1, 1))
        here = grown(run, method.key)
    crew = Crew(lambda number: [ScriptedEngine(reply), HashScorer()])
    chance = random.Random(1)
    crew.ends = lambda job, begun: chance.random() < 0.15
    pool = crew.pool(3, tries=9)
    engine, scorer = (pooled(pool, place, fact, 2) for place, fact in enumerate(await pool.open()))
    judged = scorer if rule == "rest-mcts" else None
    with make_run(tmp_path / "there") as run:
        method = make_method(rule, engine, judged)
        harvest = await collect(run, method, width=Width(6, 9, 9))
        assert (harvest.finished, harvest.failed, harvest.request_errors) == (6, 0, 0)
        assert grown(run, method.key) == here
    assert pool.counts.lost > 3
    assert pool.counts.again >= pool.counts.lost
    assert pool.counts.set_aside == 0
    await pool.aclose()


async def test_a_problem_whose_requests_end_workers_has_no_tree(tmp_path: Path) -> None:
    crew = Crew(lambda number: [ScriptedEngine(reply), HashScorer()])
    crew.ends = lambda job, begun: "sum 2?" in repr(job.arguments)
    pool = crew.pool(2)
    engine, scorer = (pooled(pool, place, fact, 2) for place, fact in enumerate(await pool.open()))
    with make_run(tmp_path / "run") as run:
        harvest = await collect(run, make_method("rest-mcts", engine, scorer))
        assert (harvest.finished, harvest.failed) == (5, 1)
        (failure,) = run.failures()
        assert failure.problem_id == "p2"
        assert "set aside, tried 3 times" in failure.error
    await pool.aclose()
