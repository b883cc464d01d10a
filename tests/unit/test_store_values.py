import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_data import in_memory, manifest, problem, score, solution

from vilbench.errors import RunError
from vilbench.store.records import Failure
from vilbench.store.run import Run
from vilbench.types import StepScores


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that syncs fast; see `in_memory`."""
    with in_memory() as folder:
        yield folder


def test_a_failure_is_cleared_by_success_of_its_unit_only(tmp_path: Path) -> None:
    def failure(stage: Any, key: str, problem_id: str, attempts: int = 1) -> Failure:
        return Failure(
            stage=stage, key=key, problem_id=problem_id, error="timeout", attempts=attempts
        )

    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a"), problem("b")])
        for one in [("sample", "k", "a"), ("sample", "l", "a"), ("score", "k", "a")]:
            run.put_failure(failure(*one))
        run.put_failure(failure("sample", "k", "b"))
        run.put_failure(failure("sample", "k", "b", 2))
        assert len(run.failures()) == 4
        run.put_solutions("k", [solution("a")])
        assert run.failures() == [
            failure("sample", "l", "a"),
            failure("score", "k", "a"),
            failure("sample", "k", "b", 2),
        ]
        run.put_scores("k", [score("a")])
        assert [one.stage for one in run.failures()] == ["sample", "sample"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_refused_not_turned_into_none(
    tmp_path: Path, value: float
) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
        with pytest.raises(RunError, match="StepScores"):
            run.put_scores("s", [score("a", 0, 1.0), score("a", 1, value)])
        assert run.scores("s") == {}


@settings(max_examples=30, deadline=None)
@given(
    text=st.text(max_size=50),
    values=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=5),
)
def test_any_text_and_any_value_comes_back_as_it_was(text: str, values: list[float | None]) -> None:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        steps = StepScores(
            problem_id="'; DROP TABLE problems; --",
            solution_index=0,
            scorer=text,
            granularity="step",
            values=tuple(values),
        )
        written = solution(steps.problem_id, 0, text + "\ud800\x00\x1b[31m")
        with Run.open(Path(folder), manifest()) as run:
            run.add_problems([problem(steps.problem_id)])
            run.put_solutions(text, [written])
            run.put_scores(text, [steps])
            assert run.solutions(text) == {steps.problem_id: [written]}
            assert list(run.scores(text).values()) == [steps]


def test_a_hundred_kilobytes_of_text(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
        run.put_solutions("k", [solution("a", 0, "x" * 100_000)])
        assert run.solutions("k")["a"][0].text == "x" * 100_000


def test_an_identity_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        with pytest.raises(RunError, match="surrogate"):
            run.put_solutions("k", [solution("\ud800")])
        with pytest.raises(RunError, match="surrogate"):
            run.solutions("\ud800")


def test_derived_files_are_replaced_whole(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        assert run.write_derived("report.html", b"old").read_bytes() == b"old"
        assert run.write_derived("report.html", b"new").read_bytes() == b"new"
        run.write_results('{"a": 1}')
    assert (tmp_path / "results.json").read_text() == '{"a": 1}'


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "/etc/x", "a\0", "a\n", ".hidden", "x.partial"),
        *("manifest.json", "run.sqlite", "run.sqlite-wal", "run.lock", "images"),
    ],
)
def test_derived_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    with Run.open(tmp_path, manifest()) as run, pytest.raises(ValueError, match="derived"):
        run.write_derived(name, b"x")


def test_a_forged_derived_name_removes_nothing_outside(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("x")
    Run.open(tmp_path / "run", manifest()).close()
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as connection:
        connection.execute("INSERT INTO derived VALUES ('../victim.txt')")
    connection.close()
    Run.open(tmp_path / "run", manifest(), fresh=True).close()
    assert victim.exists()
