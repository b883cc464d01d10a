"""What sampling and scoring ask for, store and note, also after a start that went wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from vilbench.errors import ImageError, RunError
from vilbench.evaluate.sampling import Sampler, problem_seed, sample
from vilbench.evaluate.scoring import score, score_key
from vilbench.evaluate.stages import noted
from vilbench.scorers.judge import PROMPTS, JudgeScorer
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, TableScorer, make_problem, scripted_completion
from vilbench.types import Completion, Problem, Prompt, Sampling, Solution, StepScores

ONE = "Step 1: so it is 5.\nAnswer: 5"
PROBLEMS = tuple(make_problem(id=f"p{place}", question=f"question {place}?") for place in range(4))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    opened = Run.open(tmp_path, Manifest.of("stages", {}, seed=0, problem_set="sums"))
    opened.add_problems(PROBLEMS)
    return opened


def sampler(engine: ScriptedEngine, n: int = 2, **changes: int) -> Sampler:
    return Sampler(engine, FORMATS["steps-brief"], n, Sampling(), **{"seed": 0, **changes})


class Noting(ScriptedEngine):
    """Notes what it is asked for."""

    def __init__(self, **options: object) -> None:
        super().__init__({"": [ONE]}, **options)  # type: ignore[arg-type]
        self.asked: list[tuple[str, int, int, int]] = []
        self.give: Callable[[list[Completion]], list[Completion]] = lambda made: made

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        question = str(prompt.parts[-1]).split("?")[0]
        self.asked.append((question, first, n, seed))
        return self.give(await super().generate(prompt, n, sampling, seed, first=first))


class Told:
    """Progress as a list."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def begin(self, stage: str, total: int, done: int) -> None:
        self.lines.append(("begin", stage, total, done))

    def advance(self, stage: str, *, failed: bool) -> None:
        self.lines.append((stage, failed))

    def end(self, stage: str) -> None:
        self.lines.append(("end", stage))


async def test_a_larger_pool_asks_only_for_what_it_lacks(run: Run) -> None:
    engine = Noting()
    await sample(run, sampler(engine, 2))
    await sample(run, sampler(engine, 5))
    seeds = {f"question {place}": problem_seed(0, f"p{place}") for place in range(4)}
    assert sorted(engine.asked[:4]) == [(name, 0, 2, seeds[name]) for name in sorted(seeds)]
    assert sorted(engine.asked[4:]) == [(name, 2, 3, seeds[name]) for name in sorted(seeds)]
    assert noted(run).n == 5


async def test_seeds_do_not_depend_on_order_or_company(tmp_path: Path) -> None:
    asked = []
    for name, problems in (("one", PROBLEMS), ("other", PROBLEMS[::-1][:2])):
        engine = Noting()
        manifest = Manifest.of("stages", {}, seed=0, problem_set="sums")
        with Run.open(tmp_path / name, manifest) as run:
            run.add_problems(problems)
            await sample(run, sampler(engine), concurrency=1)
        asked.append({one[0]: one[3] for one in engine.asked})
    assert asked[1].items() <= asked[0].items()
    assert len(set(asked[0].values())) == 4


async def test_a_short_answer_is_a_failure_until_it_is_topped_up(run: Run) -> None:
    engine = Noting()
    engine.give = lambda made: made[:1]
    told = Told()
    await sample(run, sampler(engine), progress=told)
    assert {failure.error for failure in run.failures()} == {"the policy gave 1 of 2 completions"}
    assert told.lines.count(("sample", True)) == 4
    engine.give = lambda made: made
    await sample(run, sampler(engine))
    assert run.failures() == []
    assert {(first, n) for _, first, n, _ in engine.asked[4:]} == {(1, 1)}
    assert {len(pool) for pool in run.solutions(sampler(engine).key).values()} == {2}


async def test_nothing_at_all_is_a_failure_too(run: Run) -> None:
    engine = Noting()
    engine.give = lambda made: []
    await sample(run, sampler(engine))
    assert len(run.failures()) == 4


async def test_more_than_was_asked_for_is_refused(run: Run) -> None:
    engine = Noting()
    engine.give = lambda made: made * 2
    await sample(run, sampler(engine))
    assert {failure.error for failure in run.failures()} == {"the policy gave 4 completions, not 2"}
    assert run.solutions(sampler(engine).key) == {}


async def test_progress_counts_what_is_stored_as_done(run: Run) -> None:
    engine = Noting(failures={"question 1?": 1})
    told = Told()
    await sample(run, sampler(engine), concurrency=1, progress=told)
    assert told.lines == [
        ("begin", "sample", 4, 0),
        *[("sample", place == 1) for place in range(4)],
        ("end", "sample"),
    ]
    told = Told()
    await sample(run, sampler(engine), progress=told)
    assert told.lines == [("begin", "sample", 4, 3), ("sample", False), ("end", "sample")]


class Table(TableScorer):
    """Notes what it is asked about; gives what `give` makes of the records."""

    def __init__(self, name: str = "table") -> None:
        super().__init__(name, "step", {})
        self.asked: list[tuple[str, int]] = []
        self.give: Callable[[Problem, list[StepScores]], list[StepScores]] = lambda _, made: made

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        self.asked.append((problem.id, len(solutions)))
        return self.give(problem, await super().score(problem, solutions))


def changed(records: list[StepScores], **update: object) -> list[StepScores]:
    return [record.model_copy(update=update) for record in records]


@pytest.mark.parametrize(
    ("give", "words"),
    [
        (lambda made: made[:1], "2 solutions"),
        (lambda made: made[::-1], "2 solutions"),
        (lambda made: changed(made, problem_id="p3"), "2 solutions"),
        (lambda made: changed(made, values=(1.0, 2.0)), "takes 1 values"),
        (lambda made: changed(made, values=()), "takes 1 values"),
        (lambda made: changed(made, values=(float("nan"),)), "is nan"),
        (lambda made: changed(made, values=(float("inf"),)), "is inf"),
    ],
)
async def test_scores_that_fit_no_solution_spoil_one_problem(
    run: Run, give: Callable[[list[StepScores]], list[StepScores]], words: str
) -> None:
    draw = sampler(Noting())
    await sample(run, draw)
    scorer = Table()
    scorer.give = lambda problem, made: give(made) if problem.id == "p2" else made
    await score(run, scorer, draw.key)
    (failure,) = run.failures()
    assert (failure.stage, failure.problem_id) == ("score", "p2")
    assert words in failure.error
    assert len(run.scores(score_key(scorer, draw.key))) == 6
    scorer.give = lambda problem, made: made
    await score(run, scorer, draw.key)
    assert run.failures() == []
    assert scorer.asked[-1] == ("p2", 2)
    assert len(scorer.asked) == 5


async def test_a_late_image_error_stops_one_problem(run: Run) -> None:
    draw = sampler(Noting())
    await sample(run, draw)

    def refuse(problem: Problem, made: list[StepScores]) -> list[StepScores]:
        if problem.id == "p1":
            raise ImageError("gone", file="p1.png")
        return made

    scorer = Table()
    scorer.give = refuse
    await score(run, scorer, draw.key)
    assert [(one.problem_id, one.error) for one in run.failures()] == [("p1", "p1.png: gone")]


async def test_solutions_added_later_are_scored_alone(run: Run) -> None:
    scorer = Table()
    for n in (1, 3):
        draw = sampler(Noting(), n)
        await sample(run, draw)
        await score(run, scorer, draw.key)
    assert sorted(scorer.asked) == [(f"p{place}", n) for place in range(4) for n in (1, 2)]


async def test_problems_without_solutions_are_no_work(run: Run) -> None:
    draw = sampler(Noting(failures={"question 0?": 1}))
    await sample(run, draw)
    told = Told()
    await score(run, Table(), draw.key, progress=told)
    assert told.lines[0] == ("begin", "table", 3, 0)


async def test_scoring_takes_one_problem_at_a_time(run: Run) -> None:
    draw = sampler(Noting())
    await sample(run, draw)
    engine = ScriptedEngine({"": ["Overall Score: 4"]})
    await score(run, JudgeScorer(engine, "solution", PROMPTS["brief"], expectation=False), draw.key)
    assert engine.requests == 4
    assert engine.most_in_flight == 1


async def test_judges_of_one_kind_with_other_settings_do_not_collide(run: Run) -> None:
    draw = sampler(Noting())
    await sample(run, draw)
    torn = {"4": {"4": math.log(0.5), "5": math.log(0.5)}}
    engine = ScriptedEngine({"": [scripted_completion("Overall Score: 4", torn)]})
    judges = [
        JudgeScorer(engine, granularity, PROMPTS[prompt], expectation=expectation, name="judge")
        for granularity in ("solution", "step")
        for prompt in ("brief", "rubric")
        for expectation in (False, True)
    ]
    keys = {score_key(judge, draw.key) for judge in judges}
    assert len(keys) == len(judges)
    for judge in judges[:2]:
        await score(run, judge, draw.key)
    integer, expected = (run.scores(score_key(judge, draw.key)) for judge in judges[:2])
    assert {one.values for one in integer.values()} == {(4.0,)}
    assert {one.values for one in expected.values()} == {(4.5,)}


async def test_scores_of_other_solutions_are_others(run: Run) -> None:
    one, other = sampler(Noting()), sampler(Noting(), seed=1)
    scorer = Table()
    assert score_key(scorer, one.key) != score_key(scorer, other.key)
    await sample(run, one)
    await score(run, scorer, one.key)
    await sample(run, other)
    # The new solutions have no scores yet, and those of the old ones are not theirs.
    assert noted(run).sample_key == other.key
    assert noted(run).score_keys == {}
    await sample(run, one)
    assert noted(run).score_keys == {"table": score_key(scorer, one.key)}
    assert ScoreRef("p0", 0) in run.scores(noted(run).score_keys["table"])


async def test_notes_are_not_repeated(run: Run) -> None:
    draw = sampler(Noting())
    for _ in range(3):
        await sample(run, draw)
        for name in ("one", "other"):
            await score(run, Table(name), draw.key)
    kinds = [event.kind for event in run.events()]
    assert [kind for kind in kinds if kind != "work"] == ["sample", "score", "score"]
    # Each stage did work once.
    assert kinds.count("work") == 3
    assert noted(run).policy == "scripted"


async def test_a_run_that_has_not_begun(run: Run) -> None:
    with pytest.raises(RunError, match="nothing has been sampled"):
        noted(run)
