"""Numbers as the report writes them: accuracies in percent, differences in points.

One decimal for both. A missing number is an en dash, never 0.
"""

from __future__ import annotations

import math

MISSING = "–"
MINUS = "−"
NO_INTERVAL = "no interval"


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage without its sign: 0.427 -> "42.7"."""
    if share is None or not math.isfinite(share):
        return MISSING
    return _minus(f"{100 * share:z.1f}")


def percent_range(low: float | None, high: float | None) -> str:
    """Two shares as a range of percentages: "38.1 – 47.0".

    A dash where both are missing, "no interval" where they are equal: resamples of problems that
    are all alike have no spread, which says nothing of others.
    """
    if low == high:
        return MISSING if low is None else NO_INTERVAL
    return f"{percent(low)} – {percent(high)}"


def points(delta: float | None) -> str:
    """A difference of shares in signed percentage points: 0.033 -> "+3.3"."""
    if delta is None or not math.isfinite(delta):
        return MISSING
    text = f"{100 * delta:+z.1f}"
    return "0.0" if text == "+0.0" else _minus(text)


def points_range(low: float | None, high: float | None) -> str:
    """Two differences as a range in points: "+0.4 to +6.2"; else as `percent_range`."""
    if low == high:
        return MISSING if low is None else NO_INTERVAL
    return f"{points(low)} to {points(high)}"


def p_value(p: float | None) -> str:
    """A p-value with three decimals; "< 0.001" below that."""
    if p is None or not math.isfinite(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def auroc(value: float | None) -> str:
    """An AUROC with three decimals."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3f}"


def score(value: float) -> str:
    """A scorer's raw value: two decimals, integers of a judge as they are."""
    if not math.isfinite(value):
        return _minus(str(value))
    if value == int(value) and abs(value) < 1000:
        return _minus(str(int(value)))
    if abs(value) >= 1000:
        return _minus(f"{value:.3g}")
    return _minus(f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}")


def decimal(value: float, decimals: int) -> str:
    """A plain number with that many decimals."""
    return _minus(f"{value:z.{decimals}f}")


def count(value: int) -> str:
    """A count with thousands separators."""
    return f"{value:,}"
