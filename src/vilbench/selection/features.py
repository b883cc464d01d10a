"""What a learned score looks at: numbers of a solution's step values on the unit scale.

    value         the one value of a whole solution
    mean, min, last-1, last-2, ...    as the aggregations of these names; a product or geometric
                  mean takes what lies beyond the scale for its bound
    log-mean      mean of the logarithms, values below `FLOOR` taken for it
    power:P       mean of the powers P, and the root of that: -infinity would be min, 0 is the
                  geometric mean, 1 the mean, infinity max; values below `FLOOR` taken for it
    steps         number of steps with a verdict

Steps without a verdict (None) are skipped, as the aggregations do. A feature is None where it
finds no verdict.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache, partial

from vilbench.selection.aggregation import Rule, Values, aggregation

FLOOR = 1e-3
"""Lowest value that a logarithm or a power is taken of."""

_POWER = re.compile(r"power:(-?[0-9]{1,3}(?:\.[0-9]{1,6})?)")


@lru_cache(maxsize=256)
def feature(name: str) -> Rule:
    """The feature of that name.

    Raises:
        ValueError: There is none.
    """
    if name == "value":
        return _value
    if name == "steps":
        return _steps
    if name == "log-mean":
        return _log_mean
    if name in ("product", "geometric-mean"):
        return partial(_clamped, rule=aggregation(name).rule)
    if found := _POWER.fullmatch(name):
        return partial(_power_mean, p=float(found[1]))
    return aggregation(name).rule


def _value(values: Values) -> float | None:
    return values[0] if values else None


def _steps(values: Values) -> float | None:
    return float(sum(value is not None for value in values)) or None


def _clamped(values: Values, *, rule: Rule) -> float | None:
    return rule([None if value is None else min(1.0, max(0.0, value)) for value in values])


def _log_mean(values: Values) -> float | None:
    logs = [math.log(max(FLOOR, value)) for value in values if value is not None]
    return math.fsum(logs) / len(logs) if logs else None


def _power_mean(values: Values, *, p: float) -> float | None:
    """Generalized mean; the largest power is factored out, so that nothing overflows."""
    logs = [math.log(max(FLOOR, value)) for value in values if value is not None]
    if not logs:
        return None
    if p == 0:
        return math.exp(math.fsum(logs) / len(logs))
    top = max(p * one for one in logs)
    total = math.fsum(math.exp(p * one - top) for one in logs)
    return math.exp((top + math.log(total / len(logs))) / p)
