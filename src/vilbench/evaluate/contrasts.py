"""Which methods are compared with which: settled before the problems are seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vilbench.evaluate.pools import LEARNED, ScorerPlan
from vilbench.evaluate.results import Contrast
from vilbench.evaluate.slices import Slice
from vilbench.metrics import compare, mcnemar, minimal_detectable_delta
from vilbench.selection import Curve

REFERENCES = ("cot", "majority")


def contrasts(
    parts: Sequence[Slice],
    curves: Mapping[str, Curve],
    scorers: Sequence[ScorerPlan],
    problem_set: str,
    main: str | None,
) -> Iterator[Contrast]:
    """The comparisons that a run reports.

    The standing method and the weighted vote of every scorer against `cot` and `majority`
    on every slice, and what was learned for it against these and its standing method; then
    on all problems the main scorer's standing method against every method of the other
    scorers.

    Args:
        parts: The slices, all problems among them.
        curves: Accuracies by method, of all problems.
        scorers: The scorers.
        problem_set: Name of the problems, on which nothing may have been chosen.
        main: Name of the main scorer, if there is one.
    """
    standing = {one.name: one.standing(problem_set) for one in scorers}
    for name, method in standing.items():
        for one in ([] if method is None else [method.name]) + [f"weighted-majority:{name}"]:
            for part in parts:
                for reference in REFERENCES:
                    yield _contrast(part, curves, one, reference)
    for scorer in scorers:
        settled = standing[scorer.name]
        for method in scorer.methods():
            if method.aggregation == LEARNED and settled is not None and settled != method:
                for part in parts:
                    for reference in (*REFERENCES, settled.name):
                        yield _contrast(part, curves, method.name, reference)
    mine = standing.get(main) if main is not None else None
    if mine is None:
        return
    for part in parts:
        for scorer in scorers:
            if part.whole and scorer.name != main:
                for other in scorer.methods():
                    yield _contrast(part, curves, mine.name, other.name)


def _contrast(part: Slice, curves: Mapping[str, Curve], method: str, against: str) -> Contrast:
    one, other = (curves[name].accuracy[part.places][:, -1:] for name in (method, against))
    found = compare(one, other, part.bootstrap)
    # The exact test takes every problem for a draw of its own.
    kin = part.bootstrap.n_clusters < len(part.places)
    return Contrast(
        method=method,
        against=against,
        source=part.source,
        modality=part.modality,
        k=curves[method].accuracy.shape[1],
        n_problems=len(part.places),
        accuracy=float(one.mean()),
        accuracy_against=float(other.mean()),
        delta=float(found.delta[0]),
        low=float(found.low[0]),
        high=float(found.high[0]),
        p_value=float(found.p_value[0]),
        mcnemar_p=None if against == "cot" or kin else mcnemar(one[:, 0], other[:, 0]),
        detectable=minimal_detectable_delta(
            [float(d) for d in (one - other)[:, 0]], clusters=part.bootstrap.cluster
        ),
    )
