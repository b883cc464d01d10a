"""Scorers that are judged on problems which they helped to choose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from vilbench.curate import folder
from vilbench.curate.records import Curated, GainCard, PairCard
from vilbench.curate.summary import CONTRASTS, FITS, points, span, strictest
from vilbench.evaluate.origins import CURATED
from vilbench.evaluate.pools import ScorerPlan
from vilbench.selection.weights import share_a_set
from vilbench.store.run import Run


def note(run: Run, places: Iterable[Path]) -> None:
    """Keeps the cards of curated sets with the run, which may outlive them.

    Args:
        run: Open for writing.
        places: Where its problems come from; what is no curated set is passed over.

    Raises:
        InputError: A card is damaged.
    """
    for place in places:
        if folder.has_card(place):
            data = folder.card_of(place).model_dump(mode="json")
            if data not in [event.data for event in run.events() if event.kind == CURATED]:
                run.event(CURATED, data)


def noted(run: Run) -> list[Curated]:
    """Cards of the curated sets that a run is over, the last of each name."""
    cards = (Curated.model_validate(event.data) for event in run.events() if event.kind == CURATED)
    return list({card.name: card for card in cards}.values())


def warnings(
    run: Run, scorers: Iterable[ScorerPlan], fingerprints: Mapping[str, str]
) -> tuple[str, ...]:
    """What a reader of a run must know of its problems, a few sentences a line.

    Args:
        run: The run.
        scorers: Those that are judged.
        fingerprints: What each is, by its name.
    """
    judged = list(scorers)
    lines: list[str] = []
    for card in noted(run):
        known = {one.name: fingerprints.get(one.name, "") for one in judged}
        lines += notices(card, known)
        for one in judged:
            chosen_on = "" if one.chosen is None else one.chosen.problem_set
            if any(share_a_set(chosen_on, name) for name in card.problem_sets):
                lines.append(
                    f"How {one.name} is used was chosen on {chosen_on}, where the "
                    f"problems of {card.name} come from"
                )
    return tuple(lines)


def notices(card: Curated, scorers: Mapping[str, str]) -> list[str]:
    """What a reader of a run over a curated set must know, a sentence or two a line.

    Args:
        card: Of the set.
        scorers: The scorers of the run: what each is (a fingerprint, or "") by its name. One
            that has the name or the fingerprint of one of the card is taken for it.
    """
    return list(_notices(card, scorers))


def _notices(card: Curated, scorers: Mapping[str, str]) -> Iterator[str]:
    for pair in card.pairs:
        helped = [one for one, what in scorers.items() if _is_of(pair, one, what)]
        if not helped:
            continue
        told = f"{' and '.join(helped)} helped to choose the problems of {card.name}"
        gains = [gain for gain in card.gains if gain.pair == pair.name]
        fit = strictest(gains)
        if fit is None:
            yield f"{told}; nothing was held out to measure what that does to its gains"
            continue
        of_it = [gain for gain in gains if gain.fit == fit and gain.contrast != "orm-cot"]
        said = "; ".join(_told(gain) for gain in of_it)
        yield f"{told}. {said} (Best-of-{of_it[0].k}, held out: {FITS[fit]})"


def _is_of(pair: PairCard, name: str, fingerprint: str) -> bool:
    names = {pair.prm.partition("/")[0], pair.orm.partition("/")[0]}
    known = {pair.prm_fingerprint, pair.orm_fingerprint} - {""}
    return name in names or fingerprint in known


def _told(gain: GainCard) -> str:
    return (
        f"{CONTRASTS[gain.contrast]}: {points(gain.naive)} points as chosen, "
        f"{points(gain.crossfitted)} held out, inflated by {points(gain.inflation)} "
        f"{span(gain.inflation_low, gain.inflation_high)}"
    )
