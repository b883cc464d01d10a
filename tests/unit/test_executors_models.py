"""Generators and scorers on workers say what they say here, and images travel with their bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pool_data import Crew

from vilbench.errors import EngineError
from vilbench.executors.models import PooledGenerator, PooledScorer, pooled
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
