"""Scores learned on a run over problems for that: of each step scorer, and of several together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vilbench.errors import InputError, RunError
from vilbench.evaluate.analysis import Plan, Stored, stored
from vilbench.evaluate.blends import Blend
from vilbench.evaluate.choosing import not_reported
from vilbench.evaluate.pools import ScorerPlan
from vilbench.selection.fitting import (
    Form,
    Lesson,
    Subject,
    cross_validated,
    fixed,
    forms,
    learn,
    trial,
)
from vilbench.selection.weights import Learned, Origin
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import StepScores


class Lessons(NamedTuple):
    """What was learned.

    Attributes:
        scorers: Over the steps of single scorers, by name.
        blends: Over several scorers.
    """

    scorers: Mapping[str, Learned]
    blends: tuple[Blend, ...]


def lessons(run: Run, plan: Plan, together: Sequence[Sequence[str]] | None = None) -> Lessons:
    """Fits a score to every step scorer of a stored run, and to scorers together.

    The form of each is the one with the best Best-of-k accuracy, averaged over k, by
    cross-validation over the problems of the run; of equal ones the plainest. It is then fitted
    on all of them. Both are deterministic: the run's seed draws the folds.

    Args:
        run: A run over a dev split.
        plan: What was scored.
        together: Names of scorers to blend; None blends all of them, if they are several.

    Raises:
        InputError: A name is none of the scorers that have scored, or a blend has less than two.
        RunError: The run is over a test split, or holds nothing to learn from.
    """
    problem_set = not_reported(run)
    held = stored(run, Plan(plan.n, plan.scorers, plan.main))
    names = [scorer.name for scorer in held.scorers]
    if together is None:
        together = [names] if len(names) > 1 else []
    for group in together:
        for name in group:
            if name not in names:
                had = ", ".join(names) or "none"
                raise InputError(f"'{name}' has not scored this run; {had} has", field="--blend")
        if len(set(group)) < max(2, len(group)):
            raise InputError("takes two scorers or more, each once", field="--blend")
    by_step = [one for one in held.scorers if one.granularity == "step" and one.aggregations]
    if not by_step and not together:
        raise RunError(f"{run.folder}: no step scorer has scored this run")
    origin = Origin(
        problem_set=problem_set,
        n_problems=len(held.pools.problems),
        n=plan.n,
        seed=run.manifest.seed,
        fingerprint=run.manifest.fingerprint,
    )
    known = {scorer.name: scorer for scorer in held.scorers}
    try:
        return Lessons(
            {one.name: learned(lesson(held, (one,)), origin, one.aggregations) for one in by_step},
            tuple(
                Blend(
                    "+".join(group), learned(lesson(held, [known[name] for name in group]), origin)
                )
                for group in together
            ),
        )
    except ValueError as error:
        raise RunError(f"{run.folder}: {error}") from error


def lesson(held: Stored, scorers: Sequence[ScorerPlan]) -> Lesson:
    """What there is to fit a score over these scorers on."""
    return Lesson(
        tuple(_subject(held, one) for one in scorers),
        np.array(held.pools.correct(), dtype=np.bool_),
    )


def learned(given: Lesson, origin: Origin, aggregations: Sequence[str] = ()) -> Learned:
    """The best form by cross-validation, fitted on all problems.

    Args:
        given: The problems.
        origin: What they are.
        aggregations: Of a single scorer, to compare the forms with.

    Raises:
        ValueError: There is nothing to learn from, or too little to split.
    """
    tried = forms(given.subjects)
    found = {form.name: trial(form.name, _held_out(given, form, origin)) for form in tried}
    best = max(tried, key=lambda form: round(found[form.name].accuracy, 12))
    formula = learn(given, best)
    rules = [fixed(given, aggregations)] if aggregations else []
    return Learned(
        readings=formula.readings,
        terms=formula.terms,
        form=best.name,
        origin=origin,
        trials=(
            *(trial(rule.name, _held_out(given, rule, origin)) for rule in rules),
            *found.values(),
        ),
    )


def _held_out(given: Lesson, form: Form, origin: Origin) -> np.typing.NDArray[np.float64]:
    return cross_validated(given, form, seed=origin.seed)


def _subject(held: Stored, scorer: ScorerPlan) -> Subject:
    values: Mapping[ScoreRef, StepScores] = held.values[scorer.name]
    refs = [[ScoreRef(one.problem_id, one.index) for one in pool] for pool in held.pools.solutions]
    return Subject(
        scorer=scorer.name,
        granularity=scorer.granularity,
        bounds=None if scorer.scale is None else (scorer.scale.low, scorer.scale.high),
        values=[[values[ref].values if ref in values else () for ref in pool] for pool in refs],
    )


def written(found: Lessons) -> str:
    """What was learned as YAML: a recipe takes the file, or what stands below a name."""
    lines = []
    for name, one in found.scorers.items():
        lines += [f"{json.dumps(name)}:", *_told(one, "  "), f"  learned: {_json(one)}"]
    if found.blends:
        lines.append("blends:")
    for blend in found.blends:
        lines += _told(blend.learned, "  ")
        lines += [f"  - name: {json.dumps(blend.name)}", f"    learned: {_json(blend.learned)}"]
    return "\n".join(lines) + "\n"


def _told(one: Learned, indent: str) -> list[str]:
    """What each form reached, the chosen one marked."""
    return [
        f"{indent}# {'*' if trial.form == one.form else ' '} {trial.form}: Best-of-{one.origin.n} "
        f"{trial.best_of_n:.1%}, over all k {trial.accuracy:.1%}"
        for trial in one.trials
    ]


def _json(one: Learned) -> str:
    return json.dumps(one.model_dump(mode="json", exclude_none=True))
