"""What a set that is empty or tiny lacks, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vilbench.curate.records import RuleCard, SourceCard

FEW = 30
"""Fewer problems than these are told of: an accuracy over them is off by 18 points and more."""

_MANY = 0.2
"""Share of the problems from which on a reason is worth a line."""


def advice(sources: Sequence[SourceCard], rule: RuleCard, n: int) -> Iterator[str]:
    """What is missing and what helps, the reason that costs most problems first.

    Nothing where the set is of some size, or was asked to be as small.

    Args:
        sources: What became of the problems.
        rule: How they were chosen.
        n: Solutions of each pool.
    """
    chosen, problems = (
        sum(getattr(one, name) for one in sources) for name in ("chosen", "problems")
    )
    cut = sum(one.below_the_cut for one in sources)
    if chosen >= FEW or (cut and chosen):
        return
    if chosen:
        yield (
            f"{chosen} {'problem is' if chosen == 1 else 'problems are'} too few to tell scorers "
            f"apart on; {FEW} is little: what follows may make the set larger"
        )
    if problems < 10 * FEW:
        yield (
            f"only {problems} problems were looked at: of a few hundred and more (--limit of "
            "'vilbench run', or several runs here) more prefer process rewards"
        )
    reasons = sorted(_reasons(sources, rule, n), key=lambda one: -one[0])
    yield from (told for lost, told in reasons if lost >= _MANY * problems)


def _reasons(sources: Sequence[SourceCard], rule: RuleCard, n: int) -> Iterator[tuple[int, str]]:
    """How many problems each reason costs, and what to do about it."""
    lost = sum(one.unjudged for one in sources)
    yield (
        lost,
        f"{lost} without a verdict of enough pairs: score the rest ('vilbench score RUN'), or "
        "name pairs that have judged them (--pair)",
    )
    lost = sum(one.never_solved for one in sources)
    yield (
        lost,
        f"{lost} never solved{_beyond(rule.lowest)}: sample more solutions of each than {n} (-n), "
        "or take easier problems or a better policy",
    )
    lost = sum(one.always_solved for one in sources)
    yield (
        lost,
        f"{lost} always solved{_below(rule.highest)}: take harder problems or a weaker policy",
    )
    lost = sum(one.not_preferred for one in sources)
    limit = "" if rule.threshold is None else f" above {rule.threshold:g}"
    finer = "" if rule.rule == "margin" else ", or --rule margin, which ties less"
    yield (
        lost,
        f"{lost} do not prefer process rewards{limit}: with {n} solutions both forms often pick "
        f"the same; sample more (-n){finer}, or take the highest whatever they are "
        "(--threshold none --size COUNT)",
    )


def _beyond(lowest: float) -> str:
    return f" in more than {lowest:.0%} of their solutions" if lowest else ""


def _below(highest: float) -> str:
    return f" in at least {highest:.0%} of their solutions" if highest < 1 else ""
