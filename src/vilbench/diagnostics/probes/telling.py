"""The main figures of the probes as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from vilbench.diagnostics.probes.records import ProbeFinding

MAIN: Mapping[str, tuple[str, ...]] = {
    "rescoring": ("mean-difference", "largest-difference", "picks-changed"),
    "order": ("mean-difference", "largest-difference", "picks-changed"),
    "paraphrase": ("mean-difference", "difference-over-spread", "answers-changed"),
    "boundaries": (
        "mean-difference",
        "difference-over-spread",
        "answers-changed",
        "accuracy-change",
    ),
    "image": ("gain-untouched", "gain", "gain-lost", "within-lost"),
    "attack": ("raised", "raised-over-control", "beats-best", "beats-best-over-control"),
}
"""The measures of each probe that say most; all others are in `diagnostics.json`."""


def main_ones(findings: Sequence[ProbeFinding]) -> tuple[ProbeFinding, ...]:
    """The findings that are worth a line: main measures, of changes that touched anything."""
    return tuple(one for one in findings if one.measure in MAIN.get(one.probe, ()) and one.n)


def lines(findings: Sequence[ProbeFinding]) -> Iterator[str]:
    """A line per scorer, probe, variant and slice: its main figures with their intervals."""
    parts = groupby(
        findings, key=lambda one: (one.scorer, one.method, one.probe, one.variant, one.modality)
    )
    for (_, method, probe, variant, modality), of in parts:
        some = list(of)
        known = {one.measure: one for one in some}
        slice_ = "" if modality == "all" else f" ({modality})"
        names = [name for name in MAIN.get(probe, ()) if name in known]
        told = "; ".join(f"{name} {_figure(known[name])}" for name in names)
        first = some[0]
        lacking = f", {first.missing} missing" if first.missing else ""
        left = f", {first.skipped} unchanged" if first.skipped else ""
        size = f"{first.n_problems} problems, {first.n} candidates{lacking}{left}"
        yield f"{method} {probe}/{variant}{slice_}: {told} [{size}]"


def _figure(one: ProbeFinding) -> str:
    if one.value is None:
        return "untold"
    factor, digits, sign = (100, 1, " %") if one.unit == "share" else (1, 3, "")
    value = f"{one.value * factor:.{digits}f}{sign}"
    if one.low is None or one.high is None:
        return value
    return f"{value} ({one.low * factor:.{digits}f} to {one.high * factor:.{digits}f})"
