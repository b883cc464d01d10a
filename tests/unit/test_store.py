import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue
from store_data import RECIPE, image, in_memory, manifest, problem, score, solution

from vilbench.errors import RunError, RunMismatchError, RunStorageError
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that syncs fast; see `in_memory`."""
    with in_memory() as folder:
        yield folder


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
