"""From stored runs to a chosen set and its evidence; no model, no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vilbench.curate.advice import advice
from vilbench.curate.chooser import Chooser, View
from vilbench.curate.crossfit import cards, crossfit
from vilbench.curate.material import Material, Take, gather
from vilbench.curate.pairs import Pair, groups
from vilbench.curate.picks import Bools, Floats
from vilbench.curate.quotas import Quotas
from vilbench.curate.records import (
    Curated,
    Fate,
    Fit,
    GainCard,
    PairCard,
    ProblemCard,
    RuleCard,
    SourceCard,
)
from vilbench.curate.stability import stability
from vilbench.curate.summary import FITS
from vilbench.curate.versions import whole
from vilbench.errors import InputError
from vilbench.metrics import Bootstrap
from vilbench.problems.clusters import clusters
from vilbench.types import SCHEMA_VERSION, Problem


@dataclass(frozen=True)
class Curation:
    """A chosen set.

    Attributes:
        card: How, from what, and what it is worth.
        problems: The chosen ones, in the order of the runs.
        looked_at: What became of every problem, in the same order.
    """

    card: Curated
    problems: tuple[Problem, ...]
    looked_at: tuple[ProblemCard, ...]


def curate(takes: Sequence[Take], pairs: Sequence[Pair], rule: RuleCard, name: str) -> Curation:
    """Chooses the problems that prefer process rewards, and measures what they are worth.

    Args:
        takes: Stored runs, at least one.
        pairs: Scorers in both forms, at least one; names are unique.
        rule: How to choose.
        name: Of the set.

    Raises:
        InputError: Pairs or sources are named that there are not, two pairs have one name, or
            no problem can be chosen.
    """
    if len({pair.name for pair in pairs}) < len(pairs) or any(one.name == "all" for one in pairs):
        raise InputError("pairs need names of their own, and none 'all'", field="pairs")
    material = gather(takes, pairs)
    chooser = Chooser.of(material, rule)
    full = chooser.view(whole(len(material.owner), material.size))
    chosen = chooser.choose(full)
    fates = _fates(chooser, full, chosen)
    sources = tuple(_sources(chooser.quotas, fates))
    if not chosen.any():
        raise InputError(_nothing(sources, rule, material.size))
    families = groups(pairs, material.fingerprints)
    evidence = crossfit(chooser, full, families)
    held = stability(chooser, full, chosen, evidence.halves)
    kin = clusters(material.problems)
    bootstrap = Bootstrap(len(material.problems), seed=rule.seed, clusters=kin)
    gains = cards(evidence.ledgers, [pair.name for pair in pairs], bootstrap)
    indicator = chooser.indicator(full)
    looked_at = tuple(
        ProblemCard(
            id=problem.id,
            source=problem.source,
            modality=problem.modality,
            fate=fate,
            pass_rate=round(float(full.reading.cot[at]), 12),
            indicator=float(indicator[at]),
            by_pair=tuple(
                round(float(value), 12) if known else None
                for value, known in zip(
                    full.reading.preference[:, at], material.known[:, at], strict=True
                )
            ),
            inclusion=float(held.inclusion[at]),
        )
        for at, (problem, fate) in enumerate(zip(material.problems, fates, strict=True))
    )
    runs = tuple(take.card for take in takes)
    pair_cards = tuple(_pair(pair, material.fingerprints) for pair in pairs)
    card = Curated(
        name=name,
        fingerprint=_fingerprint(takes, pair_cards, rule),
        problems=int(chosen.sum()),
        problem_sets=tuple(
            dict.fromkeys(part for run in runs for part in run.problem_set.split("+"))
        ),
        n=material.size,
        runs=runs,
        pairs=pair_cards,
        rule=rule,
        sources=sources,
        gains=tuple(gains),
        stability=held.card,
        notes=(
            *_notes(material, rule, sources, families, takes, chosen, indicator),
            *_lost(gains, evidence.ledgers, pairs),
        ),
    )
    kept = tuple(problem for at, problem in enumerate(material.problems) if chosen[at])
    return Curation(card, kept, looked_at)


def _fates(chooser: Chooser, full: View, chosen: Bools) -> list[Fate]:
    judged = chooser.judged(full)
    passed, rule = full.reading.cot, chooser.rule
    eligible = chooser.quotas.eligible(chooser.indicator(full), passed, judged)
    found: list[Fate] = []
    for at in range(len(chosen)):
        if chosen[at]:
            found.append("chosen")
        elif not judged[at]:
            found.append("unjudged")
        elif passed[at] <= rule.lowest + 1e-9:
            found.append("never-solved")
        elif passed[at] >= rule.highest - 1e-9:
            found.append("always-solved")
        else:
            found.append("below-the-cut" if eligible[at] else "not-preferred")
    return found


def _sources(quotas: Quotas, fates: Sequence[Fate]) -> Iterator[SourceCard]:
    for number, (name, quota) in enumerate(zip(quotas.names, quotas.asked(), strict=True)):
        of_it = [fates[at] for at in np.flatnonzero(quotas.source == number).tolist()]
        count = of_it.count("chosen")
        yield SourceCard(
            source=name,
            problems=len(of_it),
            chosen=count,
            unjudged=of_it.count("unjudged"),
            never_solved=of_it.count("never-solved"),
            always_solved=of_it.count("always-solved"),
            not_preferred=of_it.count("not-preferred"),
            below_the_cut=of_it.count("below-the-cut"),
            quota=quota,
            wanting=0 if quota is None else max(0, quota - count),
        )


def _nothing(sources: Sequence[SourceCard], rule: RuleCard, n: int) -> str:
    told = (
        f"{sum(one.unjudged for one in sources)} without a verdict of enough pairs, "
        f"{sum(one.never_solved for one in sources)} never solved, "
        f"{sum(one.always_solved for one in sources)} always solved, "
        f"{sum(one.not_preferred for one in sources)} not above the threshold"
    )
    return "; ".join((f"no problem can be chosen: {told}", *advice(sources, rule, n)))


def _pair(pair: Pair, fingerprints: Mapping[str, str]) -> PairCard:
    prm, orm = pair.scorers
    return PairCard(
        name=pair.name,
        prm=pair.prm,
        orm=pair.orm,
        prm_fingerprint=fingerprints.get(prm, ""),
        orm_fingerprint=fingerprints.get(orm, ""),
    )


def _fingerprint(takes: Sequence[Take], pairs: Sequence[PairCard], rule: RuleCard) -> str:
    identity = [
        SCHEMA_VERSION,
        [[take.card.fingerprint, take.card.n] for take in takes],
        [pair.model_dump(mode="json") for pair in pairs],
        rule.model_dump(mode="json"),
    ]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _lost(gains: Sequence[GainCard], fits: Iterable[Fit], pairs: Sequence[Pair]) -> Iterator[str]:
    """Pairs whose gain cannot be held out though there are others, or halves."""
    told = {(gain.fit, gain.pair) for gain in gains}
    for fit in fits:
        lost = [pair.name for pair in pairs if (fit, pair.name) not in told]
        if lost:
            yield (
                f"held out ({FITS[fit]}): no problem is chosen, so there is no gain of "
                f"{', '.join(lost)}"
            )


def _notes(
    material: Material,
    rule: RuleCard,
    sources: Sequence[SourceCard],
    families: Sequence[int],
    takes: Sequence[Take],
    chosen: Bools,
    indicator: Floats,
) -> Iterator[str]:
    for one in sources:
        if one.wanting:
            yield f"{one.source}: {one.wanting} fewer than the {one.quota} asked for"
    if rule.size is not None and not rule.quotas and chosen.sum() < rule.size:
        yield f"{int(chosen.sum())} problems, fewer than the {rule.size} asked for"
    if len(set(families)) < 2:
        yield "one family of scorers: none can be held out, only candidates are"
    elif len(set(families)) < len(families):
        yield "pairs that share a scorer are held out together"
    if material.size < 2:
        yield "one solution a problem: no candidates can be held out"
    if len({take.card.n for take in takes}) > 1:
        yield f"pools of different sizes: the first {material.size} solutions of each are used"
    for at, pair in enumerate(material.pairs):
        missing = int((~material.judged[at]).sum())
        if missing:
            yield f"{pair.name}: {missing} of {len(material.owner)} pools without a verdict"
        forms = material.forms[at]
        there = material.judged[at]
        none = int((np.isnan(forms.prm[there]) | np.isnan(forms.orm[there])).sum())
        if none:
            yield f"{pair.name}: {none} solutions without a verdict by one of its forms"
    if chosen.any() and rule.threshold is None and float(indicator[chosen].min()) <= 0:
        count = int((indicator[chosen] <= 0).sum())
        yield f"{count} of the chosen problems do not prefer process rewards"
