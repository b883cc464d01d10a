"""The keys of a recipe's problems, and the commands about problem sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import table_data as data
from source_data import MATHVERSE, MMSTAR
from typer.testing import CliRunner, Result

from vilbench import config
from vilbench.cli.app import app
from vilbench.config import ProblemsConfig
from vilbench.errors import InputError, RecipeError
from vilbench.problems.adapters import SOURCES

RECIPE = """name: mine
problems: PROBLEMS
sample:
  engine: {model: folder}
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VILBENCH_DATA", str(tmp_path / "home"))


def recipe(problems: str) -> config.Recipe:
    return config.parse_text(RECIPE.replace("PROBLEMS", problems), "mine.yaml")


@pytest.mark.parametrize(
    ("problems", "field", "says"),
    [
        ("{source: mathvista, split: validation}", "problems.split", "there are testmini, test"),
        ("{source: puzzles, split: val}", "problems.split", "there are train, dev, test"),
        ("{source: mine.csv, path: other.csv}", "problems.path", "is for public sources"),
        ("{source: puzzles, revision: main}", "problems.revision", "is for public sources"),
        ("{source: mmstar, limit: 0}", "problems.limit", "a share"),
        ("{source: mmstar, limit: yes}", "problems.limit", "truth value"),
        ("{source: mmstar, limit: 20-10}", "problems.limit", "no range"),
        ("{source: mmstar, limit: [1]}", "problems.limit", "number or text"),
        ("{source: mmstar, draw: some}", "problems.draw", "category"),
        ("{source: mmstar, sample_ids: [a, a]}", "problems.sample_ids", "given twice"),
        ("{source: mmstar, sample_id: [a]}", "problems.sample_id", "no key"),
        ("{source: ''}", "problems.source", "must have 1 or more"),
        ("[{source: mmstar}, {source: mmstar, limit: x}]", "problems[1].limit", "a share"),
    ],
)
def test_wrong_problems_are_told_by_line_and_key(problems: str, field: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(problems)
    assert (caught.value.row, caught.value.field) == (2, field)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("problems", "name"),
    [
        ("{source: puzzles}", "puzzles:test"),
        ("{source: mathvista}", "mathvista:testmini"),
        ("{source: mmmu-pro, split: vision}", "mmmu-pro:vision"),
        ("{source: data/own.csv}", "own"),
    ],
)
def test_the_name_of_a_set(problems: str, name: str) -> None:
    assert recipe(problems).problem_set == name


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_can_be_named(name: str) -> None:
    assert recipe(f"{{source: {name}}}").problem_sets[0].source == name


def test_keys_that_were_not_given_stay_out_of_what_is_stored() -> None:
    """So a run of an older version has the same fingerprint."""
    dumped = ProblemsConfig(source="puzzles", limit=3).model_dump(mode="json")
    assert dumped == {"source": "puzzles", "split": "test", "limit": 3, "seed": None}
    whole = {
        "source": "mathvista",
        "split": "testmini",
        "path": "copy",
        "revision": "a" * 40,
        "columns": {"question": "asked"},
        "limit": "10-20",
        "draw": "first",
        "sample_ids": ["1"],
        "seed": 3,
    }
    again = ProblemsConfig.model_validate(whole)
    assert ProblemsConfig.model_validate(again.model_dump(mode="json")) == again


@pytest.mark.parametrize("key", ["path", "limit", "draw", "sample_ids", "revision", "columns"])
def test_what_changes_the_problems_changes_the_fingerprint(key: str) -> None:
    one = recipe("{source: mathvista}")
    values = {"path": "x", "limit": 3, "draw": "random", "sample_ids": ["1"], "revision": "a"}
    other = one.changed({f"problems.{key}": values.get(key, {"question": "asked"})})
    assert one.identity() != other.identity()


def copy(tmp_path: Path) -> Path:
    return data.parquet(tmp_path / "copy" / "testmini.parquet", MATHVERSE)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", ["1", "2", "3", "4", "5", "6", "7"]),
        (", limit: 2", ["1", "2"]),
        (", limit: 2-3", ["2", "3"]),
        (", limit: 0.5", ["1", "2", "3", "4"]),
        (", limit: 25%", ["1", "2"]),
        (", sample_ids: ['7', '3']", ["3", "7"]),
    ],
)
def test_subsets_of_a_source(tmp_path: Path, keys: str, expected: list[str]) -> None:
    path = copy(tmp_path)
    found = config.load_problems(recipe(f"{{source: mathverse, path: {path}{keys}}}"))
    assert [problem.id for problem in found.problems] == expected


def test_a_draw_takes_the_seed_of_the_run_or_its_own(tmp_path: Path) -> None:
    made = recipe(f"{{source: mathverse, path: {copy(tmp_path)}, limit: 3, draw: modality}}")
    drawn = [
        [problem.id for problem in config.load_problems(one).problems]
        for one in (
            made,
            made.changed({"seed": 5}),
            made.changed({"seed": 5, "problems.seed": 0}),
        )
    ]
    assert drawn[0] == drawn[2]
    assert all(len(ids) == 3 for ids in drawn)


def test_puzzles_by_range_and_by_id() -> None:
    first = config.load_problems(recipe("{source: puzzles, limit: 4}")).problems
    some = config.load_problems(recipe("{source: puzzles, limit: 3-4}")).problems
    assert some == first[2:]
    with pytest.raises(RecipeError, match="no end"):
        config.load_problems(recipe("{source: puzzles, limit: 0.5}"))
    with pytest.raises(RecipeError, match="none can be drawn"):
        config.load_problems(recipe("{source: puzzles, limit: 5, draw: random}"))


def test_several_benchmarks_in_one_run(tmp_path: Path) -> None:
    mathverse = copy(tmp_path)
    mmstar = data.parquet(tmp_path / "mmstar.parquet", MMSTAR)
    made = recipe(
        f"[{{source: mathverse, path: {mathverse}, limit: 2}}, {{source: mmstar, path: {mmstar}}}]"
    )
    found = config.load_problems(made)
    assert [problem.id for problem in found.problems] == [
        "mathverse:testmini/1",
        "mathverse:testmini/2",
        "mmstar:val/0",
        "mmstar:val/1",
    ]
    assert {problem.source for problem in found.problems} == {"MathVerse", "MMStar"}


Command = Callable[..., Result]


@pytest.fixture
def vilbench() -> Command:
    def run(*arguments: object, code: int = 0) -> Result:
        done = CliRunner().invoke(app, [str(one) for one in arguments])
        assert done.exit_code == code, done.output
        return done

    return run


def test_a_source_is_prepared_and_shown(vilbench: Command, tmp_path: Path) -> None:
    said = vilbench("problems", "prepare", "mathverse", "--path", copy(tmp_path)).output
    assert "7 problems of mathverse:testmini, 0 rows set aside" in said
    assert "7 rows; MathVerse, testmini, is known to have 3,940" in said
    card = json.loads((tmp_path / "home" / "mathverse-testmini" / "prepared.json").read_text())
    assert (card["problems"], card["revision"]) == (7, None)
    shown = vilbench("problems", "show", "mathverse", "--limit", "2-3").output
    assert shown.count("answer: ") == 2
    assert "2  [MathVerse, text-lite]" in shown
    named = vilbench("problems", "show", "mathverse", "--sample-id", 6).output
    assert "6  [MathVerse, text-dominant]" in named
    assert named.count("answer: ") == 1
    drawn = vilbench("problems", "show", "mathverse", "--limit", "40%", "--draw", "modality")
    assert drawn.output.count("answer: ") == 3


def test_a_prepared_folder_is_own_data(vilbench: Command, tmp_path: Path) -> None:
    out = tmp_path / "ready"
    vilbench("problems", "prepare", "mathverse", "--path", copy(tmp_path), "--out", out)
    shown = vilbench("problems", "show", out, "--limit", 1).output
    assert "1  [MathVerse, text-dominant]" in shown


def test_what_cannot_be_prepared_is_told(vilbench: Command, tmp_path: Path) -> None:
    told = vilbench("problems", "prepare", "mathverse", "--path", tmp_path / "none", code=2)
    assert "none: no such file or folder" in told.output
    told = vilbench("problems", "prepare", "matverse", code=2)
    assert "did you mean 'mathverse'?" in told.output
    told = vilbench("problems", "prepare", "mathvista:test", code=2)
    assert "its answers are not public" in told.output
    assert not (tmp_path / "home").exists()


def test_rows_that_were_set_aside_are_told(vilbench: Command, tmp_path: Path) -> None:
    rows: list[Any] = [{**MATHVERSE[0], "answer": "Z", "sample_index": "9"}, *MATHVERSE]
    path = data.parquet(tmp_path / "testmini.parquet", rows)
    said = vilbench("problems", "prepare", "mathverse", "--path", path).output
    assert "set aside: " in said
    assert "row 1, field 'answer'" in said
    assert "7 problems of mathverse:testmini, 1 rows set aside" in said


def test_the_list_names_every_source(vilbench: Command) -> None:
    said = vilbench("problems", "list").output
    assert all(f"{name}  " in said for name in SOURCES)


def test_errors_of_loading_are_input_errors() -> None:
    with pytest.raises(InputError, match="no commit of Lin-Chen/MMStar is known here"):
        config.load_problems(recipe("{source: mmstar}"))


def test_where_problems_come_from_is_known(tmp_path: Path) -> None:
    path = copy(tmp_path)
    made = recipe(f"[{{source: mathverse, path: {path}}}, {{source: puzzles, limit: 2}}]")
    found = config.load_problems(made)
    assert found.origins == (f"mathverse:testmini: {path}", "puzzles:test: drawn with seed 0")
    assert found.digest() == config.load_problems(made).digest()
    fewer = config.load_problems(recipe(f"{{source: mathverse, path: {path}, limit: 2}}"))
    assert fewer.digest() != found.digest()
