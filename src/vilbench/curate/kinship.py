"""Scorers that are judged on problems which they helped to choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vilbench.curate.records import Curated, GainCard, PairCard

_BY = {
    "both": "on other solutions, chosen by other scorers",
    "candidates": "on other solutions",
    "scorers": "chosen by other scorers",
}


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
    several = len(card.pairs) > 1
    for pair in card.pairs:
        helped = [one for one in scorers if _is_of(pair, one, scorers[one])]
        if not helped:
            continue
        told = f"{', '.join(helped)} helped to choose the problems of {name}"
        fit = _best(card.gains, pair.name)
        if fit is None:
            yield f"{told}: no gain of {pair.name} was measured on what had no part in it"
            continue
        said = [
            _told(gain)
            for gain in card.gains
            if gain.pair == pair.name and gain.fit == fit and gain.contrast != "orm-cot"
        ]
        yield f"{told}. {'; '.join(said)} ({_BY[fit]}, Best-of-{_k(card.gains, fit)})"
    if several and any(_is_of(pair, one, scorers[one]) for pair in card.pairs for one in scorers):
        yield "Scorers that had no part in the choice are compared with these at a disadvantage"


def _is_of(pair: PairCard, name: str, fingerprint: str) -> bool:
    names = {pair.prm.partition("/")[0], pair.orm.partition("/")[0]}
    known = {pair.prm_fingerprint, pair.orm_fingerprint} - {""}
    return name in names or fingerprint in known


def _best(gains: Sequence[GainCard], pair: str) -> str | None:
    """The strictest way of fitting that there is."""
    there = {gain.fit for gain in gains if gain.pair == pair}
    return next((fit for fit in _BY if fit in there), None)


def _k(gains: Sequence[GainCard], fit: str) -> int:
    return next(gain.k for gain in gains if gain.fit == fit)


_WORDS = {"prm-orm": "its PRM form over its ORM form", "prm-cot": "its PRM form over cot"}


def _told(gain: GainCard) -> str:
    naive, fitted, extra, low, high = (
        f"{100 * value:+.1f}"
        for value in (
            gain.naive,
            gain.crossfitted,
            gain.inflation,
            gain.inflation_low,
            gain.inflation_high,
        )
    )
    return (
        f"{_WORDS[gain.contrast]}: {naive} points as chosen, {fitted} without its own choice, "
        f"inflated by {extra} [{low}, {high}]"
    )
