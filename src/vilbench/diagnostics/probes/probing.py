"""Scores of changed inputs: paid once, kept in the run under keys of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from vilbench.diagnostics.probes.cases import Case, Deck, Draw
from vilbench.diagnostics.probes.kinds import PROBES, Probe
from vilbench.diagnostics.probes.variants import Variant
from vilbench.errors import ImageError, RunError
from vilbench.evaluate.scoring import Pool, score_key, score_pools
from vilbench.evaluate.stages import SCORE, noted
from vilbench.executors import Halt
from vilbench.progress import Progress
from vilbench.store.records import Failure, ScoreRef
from vilbench.store.run import Run
from vilbench.types import Granularity, StepScorer

_PROBE = "probe"
"""Kind of the event that says that a probe of a scorer has begun."""


class Begun(NamedTuple):
    """A probe of a scorer that a run holds values of, and how its inputs were drawn."""

    scorer: str
    probe: Probe
    draw: Draw
    score_key: str


class Work(NamedTuple):
    """What a variant asks of a scorer.

    Attributes:
        calls: Calls of the scorer.
        solutions: Solutions in them.
        steps: Steps of these.
        stored: Solutions that are scored already.
    """

    probe: str
    variant: str
    calls: int
    solutions: int
    steps: int
    stored: int


def variant_key(score: str, variant: Variant, draw: Draw) -> str:
    """Names everything that changes the values of a variant.

    Args:
        score: Key of the scorer's values of the untouched pool: scorer and sampling.
        variant: The change.
        draw: Its seed, and how many candidates are drawn. The number of problems and of
            attacked candidates changes no value, so that a larger draw pays for what it adds.
    """
    parts = (
        *("probe", score, variant.probe, variant.name, str(variant.version)),
        *(str(draw.seed), str(draw.candidates)),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


async def probe(
    run: Run,
    scorer: StepScorer,
    probes: Sequence[Probe],
    cases: Sequence[Case],
    deck: Deck,
    *,
    concurrency: int = 1,
    progress: Progress | None = None,
    halt: Halt | None = None,
) -> None:
    """Scores the variants of probes that are not stored yet.

    Args:
        run: Open for writing.
        scorer: As it scored the run.
        probes: Those that do not suit the scorer are left out.
        cases: The drawn problems and candidates.
        deck: What the changes are made from.
        concurrency: Calls under way at a time.
        progress: Told of every call.
        halt: No call is begun once it is asked for.

    Raises:
        RunError: The scorer has not scored this run, or has changed since.
    """
    begun = noted(run)
    key = begun.score_keys.get(scorer.name)
    if key is None:
        raise RunError(
            f"{run.folder}: '{scorer.name}' has not scored this run; probes are held against "
            "its scores: vilbench score first"
        )
    if key != score_key(scorer, begun.sample_key):
        raise RunError(
            f"{run.folder}: '{scorer.name}' is another model or program than when it scored this "
            "run: vilbench score first"
        )
    for one in probes:
        if not one.suits(scorer.granularity):
            continue
        _note(run, scorer.name, one, deck.draw, key)
        for variant in one.scored:
            if halt is not None and halt.asked:
                return
            of = variant_key(key, variant, deck.draw)
            pools = list(_pools(run, of, variant, cases, deck))
            if not pools:
                continue
            await score_pools(
                run,
                scorer,
                of,
                pools,
                stage=f"{scorer.name} {variant.probe}/{variant.name}",
                concurrency=concurrency,
                progress=progress,
                halt=halt,
            )


def _pools(
    run: Run, key: str, variant: Variant, cases: Sequence[Case], deck: Deck
) -> Iterator[Pool]:
    """Calls of a variant that are left; a problem whose image cannot be changed is a failure."""
    known = _answered(run, key)
    for case in cases:
        # No picture is made for what is stored.
        touched = variant.touched(case, deck)
        if all(ScoreRef(case.problem.id, index) in known for index in touched):
            continue
        try:
            yield from variant.pools(case, deck)
        except ImageError as error:
            run.put_failure(
                Failure(
                    stage=SCORE,
                    key=key,
                    problem_id=case.problem.id,
                    error=str(error),
                    attempts=1,
                )
            )


def _answered(run: Run, key: str) -> set[ScoreRef]:
    """Solutions with a score that is not asked for again."""
    return {ref for ref, record in run.scores(key).items() if record.error is None}


def forecast(
    run: Run,
    scorer: str,
    granularity: Granularity,
    probes: Sequence[Probe],
    cases: Sequence[Case],
    deck: Deck,
) -> Iterator[Work]:
    """What probing would ask of a scorer, without asking it.

    Raises:
        RunError: Nothing has been sampled, or the scorer has not scored this run.
    """
    key = noted(run).score_keys.get(scorer)
    if key is None:
        raise RunError(f"{run.folder}: '{scorer}' has not scored this run")
    told: set[Variant] = set()
    for one in probes:
        for variant in one.scored if one.suits(granularity) else ():
            if variant in told:
                continue
            told.add(variant)
            known = _answered(run, variant_key(key, variant, deck.draw))
            calls = [
                (case.problem.id, call) for case in cases for call in variant.calls(case, deck)
            ]
            asked = [(problem_id, solution) for problem_id, call in calls for solution in call]
            yield Work(
                probe=variant.probe,
                variant=variant.name,
                calls=len(calls),
                solutions=len(asked),
                steps=sum(len(solution.steps) for _, solution in asked),
                stored=sum(ScoreRef(of, solution.index) in known for of, solution in asked),
            )


def failed_calls(
    run: Run, scorers: Sequence[str], probes: Sequence[Probe], draw: Draw
) -> list[Failure]:
    """Problems of which a call of these probes failed, once for each variant.

    Raises:
        RunError: Nothing has been sampled yet.
    """
    keys = noted(run).score_keys
    of = {
        variant_key(keys[scorer], variant, draw)
        for scorer in scorers
        if scorer in keys
        for one in probes
        for variant in one.scored
    }
    return [failure for failure in run.failures() if failure.key in of]


def _note(run: Run, scorer: str, one: Probe, draw: Draw, key: str) -> None:
    data: dict[str, JsonValue] = {
        "scorer": scorer,
        "probe": one.name,
        "score_key": key,
        "seed": draw.seed,
        "limit": draw.limit,
        "candidates": draw.candidates,
        "attacked": draw.attacked,
    }
    alike = [event.data for event in run.events() if event.kind == _PROBE]
    alike = [found for found in alike if (found["scorer"], found["probe"]) == (scorer, one.name)]
    if not alike or alike[-1] != data:
        run.event(_PROBE, data)


def begun_probes(run: Run) -> list[Begun]:
    """The probes of the current scores, each as it was drawn last, in the order of `PROBES`.

    Those of an earlier sampling, or of a scorer that has changed since, are not among them.

    Raises:
        RunError: Nothing has been sampled yet.
    """
    current = noted(run).score_keys
    found: dict[tuple[str, str], Begun] = {}
    for event in run.events():
        if event.kind != _PROBE:
            continue
        data = event.data
        scorer, name = str(data["scorer"]), str(data["probe"])
        if name in PROBES and current.get(scorer) == data["score_key"]:
            limit = data["limit"]
            draw = Draw(
                seed=int(str(data["seed"])),
                limit=None if limit is None else int(str(limit)),
                candidates=int(str(data["candidates"])),
                attacked=int(str(data["attacked"])),
            )
            found[scorer, name] = Begun(scorer, PROBES[name], draw, str(data["score_key"]))
    scorers = list(current)
    names = list(PROBES)
    return sorted(
        found.values(), key=lambda one: (scorers.index(one.scorer), names.index(one.probe.name))
    )
