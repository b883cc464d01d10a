"""What the probes of a run's scorers cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vilbench.diagnostics.probes.probing import begun_probes, variant_key
from vilbench.engines.openai.money import TokenPrice
from vilbench.evaluate.costs import cost
from vilbench.evaluate.effort import efforts
from vilbench.evaluate.results import Cost
from vilbench.store.run import Run


def probe_costs(run: Run, prices: Mapping[str, TokenPrice]) -> Iterator[Cost]:
    """What all probes of a scorer cost together, per probed problem.

    What two probes share was paid once and counts once. Seconds are those of all starts that
    came to their end; they are not known where a change was scored without noting them.

    Args:
        run: Open for reading.
        prices: By scorer.

    Raises:
        RunError: Nothing has been sampled yet.
    """
    keys: dict[str, dict[str, None]] = {}
    for one in begun_probes(run):
        mine = keys.setdefault(one.scorer, {})
        mine |= dict.fromkeys(variant_key(one.score_key, v, one.draw) for v in one.probe.scored)
    done = efforts(run)
    for scorer, mine in keys.items():
        held = {key: run.scores(key) for key in mine}
        paid = [
            (ref.problem_id, one.usage) for values in held.values() for ref, one in values.items()
        ]
        starts = [start for key in mine for start in done.get(key, ())]
        noted = all(key in done for key, values in held.items() if values)
        timed = len({problem_id for problem_id, _ in paid}) if noted else 0
        yield cost(scorer, "probe", paid, starts, timed, prices.get(scorer))
