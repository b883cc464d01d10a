"""What the stored scores of probes show; no model is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from vilbench.diagnostics.probes.cases import Case, Deck, draw_cases
from vilbench.diagnostics.probes.measures import Bounds, Change, Reading
from vilbench.diagnostics.probes.probing import Begun, begun_probes, variant_key
from vilbench.diagnostics.probes.records import ProbeFinding
from vilbench.diagnostics.probes.variants import Variant
from vilbench.evaluate.analysis import Plan, Stored, stored
from vilbench.evaluate.pools import Method, Pools, ScorerPlan
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import StepScores

_Values = Mapping[ScoreRef, StepScores]
_Scores = Mapping[ScoreRef, float | None]


def findings(run: Run, plan: Plan, held: Stored | None = None) -> tuple[ProbeFinding, ...]:
    """Every figure of every probe that has begun, by the standing method of each scorer.

    Args:
        run: Open for reading or writing.
        plan: What was scored.
        held: What `stored(run, plan)` gave, where it has been read already.

    Raises:
        RunError: There are no problems, or nothing has been sampled yet.
    """
    begun = begun_probes(run)
    if not begun:
        return ()
    held = held or stored(run, plan)
    plans = {one.name: one for one in held.scorers}
    found: list[ProbeFinding] = []
    for one in begun:
        scorer = plans.get(one.scorer)
        method = scorer.standing(run.manifest.problem_set) if scorer else None
        if scorer is None or method is None:
            continue
        read = _Reader(run, held, scorer, method, one)
        for variant in one.probe.variants:
            found += read.findings(variant)
    return tuple(found)


class _Reader:
    """One probe of one scorer."""

    def __init__(
        self, run: Run, held: Stored, scorer: ScorerPlan, method: Method, begun: Begun
    ) -> None:
        self._run = run
        self._scorer = replace(
            scorer,
            aggregations=() if method.aggregation is None else (method.aggregation,),
            chosen=None,
        )
        self._method = method
        self._begun = begun
        self._cases = draw_cases(held.pools, begun.draw)
        self._deck = Deck(begun.draw, held.pools.problems)
        choice = scorer.choice(run.manifest.problem_set)
        scale = scorer.bounds(method)
        middle = None if scale is None else (scale.low + scale.high) / 2
        chosen = choice.threshold if choice and scale == scorer.scale else None
        self._bounds = Bounds(
            low=None if scale is None else scale.low,
            high=None if scale is None else scale.high,
            threshold=middle if chosen is None else chosen,
        )
        against = begun.probe.against
        self._before = (
            self._scores(held.values[scorer.name])
            if against is None
            else self._scores(run.scores(variant_key(begun.score_key, against, begun.draw)))
        )

    def findings(self, variant: Variant) -> Iterator[ProbeFinding]:
        """All figures of a variant."""
        begun = self._begun
        changes = self._changes(variant)
        concerned = sum(variant.concerned(case, self._deck) for case in self._cases)
        skipped = concerned - sum(sum(one.touched) for one in changes)
        yield from self._told(variant, changes, "all", skipped)
        modalities = dict.fromkeys(case.problem.modality for case in self._cases)
        if begun.probe.by_modality and len(modalities) > 1:
            for modality in modalities:
                some = [one for one in changes if one.problem.modality == modality]
                alike = [case for case in self._cases if case.problem.modality == modality]
                of = sum(variant.concerned(case, self._deck) for case in alike)
                left = of - sum(sum(one.touched) for one in some)
                yield from self._told(variant, some, modality, left)

    def _changes(self, variant: Variant) -> list[Change]:
        begun = self._begun
        after = self._scores(self._run.scores(variant_key(begun.score_key, variant, begun.draw)))
        found = (self._change(case, variant, after) for case in self._cases)
        return [one for one in found if one is not None]

    @cached_property
    def _control(self) -> list[Change]:
        control = self._begun.probe.control
        return [] if control is None else self._changes(control)

    def _told(
        self, variant: Variant, changes: Sequence[Change], modality: str, skipped: int
    ) -> Iterator[ProbeFinding]:
        for reading in self._begun.probe.measure(changes, self._bounds, self._control):
            yield self._finding(variant, reading, modality, skipped)

    def _finding(
        self, variant: Variant, reading: Reading, modality: str, skipped: int
    ) -> ProbeFinding:
        return ProbeFinding(
            probe=self._begun.probe.name,
            version=variant.version,
            variant=variant.name,
            scorer=self._scorer.name,
            method=self._method.name,
            modality=modality,
            skipped=skipped,
            seed=self._begun.draw.seed,
            candidates=self._begun.draw.candidates,
            **reading._asdict(),
        )

    def _change(self, case: Case, variant: Variant, after: _Scores) -> Change | None:
        """The case before and after; None where the variant changes none of its candidates."""
        touched = variant.touched(case, self._deck)
        if not touched:
            return None
        refs = [ScoreRef(case.problem.id, one.index) for one in case.solutions]
        before = [self._before.get(ref) for ref in refs]
        mine = [ref.solution_index in touched for ref in refs]
        return Change(
            problem=case.problem,
            correct=case.correct,
            texts=[one.text for one in case.solutions],
            answers=[one.answer for one in case.solutions],
            before=before,
            after=[
                after.get(ref) if is_mine else was
                for ref, is_mine, was in zip(refs, mine, before, strict=True)
            ],
            touched=mine,
        )

    def _scores(self, values: _Values) -> _Scores:
        """Scores of the drawn candidates by the scorer's standing method."""
        drawn = [(case.problem, one) for case in self._cases for one in case.solutions]
        alone = Pools(tuple(one for one, _ in drawn), tuple((one,) for _, one in drawn))
        scores = alone.scores(self._scorer, values)[self._method.name]
        refs = (ScoreRef(problem.id, one.index) for problem, one in drawn)
        return {ref: score for ref, (score,) in zip(refs, scores, strict=True)}
