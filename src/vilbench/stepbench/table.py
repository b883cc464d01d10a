"""A step benchmark as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vilbench.stepbench.records import Stepbench

_MISSING = "-"
_WORDS = ("scorer", "subset", "over", "measure")
"""Headings of columns that stand left."""


def lines(found: Stepbench) -> Iterator[str]:
    """The figures in aligned lines: overall, by subset, differences, published ones, notes."""
    yield (
        f"{found.benchmark}: {found.n_problems:,} problems, {found.n_solutions:,} solutions"
        + (f"; {found.n_dev:,} other problems for thresholds" if found.n_dev else "")
    )
    yield ""
    yield from _aligned(_overall(found))
    yield ""
    yield from _aligned(_steps(found))
    if found.locations:
        yield ""
        yield from _aligned(_locations(found))
    if found.differences:
        yield ""
        yield from _aligned(_differences(found))
    if found.published:
        yield ""
        yield "published, not measured here:"
        for one in found.published:
            yield f"  {one.model}: {one.measure} {_percent(one.value)} ({one.source})"
    # One place for all is told by the notes.
    told = found.n_dev > 0 and len({cut.origin for cut in found.cut_offs}) == 1
    for cut in found.cut_offs:
        yield (
            f"{cut.scorer}: right from {_number(cut.step)} on, first error below "
            f"{_number(cut.first_error)}" + ("" if told else f"; {cut.origin}")
        )
    yield from found.notes


def _overall(found: Stepbench) -> Iterator[tuple[str, ...]]:
    yield (
        "scorer",
        *("macro-F1 weighted", "95 % interval", "macro-F1 pooled", "95 % interval"),
        *("first error, mean", "95 % interval", "first error, pooled", "95 % interval"),
    )
    for one in found.overall:
        yield (
            one.scorer,
            *_with(one.weighted_f1, one.weighted_low, one.weighted_high),
            *_with(one.pooled_f1, one.pooled_low, one.pooled_high),
            *_with(one.location_mean, one.mean_low, one.mean_high),
            *_with(one.location_pooled, one.location_low, one.location_high),
        )


def _steps(found: Stepbench) -> Iterator[tuple[str, ...]]:
    yield (
        *("scorer", "subset", "problems", "steps", "wrong", "no value"),
        *("macro-F1", "F1 right", "F1 wrong", "AUROC", "same number", "within", "95 % interval"),
    )
    for one in found.steps:
        yield (
            *(one.scorer, one.subset, f"{one.n_problems:,}", f"{one.n_steps:,}"),
            *(f"{one.n_wrong:,}", f"{one.missing:,}"),
            *map(_percent, (one.macro_f1, one.f1_right, one.f1_wrong)),
            *map(_area, (one.pooled, one.same, one.within)),
            _interval(one.within_low, one.within_high, _area),
        )


def _locations(found: Stepbench) -> Iterator[tuple[str, ...]]:
    yield (
        *("scorer", "subset", "with error", "without", "no value", "unsettled"),
        *("found", "none found", "first-error F1", "95 % interval"),
    )
    for one in found.locations:
        yield (
            *(one.scorer, one.subset, f"{one.n_erroneous:,}", f"{one.n_correct:,}"),
            *(f"{one.missing:,}", f"{one.unsettled:,}"),
            *map(_percent, (one.erroneous, one.correct)),
            *_with(one.f1, one.f1_low, one.f1_high),
        )


def _differences(found: Stepbench) -> Iterator[tuple[str, ...]]:
    yield "scorer", "over", "measure", "points", "95 % interval"
    for one in found.differences:
        points = [f"{100 * value:+.1f}" for value in (one.delta, one.low, one.high)]
        yield one.scorer, one.against, one.measure, points[0], f"{points[1]} to {points[2]}"


def _with(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    return _percent(value), _interval(low, high, _percent)


def _interval(low: float | None, high: float | None, write: Callable[[float | None], str]) -> str:
    if low is None or high is None:
        return _MISSING
    return f"{write(low)} - {write(high)}"


def _percent(value: float | None) -> str:
    return _MISSING if value is None else f"{100 * value:.1f}"


def _area(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.4g}"


def _aligned(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    held = list(rows)
    widths = [max(len(row[place]) for row in held) for place in range(len(held[0]))]
    left = [heading in _WORDS for heading in held[0]]
    for row in held:
        cells = zip(row, widths, left, strict=True)
        yield "  ".join(
            cell.ljust(width) if first else cell.rjust(width) for cell, width, first in cells
        ).rstrip()
