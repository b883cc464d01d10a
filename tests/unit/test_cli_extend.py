"""`--extend`: a stored run goes on with a recipe that asks for more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import TINY, Command, runner

from vilbench.errors import RunStorageError
from vilbench.evaluate.stages import noted
from vilbench.store.run import Run

JUDGE = """\
  - {kind: judge, name: judge, granularity: solution, prompt: brief,
     engine: {kind: local, model: "embedded:small"}}
"""


@pytest.fixture
def vilbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return runner(capsys, monkeypatch)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def shown(folder: Path) -> dict[str, Any]:
    """The results without what differs between two times that find the same."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return {key: value for key, value in results.items() if key != "costs"}


def test_more_of_everything_is_what_asking_for_it_at_once_gives(
    vilbench: Command, recipe: Path, tmp_path: Path
) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    vilbench("run", recipe, "--out", grown, "--plain")
    recipe.write_text(TINY + JUDGE)
    more = ("--limit", 4, "-n", 3)
    assert "--extend" in vilbench("run", recipe, "--out", grown, *more, code=2).err
    said = vilbench("run", recipe, "--out", grown, *more, "--extend", "--plain").out
    assert "sample: 4 problems, 0 stored already" in said
    vilbench("run", recipe, "--out", whole, *more, "--plain")
    assert shown(grown) == shown(whole)
    with Run.read(grown) as a, Run.read(whole) as b:
        assert [one.id for one in a.problems()] == [one.id for one in b.problems()]
        key = noted(a).sample_key
        texts = {one: [s.text for s in pool] for one, pool in a.solutions(key).items()}
        assert texts == {one: [s.text for s in pool] for one, pool in b.solutions(key).items()}
        assert [event.kind for event in a.events()].count("extended") == 1
    # From now on it is a run of the larger recipe, and of no smaller one.
    assert "4 stored already" in vilbench("run", recipe, "--out", grown, *more, "--plain").out
    assert "sample.n: 3 -> 2" in vilbench("run", recipe, "--out", grown, "--extend", code=2).err


def test_what_was_paid_for_is_kept(vilbench: Command, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    vilbench("run", recipe, "--out", out, "--plain")
    with Run.read(out) as run:
        key = noted(run).sample_key
        before = run.solutions(key)
    vilbench("run", recipe, "--out", out, "-n", 4, "--extend", "--plain")
    with Run.read(out) as run:
        after = run.solutions(key)
    assert {one: pool[:2] for one, pool in after.items()} == before
    assert {len(pool) for pool in after.values()} == {4}


def test_no_problem_is_lost(vilbench: Command, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    vilbench("run", recipe, "--out", out, "--plain")
    said = vilbench("run", recipe, "--out", out, "--limit", 1, "--extend", code=2).err
    assert "problems of the run are no longer in the input" in said
    said = vilbench("run", recipe, "--out", out, "--seed", 3, "--extend", code=2).err
    assert "run seed: 0 -> 3" in said
    # Refused twice, it goes on as before.
    assert "2 stored already" in vilbench("run", recipe, "--out", out, "--plain").out


def test_killed_as_it_grows_it_goes_on_as_the_larger_one(
    vilbench: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    vilbench("run", recipe, "--out", out, "--plain")
    with monkeypatch.context() as patched:

        def killed(*_: object) -> None:
            raise RunStorageError("the disk is full")

        patched.setattr(Run, "add_problems", killed)
        said = vilbench("run", recipe, "--out", out, "--limit", 3, "--extend", code=2).err
        assert "the disk is full" in said
    assert not (out / "results.json").exists()  # those of two problems would pass for three
    said = vilbench("run", recipe, "--out", out, "--limit", 3, "--plain").out
    assert "sample: 3 problems, 2 stored already" in said
    assert shown(out)["n_problems"] == 3


def test_starting_over_and_going_on_exclude_each_other(
    vilbench: Command, recipe: Path, tmp_path: Path
) -> None:
    for command in ("run", "sample"):
        said = vilbench(command, recipe, "--out", tmp_path / "x", "--fresh", "--extend", code=2).err
        assert "take one of them" in said
    assert not (tmp_path / "x").exists()
