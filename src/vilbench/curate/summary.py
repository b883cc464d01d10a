"""A curated set in words and tables, for its card and for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from vilbench.curate.advice import advice
from vilbench.curate.records import Curated, Fit, GainCard

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~&!()$])")

FITS: dict[Fit, str] = {
    "both": "other solutions, chosen by other scorers",
    "candidates": "other solutions",
    "scorers": "same solutions, chosen by other scorers",
}
"""What each way of fitting measures on, the strictest first."""

CONTRASTS = {
    "prm-orm": "PRM form over ORM form",
    "prm-cot": "PRM form over cot",
    "orm-cot": "ORM form over cot",
}

_RULES = {
    "difference": "right picks by steps minus right picks by the whole, Best-of-N",
    "mean-k": "right picks by steps minus by the whole, averaged over Best-of-1 to N",
    "share": "1 where the pick by steps is better, else 0",
    "margin": "distance of right from wrong solutions in standard deviations, steps minus whole",
}


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def span(low: float, high: float) -> str:
    """An interval of them."""
    return f"[{points(low)}, {points(high)}]"


def strictest(gains: Sequence[GainCard]) -> Fit | None:
    """The strictest way of fitting among gains; None where nothing could be held out."""
    there = {gain.fit for gain in gains}
    return next((fit for fit in FITS if fit in there), None)


def readme(card: Curated) -> str:
    """The card as Markdown; names of runs, pairs and sources are data and stay text."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Curated) -> Iterator[str]:
    sets = ", ".join(_text(one) for one in card.problem_sets)
    yield f"# {_text(card.name)}"
    yield ""
    yield f"{card.problems} problems of {sets} on which scorers choose better by steps (as PRM)"
    yield "than by whole solutions (as ORM), by `vilbench curate` from the runs below."
    yield ""
    yield "**Gains on this set are not gains elsewhere.** The problems were chosen for them. The"
    yield "tables give each gain as chosen, and on picks that had no part in the choice."
    yield ""
    yield "## Gains"
    yield ""
    yield from _gains(card)
    yield "## How it was chosen"
    yield ""
    yield from _rule(card)
    yield ""
    yield "| pair | PRM form | ORM form |"
    yield "|:--|:--|:--|"
    for pair in card.pairs:
        yield f"| {_text(pair.name)} | {_text(pair.prm)} | {_text(pair.orm)} |"
    yield ""
    yield (
        "| source | looked at | chosen | no verdict | never solved | always solved "
        "| not above the threshold | below the cut | asked for |"
    )
    yield "|:--|--:|--:|--:|--:|--:|--:|--:|--:|"
    for one in card.sources:
        asked = "all" if one.quota is None else str(one.quota)
        yield (
            f"| {_text(one.source)} | {one.problems} | {one.chosen} | {one.unjudged} | "
            f"{one.never_solved} | {one.always_solved} | {one.not_preferred} | "
            f"{one.below_the_cut} | {asked} |"
        )
    yield ""
    held = card.stability
    if held.halves is not None and held.halves_chance is not None:
        yield (
            f"Sets chosen on two halves of the solutions share {held.halves:.2f} (Jaccard, "
            f"over {card.rule.splits} halvings); random ones {held.halves_chance:.2f}."
        )
    yield (
        f"Chosen again on {held.resamples} resamples of the solutions, which have most of them "
        f"again, the set shares {held.jaccard:.2f} "
        f"[{held.jaccard_low:.2f}, {held.jaccard_high:.2f}]; random sets of this size "
        f"{held.chance:.2f}. A chosen problem is chosen again in "
        f"{held.inclusion:.0%} of them."
    )
    if held.tied:
        yield (
            f"The cut goes through {held.tied} problems of one indicator, of which the seed chose "
            f"{held.tied_chosen}."
        )
    yield ""
    yield "## Runs"
    yield ""
    for run in card.runs:
        yield (
            f"- {_text(run.name)}: {_text(run.problem_set)}, {run.n} solutions a problem by "
            f"{_text(run.policy)}, seed {run.seed}, fingerprint `{run.fingerprint}`"
        )
    yield ""
    yield f"Fingerprint of runs, pairs and rule: `{card.fingerprint}`"
    if card.notes:
        yield ""
        yield "## Notes"
        yield ""
        yield from (f"- {_text(note)}" for note in card.notes)


def _gains(card: Curated) -> Iterator[str]:
    if not card.gains:
        yield "Nothing could be held out, so no gain can be told from the choice."
        yield ""
    for fit in FITS:
        of_it = [gain for gain in card.gains if gain.fit == fit]
        if not of_it:
            continue
        yield f"Measured on {FITS[fit]} (Best-of-{of_it[0].k}, points, 95 % intervals):"
        yield ""
        yield "| pair | gain | all problems | as chosen | held out | inflation |"
        yield "|:--|:--|--:|--:|--:|--:|"
        for gain in of_it:
            yield (
                f"| {_text(gain.pair)} | {CONTRASTS[gain.contrast]} | {points(gain.whole)} | "
                f"{points(gain.naive)} {span(gain.naive_low, gain.naive_high)} | "
                f"{points(gain.crossfitted)} {span(gain.crossfitted_low, gain.crossfitted_high)} | "
                f"{points(gain.inflation)} {span(gain.inflation_low, gain.inflation_high)} |"
            )
        yield ""


def _rule(card: Curated) -> Iterator[str]:
    rule = card.rule
    yield f"Indicator `{rule.rule}`: {_RULES[rule.rule]}; mean over pairs."
    if rule.shrinkage:
        yield "Noisy indicators are drawn towards the mean of their source."
    if rule.threshold is not None:
        yield f"Only indicators above {rule.threshold:g}."
    yield (
        f"Only problems of which more than {rule.lowest:.0%} and less than {rule.highest:.0%} of "
        "the solutions are right."
    )
    if rule.quotas:
        yield "The highest of each source, within its quota."
    elif rule.size is not None:
        how = "in even shares of the sources" if rule.balance == "equal" else "of all sources"
        yield f"The {rule.size} highest, {how}."
    yield f"Seed {rule.seed} breaks ties."


def _text(text: str) -> str:
    """Text of a run as it may stand in a cell."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return _MARKDOWN.sub(r"\\\1", plain)


def told(card: Curated) -> Iterator[str]:
    """What the terminal says of a set."""
    for one in card.sources:
        asked = "" if one.quota is None else f" of {one.quota} asked for"
        yield (
            f"{one.source}: {one.chosen}{asked}; of {one.problems} problems {one.unjudged} without "
            f"a verdict, {one.never_solved} never and {one.always_solved} always solved, "
            f"{one.not_preferred} not above the threshold, {one.below_the_cut} below the cut"
        )
    held = card.stability
    if held.halves is not None and held.halves_chance is not None:
        yield (
            f"sets chosen on halves of the solutions share {held.halves:.2f} (Jaccard), random "
            f"sets {held.halves_chance:.2f}; on resamples {held.jaccard:.2f} "
            f"[{held.jaccard_low:.2f}, {held.jaccard_high:.2f}], random sets {held.chance:.2f}"
        )
    if held.tied:
        yield f"cut among {held.tied} equal indicators: the seed chose {held.tied_chosen}"
    yield from (f"advice: {line}" for line in advice(card.sources, card.rule, card.n))
    fit = strictest(card.gains)
    if fit is None:
        return
    of_it = [gain for gain in card.gains if gain.fit == fit]
    yield f"gains in points, Best-of-{of_it[0].k}; held out: {FITS[fit]}"
    width = max(len(gain.pair) for gain in of_it)
    for gain in of_it:
        yield (
            f"  {gain.pair:<{width}}  {CONTRASTS[gain.contrast]:<22}  "
            f"all problems {points(gain.whole):>5}  as chosen {points(gain.naive):>5}  held out "
            f"{points(gain.crossfitted):>5} {span(gain.crossfitted_low, gain.crossfitted_high)}  "
            f"inflation {points(gain.inflation)} {span(gain.inflation_low, gain.inflation_high)}"
        )
