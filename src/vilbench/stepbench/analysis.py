"""From a run and its marks to what is reported; no model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vilbench.errors import RunError
from vilbench.evaluate.choice import Choice
from vilbench.evaluate.pools import ScorerPlan
from vilbench.evaluate.stages import noted
from vilbench.stepbench.bench import Bench, Values
from vilbench.stepbench.measuring import Measured, Scored, differences, parts
from vilbench.stepbench.published import PUBLISHED
from vilbench.stepbench.records import CutOff, Stepbench
from vilbench.store.run import Run
from vilbench.types import SCHEMA_VERSION

ScoresOf = Mapping[str, Values]
"""Scores by the scorer's name."""


def scores_of(run: Run, scorers: Sequence[ScorerPlan]) -> ScoresOf:
    """The stored scores of the scorers that have begun.

    Raises:
        RunError: Nothing has been sampled yet.
    """
    keys = noted(run).score_keys
    return {one.name: run.scores(keys[one.name]) for one in scorers if one.name in keys}


def analyse(
    run: Run,
    bench: Bench,
    scorers: Sequence[ScorerPlan],
    dev_scores: ScoresOf | None = None,
    main: str | None = None,
    rejected: Sequence[str] = (),
) -> Stepbench:
    """Figures of every step scorer that has begun to score the run.

    Thresholds are chosen on the bench's own dev pools; without these, a scorer's `chosen`
    threshold is taken, unless it was chosen on these problems; without that too, it has only the
    figures that need none.

    Args:
        run: Holds the scores of the pools that are reported.
        bench: What is measured.
        scorers: In the order of the tables.
        dev_scores: Scores of the dev pools where another run holds them.
        main: The scorer that the others are compared with; the first by default.
        rejected: Rows of the input that were set aside, to be told.

    Raises:
        RunError: No step scorer has scored the run.
    """
    values = scores_of(run, scorers)
    begun = [one for one in scorers if one.granularity == "step" and one.name in values]
    if not begun:
        raise RunError(f"{run.folder}: no step scorer has scored this run")
    some = parts(bench.pools)
    given = values if dev_scores is None else dev_scores
    cuts = {one.name: _cut_off(one, bench, given, run.manifest.problem_set) for one in begun}
    measured = [
        Measured(Scored.of(one.name, bench.pools, values[one.name]), some, cuts[one.name])
        for one in begun
    ]
    steps = tuple(figure for one in measured for figure in one.steps())
    first = next((one for one in measured if one.scored.name == main), measured[0])
    return Stepbench(
        schema_version=SCHEMA_VERSION,
        fingerprint=run.manifest.fingerprint,
        name=run.manifest.name,
        benchmark=bench.title,
        n_problems=len(bench.pools),
        n_solutions=sum(len(pool.solutions) for pool in bench.pools),
        n_dev=len(bench.dev),
        scorers=tuple(one.scored.name for one in measured),
        main=first.scored.name,
        cut_offs=tuple(cut for cut in cuts.values() if cut is not None),
        steps=steps,
        locations=tuple(figure for one in measured for figure in one.locations()),
        overall=tuple(one.overall() for one in measured),
        differences=tuple(
            found for one in measured if one is not first for found in differences(first, one)
        ),
        published=PUBLISHED.get(bench.title, ()),
        rejected=tuple(rejected),
        notes=(*bench.notes, *_notes(scorers, values, bench, cuts, measured)),
    )


def _cut_off(scorer: ScorerPlan, bench: Bench, values: ScoresOf, problem_set: str) -> CutOff | None:
    if bench.dev:
        known = values.get(scorer.name, {})
        found = Scored.of(scorer.name, bench.dev, known).cut_off(bench.origin)
        return None if (found.step, found.first_error) == (None, None) else found
    choice = scorer.choice(problem_set)
    if choice is None or choice.threshold is None:
        return None
    return CutOff(
        scorer=scorer.name,
        step=choice.threshold,
        first_error=choice.threshold,
        origin=f"'chosen' of the recipe: {_told(choice)}, by macro-F1 over steps",
        n_problems=choice.n_problems,
        n_steps=0,
    )


def _told(choice: Choice) -> str:
    return f"{choice.problem_set}, {choice.n_problems} problems x {choice.n}"


def _notes(
    scorers: Sequence[ScorerPlan],
    values: ScoresOf,
    bench: Bench,
    cuts: Mapping[str, CutOff | None],
    measured: Sequence[Measured],
) -> Iterator[str]:
    for scorer in scorers:
        if scorer.granularity == "solution":
            yield f"{scorer.name} scores whole solutions, and says nothing of steps"
        elif scorer.name not in values:
            yield f"{scorer.name} has not scored this run"
        elif (cut := cuts[scorer.name]) is None:
            yield (
                f"{scorer.name} has no threshold from other problems: only what needs none is told"
            )
        elif cut.step is None or cut.first_error is None:
            lacking = "steps" if cut.step is None else "first wrong steps"
            yield f"{scorer.name}: no threshold for {lacking} could be chosen on {cut.origin}"
    for one in measured[:1]:
        for figure in one.steps():
            if figure.n_wrong in (0, figure.n_steps):
                kind = "right" if figure.n_wrong == 0 else "wrong"
                yield (
                    f"{figure.subset}: every marked step is {kind}; the F1 of the other kind is 0, "
                    "and there is no AUROC"
                )
    if bench.dev:
        yield f"thresholds: chosen on {bench.origin} ({len(bench.dev)} problems)"
