"""Scorers that are judged on problems which they helped to choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vilbench.curate.records import Curated, GainCard, PairCard
from vilbench.curate.summary import CONTRASTS, FITS, points, span, strictest


def notices(card: Curated, scorers: Mapping[str, str], problem_set: str = "") -> list[str]:
    """What a reader of a run over a curated set must know, a sentence or two a line.

    Args:
        card: Of the set.
        scorers: The scorers of the run: what each is (a fingerprint, or "") by its name. One
            that has the name or the fingerprint of one of the card is taken for it.
        problem_set: Name of the set in the run, where it is another than the card's.
    """
    return list(_notices(card, scorers, problem_set or card.name))


def _notices(card: Curated, scorers: Mapping[str, str], name: str) -> Iterator[str]:
    for pair in card.pairs:
        helped = [one for one, what in scorers.items() if _is_of(pair, one, what)]
        if not helped:
            continue
        told = f"{' and '.join(helped)} helped to choose the problems of {name}"
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
