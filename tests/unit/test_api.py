"""The short way from Python: what it refuses, within an event loop, and going on with a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from publish_data import run_with_results
from puzzle_run import puzzle_run

import vilbench
from vilbench.cli.app import app
from vilbench.errors import (
    CheckpointError,
    ImageError,
    InputError,
    ProblemError,
    RecipeError,
    RunError,
    RunMismatchError,
)
from vilbench.testing import ScriptedEngine, TableScorer, make_problem, tiny_png
from vilbench.types import BytesSource, Completion, Image, Problem, Solution, StepScores

SCORES: dict[tuple[str, int], Sequence[float | None]] = {
    ("p0", 0): [1.0, 4.0],
    ("p0", 1): [2.0, None],
}
REPLIES = ["Step 1: a\nStep 2: b\nAnswer: 5", "Step 1: a\nStep 2: c\nAnswer: 6"]


def scorer(**options: object) -> vilbench.Scorer:
    return vilbench.Scorer(TableScorer("table", "step", SCORES), **options)  # type: ignore[arg-type]


def test_texts_are_split_read_graded_and_scored() -> None:
    one, two = scorer().score(make_problem(), REPLIES)
    assert one.steps == ("Step 1: a", "Step 2: b\nAnswer: 5") and one.text == REPLIES[0]
    assert (one.values, one.score(), one.score("min")) == ((1.0, 4.0), 2.5, 1.0)
    assert (one.solution.answer, one.solution.verdict) == ("5", "correct")
    assert (two.values, two.solution.verdict) == ((2.0, None), "wrong")
    again = scorer().score(make_problem(), [one.solution])
    assert again == [one]
    assert scorer().score(make_problem(), []) == []
    with pytest.raises(ValueError, match="best"):
        one.score("best")


def test_one_text_is_no_list_of_texts() -> None:
    (whole,) = scorer().score(make_problem(), REPLIES[:1])
    for one in (REPLIES[0], REPLIES[0].encode(), whole.solution):
        with pytest.raises(InputError, match=r"'solutions': is a list of texts.*\[text\]"):
            scorer().score(make_problem(), one)  # type: ignore[arg-type]


def test_a_scorer_says_what_it_is() -> None:
    assert repr(scorer(value_range=(0.0, 5.0), aggregations=["min"], format="direct")) == (
        "Scorer('table', granularity='step', value_range=(0.0, 5.0), aggregations=('min',), "
        f"format='direct', fingerprint={TableScorer('table', 'step', SCORES).fingerprint!r})"
    )
    whole = vilbench.Scorer(TableScorer("whole", "solution", {}))
    assert "granularity='solution', value_range=None, aggregations=()" in repr(whole)


def test_calls_block_within_a_running_loop_too() -> None:
    async def notebook() -> list[vilbench.Scored]:
        return scorer().score(make_problem(), REPLIES)

    assert [one.values for one in asyncio.run(notebook())] == [(1.0, 4.0), (2.0, None)]


def test_a_problem_of_ones_own(tmp_path: Path) -> None:
    data = tiny_png()
    (tmp_path / "a.png").write_bytes(data)
    given = (tmp_path / "a.png", str(tmp_path / "a.png"), data, Image.of(BytesSource(data)))
    made = [vilbench.problem("How many?", images=[one], answer="3 cm", unit="cm") for one in given]
    assert len({one.id for one in made}) == 1 and {one.images for one in made} == {made[0].images}
    assert made[0].images[0].read() == data and made[0].unit == "cm"
    unknown = vilbench.problem("Which?", choices=["left", "right"], id="w")
    assert (unknown.id, unknown.choices, unknown.answer) == ("w", ("left", "right"), "?")
    assert scorer().score(unknown.model_copy(update={"id": "p0"}), REPLIES)[0].solution.verdict in (
        *("wrong", "unparsed"),
    )
    with pytest.raises(ImageError, match=r"a\.gif"):
        vilbench.problem("?", images=[tmp_path / "a.gif"])
    with pytest.raises(ImageError, match="images"):
        vilbench.problem("?", images=[b"no image"])
    with pytest.raises(ProblemError, match="answer"):
        vilbench.problem("?", choices=["a", "b"], answer="c")


def test_problems_and_models_by_name(tmp_path: Path) -> None:
    assert len(vilbench.load_problems("puzzles:dev", 3, seed=1)) == 3
    rows = tmp_path / "mine.jsonl"
    rows.write_text('{"question": "1 + 1?", "answer": "2"}\n' * 2)
    assert [one.answer for one in vilbench.load_problems(str(rows))] == ["2", "2"]
    with pytest.raises(RecipeError, match="no split of puzzles"):
        vilbench.load_problems("puzzles:all", 3)
    with pytest.raises(InputError, match="neither 'puzzles', nor a public source"):
        vilbench.load_problems("nothing")
    with pytest.raises(CheckpointError, match="there is no such folder"):
        vilbench.load_prm(str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match="no checkpoint 'embedded:huge' is shipped"):
        vilbench.load_generator("embedded:huge")
    with pytest.raises(RecipeError, match=r"field 'openai\.bass_url'|bass_url"):
        vilbench.load_generator("x", base_url="http://localhost:1/v1", bass_url="y")


def test_rows_that_cannot_be_used_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "bad.jsonl"
    rows.write_text('{"question": "1 + 1?", "answer": "2"}\n{"question": "\x1b"}\nno JSON\n')
    with pytest.warns(UserWarning, match="bad: 2 of 3 rows were set aside") as told:
        assert len(vilbench.load_problems(str(rows))) == 1
    (only,) = told
    assert only.filename == __file__
    app(["problems", "show", str(rows)], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[-2:] == str(only.message).splitlines()[1:]
    rows.write_text('{"question": "1 + 1?", "answer": "2"}\n' + "no JSON\n" * 22)
    with pytest.warns(UserWarning, match="and 2 more rows that were set aside") as told:
        vilbench.load_problems(str(rows))
    assert len(str(told[0].message).splitlines()) == 22


def problems(count: int) -> list[Problem]:
    return [make_problem(id=f"p{at}", question=f"sum {at}?") for at in range(count)]


def test_the_same_call_goes_on_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    engine = ScriptedEngine({"sum": REPLIES})
    table = TableScorer(
        "table", "step", {(f"p{at}", k): [at, k] for at in range(3) for k in (0, 1)}
    )
    judge = vilbench.Scorer(table, aggregations=["last-1"])
    first = vilbench.best_of_n(problems(3), engine, [], tmp_path / "run", n=2)
    assert engine.completions == 6
    run = vilbench.best_of_n(problems(3), engine, [judge], tmp_path / "run", n=2)
    assert engine.completions == 6
    assert run.solutions == first.solutions and len(run.solutions) == 6
    assert first.results.scorers == () and run.results.scorers == ("table",)
    found = {row.method: row.accuracy for row in run.results.rows if row.k == 2}
    assert (found["cot"], found["oracle"], found["table/last-1"]) == (0.5, 1.0, 0.0)
    with pytest.raises(RunMismatchError, match="temperature"):
        vilbench.best_of_n(problems(3), engine, [], tmp_path / "run", n=2, temperature=0.5)
    with pytest.raises(InputError, match="ids of their own"):
        vilbench.best_of_n([*problems(1), *problems(1)], engine, [], tmp_path / "other")
    for alone in (problems(1)[0], vilbench.load_problems):
        with pytest.raises(InputError, match=r"'problems': .*(list of|load_problems)"):
            vilbench.best_of_n(alone, engine, [], tmp_path / "other")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'problems': takes what load_problems gives"):
        vilbench.best_of_n(["1 + 1?"], engine, [], tmp_path / "other")  # type: ignore[list-item]
    with pytest.raises(InputError, match="need to be there"):
        vilbench.best_of_n([], engine, [], tmp_path / "other")
    for wrong in (table, [judge, table], "table", None):
        with pytest.raises(InputError, match=r"'scorers': takes what load_prm gives, or vilb"):
            vilbench.best_of_n(problems(3), engine, wrong, tmp_path / "other")  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()
    for given in (judge, {"judge": judge}.values()):
        again = vilbench.best_of_n(problems(3), engine, given, tmp_path / "run", n=2)  # type: ignore[arg-type]
        assert again.results == run.results and engine.completions == 6


def test_what_failed_is_told_and_scorers_have_names_of_their_own(tmp_path: Path) -> None:
    class Short(TableScorer):
        async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
            """One result too few."""
            return (await super().score(problem, solutions))[1:]

    short = vilbench.Scorer(Short("short", "step", SCORES))
    engine = ScriptedEngine({"sum": REPLIES})
    with pytest.warns(UserWarning, match="'p0': score failed: asked about 2 solutions"):
        run = vilbench.best_of_n(problems(1), engine, short, tmp_path / "run", n=2)
    assert run.scores == ()
    with pytest.raises(InputError, match="several are 'table'"):
        vilbench.best_of_n(problems(1), engine, [scorer(), scorer()], tmp_path / "other", n=2)
    assert not (tmp_path / "other").exists()


def test_a_run_is_made_within_a_loop_and_by_one_loop(tmp_path: Path) -> None:
    loops = []

    class Engine(ScriptedEngine):
        async def generate(self, *given: Any, **options: Any) -> list[Completion]:
            loops.append(asyncio.get_running_loop())
            return await super().generate(*given, **options)

    engine = Engine({"sum": REPLIES})

    async def notebook() -> None:
        vilbench.best_of_n(problems(1), engine, [], tmp_path / "a", n=2)

    asyncio.run(notebook())
    vilbench.best_of_n(problems(1), engine, [], tmp_path / "b", n=2)
    # Connections belong to a loop: a second call finds those of the first at work.
    assert len(loops) == 2 and len(set(loops)) == 1


def test_what_would_wait_for_itself_is_told() -> None:
    class Asking(TableScorer):
        async def score(self, *given: Any) -> list[StepScores]:
            scorer().score(make_problem(), REPLIES)
            return []

    asking = vilbench.Scorer(Asking("asking", "step", SCORES))
    with pytest.raises(RuntimeError, match="await the scorer or generator itself"):
        asking.score(make_problem(), REPLIES)


def test_a_stored_run_as_rows_and_frames(tmp_path: Path) -> None:
    run = vilbench.load_run(run_with_results(tmp_path / "run"))
    assert len(run.table("problems")) == len(run.problems) == 4
    assert run.table("problems")[0]["images"] == [run.problems[0].images[0].digest]
    assert [one["steps"] for one in run.table("solutions")] == [
        one.step_texts() for one in run.solutions
    ]
    assert {one["scorer"] for one in run.table("scores")} == {"prm"}
    assert len(run.table("results")) == len(run.results.rows)
    pandas = pytest.importorskip("pandas")
    frame = run.frame("scores")
    assert isinstance(frame, pandas.DataFrame) and len(frame) == 8
    with pytest.raises(InputError, match="'trees' is no table"):
        run.table("trees")  # type: ignore[arg-type]
    puzzle_run(tmp_path / "bare").close()
    with pytest.raises(RunError, match="'vilbench report' makes it"):
        vilbench.load_run(tmp_path / "bare")
    with pytest.raises(RunError, match="there is no run here"):
        vilbench.load_run(tmp_path)


def test_what_the_package_has_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'load_everything'"):
        vilbench.load_everything  # noqa: B018
