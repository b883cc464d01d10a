"""Which recipes a stored run can go on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vilbench.errors import RunMismatchError
from vilbench.store.growth import departures
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_problem

JUDGE, LIKELIHOOD = {"name": "judge", "form": "orm"}, {"name": "likelihood"}


def manifest(n: int = 4, limit: int = 9, seed: int = 7, **more: Any) -> Manifest:
    recipe = {
        "problems": {"source": "puzzles", "limit": limit},
        "sample": {"temperature": 1.0, "n": n},
        "scorers": [JUDGE],
        **more,
    }
    return Manifest.of("demo", recipe, seed=seed, problem_set="puzzles:test")


@pytest.mark.parametrize(
    "more",
    [
        manifest(n=8),
        manifest(limit=20),
        manifest(limit=2),  # which problems are stored is told by the problems themselves
        manifest(scorers=[JUDGE, LIKELIHOOD]),
        manifest(scorers=[LIKELIHOOD, JUDGE]),
        manifest(n=8, limit=20, scorers=[LIKELIHOOD, JUDGE]),
    ],
)
def test_a_recipe_that_asks_for_more_departs_in_nothing(more: Manifest) -> None:
    assert departures(manifest(), more) == ()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (manifest(n=3), "sample.n: 4 -> 3"),
        (manifest(seed=8), "run seed: 7 -> 8"),
        (manifest(sample={"temperature": 0.5, "n": 8}), "sample.temperature: 1.0 -> 0.5"),
        (manifest(scorers=[LIKELIHOOD]), "scorers[0].form"),
        (manifest(scorers=[]), "scorers[0].form"),
        (manifest(scorers=[{**JUDGE, "form": "prm"}, LIKELIHOOD]), "scorers[0].form"),
        (manifest(grading="strict"), "grading"),
        (manifest(n=8, grading="strict"), "grading"),
    ],
)
def test_what_departs_is_told(other: Manifest, told: str) -> None:
    assert [told in line for line in departures(manifest(), other)].count(True) == 1


def test_a_run_grows_once_it_is_told_to(tmp_path: Path) -> None:
    folder, larger = tmp_path / "run", manifest(n=8)
    with Run.open(folder, manifest()) as run:
        run.add_problems([make_problem()])
        run.write_results("{}")
    with pytest.raises(RunMismatchError, match="another recipe"):
        Run.open(folder, larger)
    with pytest.raises(RunMismatchError, match=r"go on with it by --extend") as refused:
        Run.open(folder, larger, extend=False)
    assert refused.value.differences == ("sample.n: 4 -> 8",)
    with Run.open(folder, larger, extend=True) as run:
        assert run.manifest.fingerprint == manifest().fingerprint
    # Nobody has grown it yet: it is still what it was.
    with Run.open(folder, manifest()) as run:
        run.grow(manifest())
        assert [event.kind for event in run.events()] == []
    with Run.open(folder, larger, extend=True) as run:
        run.grow(larger)
        assert run.manifest.fingerprint == larger.fingerprint
        # Results of the smaller run would pass as those of the larger one.
        assert not (folder / "results.json").exists()
        assert [(event.kind, dict(event.data)) for event in run.events()] == [
            ("extended", {"changes": ["sample.n: 4 -> 8"]})
        ]
        with pytest.raises(RunMismatchError, match=r"sample\.n: 8 -> 4"):
            run.grow(manifest())
    with Run.open(folder, larger) as run:
        assert [one.id for one in run.problems()] == ["p0"]
    with pytest.raises(RunMismatchError, match="another recipe"):
        Run.open(folder, manifest(), extend=True)
