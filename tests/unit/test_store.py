import errno
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from vilbench.errors import ImageError, RunError, RunLockedError, RunMismatchError, RunStorageError
from vilbench.store import disk
from vilbench.store.manifest import Manifest
from vilbench.store.records import Failure, ScoreRef
from vilbench.store.run import Run
from vilbench.types import BytesSource, Image, Problem, Solution, Span, StepScores, Usage

RECIPE: dict[str, JsonValue] = {
    "sample": {"temperature": 1.0, "n": 4},
    "scorers": [{"name": "judge"}, {"name": "likelihood"}],
}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: these tests sync the disk a thousand times.

    Every user can reach it, unlike pytest's own.
    """
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def manifest(**changes: Any) -> Manifest:
    options: dict[str, Any] = {"recipe": RECIPE, "seed": 7, "problem_set": "puzzles:test"}
    return Manifest.of("demo", **{**options, **changes})


def image(shade: int) -> Image:
    buffer = io.BytesIO()
    PIL.Image.new("L", (8, 8), shade).save(buffer, "PNG")
    return Image.of(BytesSource(buffer.getvalue()))


def problem(identity: str, *images: Image, **changes: Any) -> Problem:
    fields: dict[str, Any] = {"question": "How many?", "answer": "3", "answer_kind": "number"}
    return Problem(id=identity, source="counting", images=images, **{**fields, **changes})


def solution(problem_id: str, index: int = 0, text: str = "One.\nTwo.") -> Solution:
    return Solution(
        problem_id=problem_id,
        index=index,
        text=text,
        steps=(Span(0, 4), Span(5, len(text))),
        answer="3",
        verdict="correct",
        finish_reason="stop",
        usage=Usage(prompt_tokens=5, completion_tokens=2),
        seed=7,
    )


def score(problem_id: str, index: int = 0, *values: float | None) -> StepScores:
    return StepScores(
        problem_id=problem_id,
        solution_index=index,
        scorer="judge",
        granularity="step",
        values=values or (0.1, None),
    )


def openings(folder: Path) -> list[Callable[[], Run]]:
    """Both ways to open a run."""
    return [lambda: Run.read(folder), lambda: Run.open(folder, manifest())]


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked process, which ends without any clean-up; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            body()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return child


def ended(child: int) -> int:
    """Wait for a child; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Creating, resuming, refusing.


def test_a_run_gives_back_what_it_was_given(tmp_path: Path) -> None:
    problems = [problem("p2", image(1), image(2)), problem("p1", image(1)), problem("p3")]
    with Run.open(tmp_path / "deep" / "run", manifest()) as run:
        run.add_problems(problems)
        run.put_solutions("k", [solution("p1", 1), solution("p1", 0)])
        run.put_solutions("k", [solution("p2", 0)])
        run.put_scores("judge", [score("p1", 0, 0.1, None), score("p1", 1, 1e-300, -3.0)])
        run.put_scores("orm", [score("p1", 0, 5.0)])
        run.event("sampled", {"n": 3})
    with Run.read(tmp_path / "deep" / "run") as run:
        assert run.manifest == manifest().model_copy(update={"created": run.manifest.created})
        assert run.problems() == problems
        assert [one.read() for one in run.problems()[0].images] == [
            image(1).read(),
            image(2).read(),
        ]
        assert run.solutions("k") == {
            "p2": [solution("p2", 0)],
            "p1": [solution("p1", 0), solution("p1", 1)],
        }
        assert list(run.solutions("k")) == ["p2", "p1"]
        assert run.solutions("other") == {}
        assert run.scores("judge") == {
            ScoreRef("p1", 0): score("p1", 0, 0.1, None),
            ScoreRef("p1", 1): score("p1", 1, 1e-300, -3.0),
        }
        assert (run.solution_keys(), run.score_keys()) == (["k"], ["judge", "orm"])
        (event,) = run.events()
        assert (event.kind, event.data) == ("sampled", {"n": 3})
        assert event.at.endswith("+00:00")


def test_the_folder_is_laid_out_as_documented(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("p", image(5))])
        run.write_results('{"rows": []}')
    digest = image(5).digest
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert names == {
        "run.sqlite",
        "run.lock",
        "manifest.json",
        "results.json",
        "images",
        f"images/{digest[:2]}",
        f"images/{digest[:2]}/{digest}",
    }
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert stored["recipe"] == RECIPE
    assert stored["fingerprint"] == manifest().fingerprint


def test_a_unit_is_stored_once_and_the_first_stays(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("p")])
        run.put_solutions("k", [solution("p", 0, "One.\nTwo.")])
        run.put_solutions("k", [solution("p", 0, "One.\nOther."), solution("p", 1)])
        run.put_solutions("l", [solution("p", 0, "One.\nOther.")])
        run.put_scores("s", [score("p", 0, 1.0)])
        run.put_scores("s", [score("p", 0, 2.0)])
        assert [one.text for one in run.solutions("k")["p"]] == ["One.\nTwo."] * 2
        assert run.solutions("l")["p"][0].text == "One.\nOther."
        assert run.scores("s")[ScoreRef("p", 0)].values == (1.0,)


def test_a_score_with_an_error_makes_way_for_another(tmp_path: Path) -> None:
    broken = score("p", 0).model_copy(update={"values": (None,), "error": "timeout"})
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("p")])
        run.put_scores("s", [broken, score("p", 1, 1.0)])
        run.put_scores("t", [broken])
        run.put_scores("s", [score("p", 0, 2.0), score("p", 1, 2.0)])
        run.put_scores("s", [broken, score("p", 0, 3.0)])
        values = {ref.solution_index: one.values for ref, one in run.scores("s").items()}
        assert values == {0: (2.0,), 1: (1.0,)}
        assert run.scores("t")[ScoreRef("p", 0)] == broken


def test_resuming_keeps_what_is_there(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a", image(1))])
        run.put_solutions("k", [solution("a")])
        created = run.manifest
    with Run.open(tmp_path, manifest()) as run:
        assert run.manifest == created
        run.add_problems([problem("a", image(1)), problem("b")])
        run.put_solutions("k", [solution("a"), solution("b")])
        assert [one.id for one in run.problems()] == ["a", "b"]
        assert {one: len(found) for one, found in run.solutions("k").items()} == {"a": 1, "b": 1}


def test_another_recipe_is_refused_with_the_differences(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    recipe: dict[str, JsonValue] = {
        "sample": {"temperature": 0.7, "n": 4, "stop": []},
        "scorers": [{"name": "judge"}],
    }
    with pytest.raises(RunMismatchError) as caught:
        Run.open(tmp_path, manifest(recipe=recipe, seed=8))
    assert caught.value.differences == (
        "sample.temperature: 1.0 -> 0.7",
        'scorers[1].name: "likelihood" -> (absent)',
        "run seed: 7 -> 8",
        "sample.stop: (absent) -> []",
    )
    assert "--fresh" in str(caught.value)
    assert "--out" in str(caught.value)
    assert "sample.temperature: 1.0 -> 0.7" in str(caught.value)
    Run.open(tmp_path, manifest()).close()


def test_of_many_differences_the_message_shows_the_first(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest(recipe={})).close()
    with pytest.raises(RunMismatchError) as caught:
        Run.open(tmp_path, manifest(recipe={f"key{i:02}": i for i in range(20)}))
    head, *shown, last = str(caught.value).splitlines()
    assert "--fresh" in head
    assert shown == list(caught.value.differences[:8])
    assert last == "... and 12 more"
    assert len(caught.value.differences) == 20


def test_a_long_value_shows_where_it_differs(tmp_path: Path) -> None:
    old, new = (manifest(recipe={"prompt": "x" * 500 + last + "y" * 500}) for last in "ab")
    (line,) = old.differences(new)
    assert "xa" in line
    assert "xb" in line
    assert len(line) < 250


def test_other_versions_go_on_and_are_told(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest(versions={"torch": "2.12"})).close()
    with Run.open(tmp_path, manifest(versions={"torch": "2.13"})) as run:
        (event,) = run.events()
        assert event.data == {"changes": ['torch: "2.12" -> "2.13"']}


def test_a_changed_problem_is_refused(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
        with pytest.raises(RunMismatchError, match='answer: "3" -> "4"'):
            run.add_problems([problem("b"), problem("a", answer="4")])
        assert [one.id for one in run.problems()] == ["a"]


def test_unknown_problem_is_refused(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
        with pytest.raises(RunError, match="no such problem"):
            run.put_solutions("k", [solution("a"), solution("b")])
        assert run.solutions("k") == {}


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "names",
    [["thesis.tex"], ["images"], ["manifest.json"], ["run.lock", "thesis.tex"], ["run.sqlite"]],
)
def test_a_folder_of_something_else_is_refused_and_untouched(
    tmp_path: Path, names: list[str], fresh: bool
) -> None:
    for name in names:
        (tmp_path / name).write_text('{"name": "a web page"}')
    with pytest.raises(RunError, match="holds no run"):
        Run.open(tmp_path, manifest(), fresh=fresh)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all(path.read_text() == '{"name": "a web page"}' for path in tmp_path.iterdir())


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunError, match="run"):
        Run.open(tmp_path / "run", manifest())


def test_fresh_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a", image(1))])
        run.put_solutions("k", [solution("a")])
        run.write_results("{}")
        run.write_derived("report.html", b"<p>")
    keep = [tmp_path / "notes.txt", tmp_path / "images" / "mine.png", tmp_path / "report.pdf"]
    for path in keep:
        path.write_text("mine")
    with Run.open(tmp_path, manifest(seed=8), fresh=True) as run:
        assert run.problems() == []
        assert run.manifest.seed == 8
        assert {path.name for path in tmp_path.iterdir()} >= {"notes.txt", "report.pdf", "images"}
        assert not (tmp_path / "results.json").exists()
        assert not (tmp_path / "report.html").exists()
    assert all(path.read_text() == "mine" for path in keep)
    assert [path.name for path in (tmp_path / "images").rglob("*")] == ["mine.png"]


def test_fresh_helps_a_damaged_run(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    (tmp_path / "run.sqlite").write_bytes(b"gone" * 5000)
    with pytest.raises(RunStorageError):
        Run.open(tmp_path, manifest())
    with Run.open(tmp_path, manifest(), fresh=True) as run:
        assert run.problems() == []


def test_fresh_on_a_new_folder(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", manifest(), fresh=True) as run:
        assert run.problems() == []


def test_a_missing_database_is_no_empty_run(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    (tmp_path / "run.sqlite").unlink()
    with pytest.raises(RunStorageError, match=r"run\.sqlite is missing"):
        Run.open(tmp_path, manifest())


def test_a_missing_manifest_of_a_filled_run(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(RunStorageError, match="missing though problems are stored"):
        Run.open(tmp_path, manifest())


def test_reading_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        Run.read(tmp_path)
    with pytest.raises(RunError, match="no run here"):
        Run.read(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    with Run.read(tmp_path) as run:
        writes: list[Callable[[], object]] = [
            lambda: run.add_problems([problem("a")]),
            lambda: run.put_solutions("k", []),
            lambda: run.event("x"),
            lambda: run.write_results("{}"),
        ]
        for write in writes:
            with pytest.raises(RunError, match="not open for writing"):
                write()


# Failures, values, names.


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
    text=st.text(st.characters(), max_size=50),
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


# Manifest.


def test_fingerprint_follows_what_changes_the_output() -> None:
    one = manifest()
    assert one.fingerprint == manifest(versions={"torch": "9"}).fingerprint
    reordered = {key: RECIPE[key] for key in reversed(RECIPE)}
    assert one.fingerprint == manifest(recipe=reordered).fingerprint
    others = [manifest(seed=8), manifest(problem_set="x"), manifest(recipe={"sample": 1})]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4


texts = st.text("ab\u00e9\u2028\U0001f600", max_size=3)
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1e300, 1e300) | texts
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, json_values, max_size=3))
def test_manifest_survives_its_file(recipe: dict[str, Any]) -> None:
    one = manifest(recipe=recipe)
    again = Manifest.model_validate_json(one.model_dump_json())
    assert again == one
    assert one.differences(again) == ()


@settings(max_examples=50, deadline=None)
@given(json_values, json_values)
def test_differences_are_told_exactly_when_fingerprints_differ(old: Any, new: Any) -> None:
    one, other = manifest(recipe={"a": old}), manifest(recipe={"a": new})
    assert bool(one.differences(other)) == (one.fingerprint != other.fingerprint)


def test_an_edited_manifest_is_noticed(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"temperature": 1.0', '"temperature": 0.5'))
    with pytest.raises(RunStorageError, match="edited"):
        Run.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": 1}', "[" * 100_000])
def test_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    Run.open(tmp_path, manifest()).close()
    (tmp_path / "manifest.json").write_text(text)
    for go in openings(tmp_path):
        with pytest.raises(RunStorageError, match=r"manifest\.json is damaged"):
            go()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    connection.close()
    for go in openings(tmp_path):
        with pytest.raises(RunError, match=r"schema version 2.*newer vilbench"):
            go()
    stored = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**stored, "schema_version": 3, "new": 1}))
    with pytest.raises(RunError, match=r"schema version 3.*newer vilbench"):
        Run.read(tmp_path)


# Damage, full disks, read-only folders.


@pytest.mark.parametrize("start", [0, 40, 4096])
def test_a_corrupt_database(tmp_path: Path, start: int) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem(f"p{number}") for number in range(200)])
    path = tmp_path / "run.sqlite"
    data = path.read_bytes()
    path.write_bytes(data[:start] + b"\xa5" * (len(data) - start))
    for go in openings(tmp_path):
        with pytest.raises(RunError) as caught:
            go().problems()
        assert str(tmp_path) in str(caught.value)
        assert isinstance(caught.value, RunStorageError) or "another program" in str(caught.value)


def test_a_damaged_record(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        connection.execute("UPDATE problems SET record = '{\"id\": '")
    connection.close()
    with Run.read(tmp_path) as run, pytest.raises(RunStorageError, match="Problem is damaged"):
        run.problems()


def test_a_full_disk_keeps_whole_units_and_the_run_usable(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
        pages = run._connection.execute("PRAGMA page_count").fetchone()[0]
        run._connection.execute(f"PRAGMA max_page_count={pages + 20}")
        stored = 0
        with pytest.raises(RunStorageError, match="disk is full"):
            for unit in range(1000):
                run.put_solutions("k", [solution("a", 2 * unit + one, "x" * 900) for one in (0, 1)])
                stored += 2
        assert stored > 0
        assert len(run.solutions("k")["a"]) == stored
        run._connection.execute("PRAGMA max_page_count=100000")
        run.put_solutions("k", [solution("a", stored), solution("a", stored + 1)])
    with Run.read(tmp_path) as run:
        assert len(run.solutions("k")["a"]) == stored + 2


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EIO, "cannot be used"),
    ],
)
def test_errors_of_the_disk_are_told_and_leave_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RunStorageError, match=says) as caught:
            Run.open(tmp_path, manifest())
        assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.glob("manifest*"))
    with Run.open(tmp_path, manifest()) as run:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(RunStorageError, match=says):
                run.add_problems([problem("a", image(1))])
            with pytest.raises(RunStorageError, match=says):
                run.write_results("{}")
        assert run.problems() == []
        assert list(tmp_path.rglob("*.partial")) == []
        assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []
        assert not (tmp_path / "results.json").exists()
        run.add_problems([problem("a", image(1))])
        assert run.problems()[0].images[0].read() == image(1).read()


def test_a_read_only_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunStorageError, match="read-only"):
        Run.open(tmp_path / "run", manifest())


@pytest.fixture
def unprivileged() -> Iterator[Callable[[Path], None]]:
    """Makes a folder read-only; root takes another user's id, as permissions bind it not."""
    was = os.geteuid()
    closed: list[Path] = []

    def close(folder: Path) -> None:
        for path in [*folder.rglob("*"), folder]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        closed.append(folder)
        if was == 0:
            os.seteuid(65534)

    yield close
    os.seteuid(was)
    for folder in closed:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)


@pytest.mark.parametrize("state", ["closed", "killed", "killed, index lost"])
def test_reading_from_a_read_only_folder(
    tmp_path: Path, unprivileged: Callable[[Path], None], state: str
) -> None:
    folder = tmp_path / "run"

    def write() -> None:
        run = Run.open(folder, manifest())
        run.add_problems([problem("a", image(1))])
        run.put_solutions("k", [solution("a")])
        if state == "closed":
            run.close()

    assert ended(in_child(write)) == 0
    assert (folder / "run.sqlite-wal").exists() == (state != "closed")
    if state == "killed, index lost":
        (folder / "run.sqlite-shm").unlink()
    unprivileged(folder)
    with Run.read(folder) as run:
        assert run.problems()[0].images[0].read() == image(1).read()
        assert run.solutions("k") == {"a": [solution("a")]}
    with pytest.raises(RunStorageError, match="permissions"):
        Run.open(folder, manifest())


def test_creating_in_a_read_only_folder(
    tmp_path: Path, unprivileged: Callable[[Path], None]
) -> None:
    unprivileged(tmp_path)
    with pytest.raises(RunStorageError, match="permissions"):
        Run.open(tmp_path / "run", manifest())
    with pytest.raises(RunStorageError, match="permissions"):
        Run.open(tmp_path, manifest())


def test_a_damaged_image_is_noticed_and_mended(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a", image(1))])
        digest = image(1).digest
        path = tmp_path / "images" / digest[:2] / digest
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(ImageError, match="changed"):
            run.problems()[0].images[0].read()
        run.add_problems([problem("a", image(1))])
        assert run.problems()[0].images[0].read() == image(1).read()


# Two processes and sudden death.


def test_the_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    ready, told = os.pipe()

    def hold() -> None:
        Run.open(tmp_path, manifest())
        os.write(told, b"x")
        time.sleep(60)

    child = in_child(hold)
    os.read(ready, 1)
    try:
        for fresh in (False, True):
            with pytest.raises(RunLockedError, match=f"process {child} "):
                Run.open(tmp_path, manifest(), fresh=fresh)
        with Run.read(tmp_path) as run:
            assert run.problems() == []
    finally:
        os.kill(child, signal.SIGKILL)
        ended(child)
        os.close(ready)
        os.close(told)
    Run.open(tmp_path, manifest()).close()


def test_the_lock_binds_within_a_process_too_and_ends_with_close(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()), pytest.raises(RunLockedError, match=str(os.getpid())):
        Run.open(tmp_path, manifest())
    with pytest.raises(RunMismatchError):
        Run.open(tmp_path, manifest(seed=1))
    Run.open(tmp_path, manifest()).close()


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as writer, Run.read(tmp_path) as reader:
        writer.add_problems([problem("a")])
        assert [one.id for one in reader.problems()] == ["a"]
        for index in range(50):
            writer.put_solutions("k", [solution("a", index)])
            assert len(reader.solutions("k")["a"]) == index + 1


UNITS = [("a", 0), ("b", 0)]


def work(folder: Path, done: Callable[[str, int], None]) -> None:
    """A small run: two units of two solutions, each scored."""
    with Run.open(folder, manifest()) as run:
        run.add_problems([problem("a", image(1)), problem("b", image(2))])
        for identity, first in UNITS:
            run.put_solutions("k", [solution(identity, first), solution(identity, first + 1)])
            run.put_scores("s", [score(identity, first), score(identity, first + 1)])
            done(identity, first)
        run.write_results('{"rows": [1, 2, 3]}')


def content(folder: Path) -> list[Any]:
    with Run.read(folder) as run:
        problems = run.problems()
        pictures = [[one.read() for one in found.images] for found in problems]
        results = (folder / "results.json").read_text()
        return [problems, pictures, run.solutions("k"), run.scores("s"), run.failures(), results]


def assert_whole(folder: Path) -> set[tuple[str, int]]:
    """Check that a killed run holds whole units only; returns those that are stored."""
    for path in (folder / "images").rglob("*"):
        if path.is_file() and path.suffix != disk.PARTIAL:
            assert sha256(path.read_bytes()).hexdigest() == path.name
    if not (folder / "manifest.json").exists():
        return set()
    with Run.read(folder) as run:
        for one in run.problems():
            assert all(image.read() for image in one.images)
        found = {(one, two.index) for one, pool in run.solutions("k").items() for two in pool}
        scored = set(run.scores("s"))
    for identity, first in UNITS:
        for stored in (found, scored):
            assert ((identity, first) in stored) == ((identity, first + 1) in stored)
    assert scored <= found
    return {unit for unit in UNITS if unit in scored}


def die_at(point: int) -> None:
    """Kill this process before its `point`-th touch of the disk or SQL statement."""
    left = point

    def touch() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"):
            touch()

    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda _: touch())
        return connection

    sync = os.fsync

    def synced(fd: Any) -> None:
        touch()
        sync(fd)

    sqlite3.connect = traced  # type: ignore[assignment]
    os.fsync = synced
    sys.addaudithook(audit)


def tell(pipe: int) -> None:
    os.write(pipe, b"x")


def test_killed_at_every_point_the_run_is_whole_and_resumes(tmp_path: Path) -> None:
    work(tmp_path / "whole", lambda *_: None)
    expected = content(tmp_path / "whole")
    point, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        point += 1
        folder = tmp_path / str(point)
        acknowledged, told = os.pipe()

        def killed(point: int = point, folder: Path = folder, told: int = told) -> None:
            die_at(point)
            work(folder, lambda *_: tell(told))

        status = ended(in_child(killed))
        os.close(told)
        promised = len(os.read(acknowledged, 100))
        os.close(acknowledged)
        stored = assert_whole(folder) if folder.exists() else set()
        assert stored >= set(UNITS[:promised]), f"killed at {point}"
        work(folder, lambda *_: None)
        assert content(folder) == expected, f"killed at {point}"
    assert status == 0
    assert point > 60


def test_killed_at_random_moments(tmp_path: Path) -> None:
    dice = random.Random(3)
    # So many that some kills come in time however slow the machine is.
    units, kills, status = 240, 0, 1
    indices: list[int] = []
    while status != 0:
        acknowledged, told = os.pipe()

        def write(told: int = told) -> None:
            with Run.open(tmp_path / "run", manifest()) as run:
                run.add_problems([problem("a")])
                stored = len(run.solutions("k").get("a", [])) // 3
                for unit in range(stored, units):
                    run.put_solutions("k", [solution("a", 3 * unit + one) for one in range(3)])
                    tell(told)

        child = in_child(write)
        os.close(told)
        promised = sum(len(os.read(acknowledged, 1)) for _ in range(dice.randint(1, 12)))
        time.sleep(dice.uniform(0, 0.002))
        os.kill(child, signal.SIGKILL)
        status = ended(child)
        assert status in (0, -signal.SIGKILL)
        os.close(acknowledged)
        before = len(indices)
        with Run.read(tmp_path / "run") as run:
            indices = [one.index for one in run.solutions("k")["a"]]
        assert len(indices) % 3 == 0
        assert len(indices) >= before + 3 * promised
        assert indices == list(range(len(indices)))
        kills += status != 0
    assert len(indices) == 3 * units
    assert kills > 2


def test_fresh_killed_half_way_can_be_done_again(tmp_path: Path) -> None:
    point, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        point += 1
        folder = tmp_path / str(point)
        work(folder, lambda *_: None)
        (folder / "notes.txt").write_text("mine")

        def killed(point: int = point, folder: Path = folder) -> None:
            die_at(point)
            Run.open(folder, manifest(seed=8), fresh=True)

        status = ended(in_child(killed))
        with Run.open(folder, manifest(seed=8), fresh=True) as run:
            assert run.problems() == []
        assert (folder / "notes.txt").read_text() == "mine"
    assert status == 0
    assert point > 20
