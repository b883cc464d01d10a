"""What the rows of `results.json` say: methods in a reading order, the best, the sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple, get_args

from vilbench.display.method import Group, Method, Rank, method, reading_order
from vilbench.display.numerals import count, percent, percent_range, points, points_range
from vilbench.display.text import name, visible
from vilbench.evaluate.results import Contrast, Discrimination, Results, Row
from vilbench.types import Modality

ALL = "all"

FEWEST = 6
"""Fewest problems whose difference is marked: five that all go one way still have p = 0.06."""

_MODALITIES: tuple[str, ...] = get_args(Modality)


class Sign(IntEnum):
    """Where the interval of a difference from cot lies."""

    BELOW = -1
    UNCLEAR = 0
    ABOVE = 1


class _Slice(NamedTuple):
    source: str
    modality: str


class _Block(NamedTuple):
    group: Group
    scorer: str


def sign(one: Row | Contrast) -> Sign:
    """Where the interval of the difference lies; a row's is the one from cot."""
    low, high = (one.delta_low, one.delta_high) if isinstance(one, Row) else (one.low, one.high)
    return placed(low, high, one.n_problems)


def placed(low: float | None, high: float | None, n_problems: int) -> Sign:
    """Where an interval lies. One over less than `FEWEST` problems shows nothing.

    Such an interval may be short, or have no width at all, because all of a handful of problems
    happen to go one way.
    """
    if n_problems < FEWEST:
        return Sign.UNCLEAR
    if low is not None and low > 0:
        return Sign.ABOVE
    return Sign.BELOW if high is not None and high < 0 else Sign.UNCLEAR


def holm(p_values: Sequence[float], level: float = 0.05) -> int:
    """How many of the p-values stay below `level` after Holm's step-down correction."""
    kept = 0
    for i, p in enumerate(sorted(p_values)):
        if p > level / (len(p_values) - i):
            break
        kept += 1
    return kept


class Finding(NamedTuple):
    """The result in words: one sentence, then what qualifies it."""

    headline: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """The rows of a run, ready to be shown."""

    results: Results

    @cached_property
    def k(self) -> int:
        """Largest pool that the whole set was analysed at; 0 without rows."""
        whole = [r.k for r in self.results.rows if r.source == ALL and r.modality == ALL]
        return max(whole, default=0)

    @property
    def lone(self) -> bool:
        """Whether each problem has a single solution, so that there is nothing to choose."""
        return self.k == 1

    @property
    def few(self) -> bool:
        """Whether there are so few problems that no difference is marked."""
        return bool(self.ranked) and self.ranked[0].n_problems < FEWEST

    @cached_property
    def ranked(self) -> tuple[Row, ...]:
        """Every method at the largest `k` on the whole set, in reading order."""
        return self.slice()

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Sources that have rows of their own, by name."""
        return tuple(sorted({r.source for r in self.results.rows} - {ALL}))

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that have rows of their own, from text to image."""
        known = {m: i for i, m in enumerate(_MODALITIES)}
        found = {r.modality for r in self.results.rows if r.source == ALL} - {ALL}
        return tuple(sorted(found, key=lambda m: (known.get(m, len(known)), m)))

    def slice(self, source: str = ALL, modality: str = ALL) -> tuple[Row, ...]:
        """The methods' rows of one slice, each at its largest `k`, in reading order.

        `cot` does not depend on `k`, so that a run may hold it for one `k` only.
        """
        return tuple(self._slices.get(_Slice(source, modality), {}).values())

    def row(self, name: str, source: str = ALL, modality: str = ALL) -> Row | None:
        """One method's row of one slice."""
        return self._slices.get(_Slice(source, modality), {}).get(name)

    def curve(self, name: str) -> tuple[Row, ...]:
        """One method on the whole set, by `k`."""
        return self._curves.get(name, ())

    @cached_property
    def _slices(self) -> dict[_Slice, dict[str, Row]]:
        latest: dict[_Slice, dict[str, Row]] = {}
        for row in self.results.rows:
            rows = latest.setdefault(_Slice(row.source, row.modality), {})
            if row.method not in rows or row.k > rows[row.method].k:
                rows[row.method] = row
        return {
            key: dict(
                sorted(
                    rows.items(),
                    key=lambda item: self._order(item[0]),
                )
            )
            for key, rows in latest.items()
        }

    @cached_property
    def _curves(self) -> dict[str, tuple[Row, ...]]:
        found: dict[str, list[Row]] = {}
        for row in self.results.rows:
            if row.source == ALL and row.modality == ALL:
                found.setdefault(row.method, []).append(row)
        return {name: tuple(sorted(rows, key=lambda r: r.k)) for name, rows in found.items()}

    def method(self, name: str) -> Method:
        """The name taken apart."""
        return method(name, self.results.scorers)

    @cached_property
    def scorers(self) -> tuple[str, ...]:
        """Scorers that select on their own, in the run's order."""
        found = [self.method(r.method) for r in self.ranked]
        return tuple(dict.fromkeys(m.scorer for m in found if m.group is Group.SCORER))

    def of_scorer(self, scorer: str) -> tuple[Row, ...]:
        """The scorer's rows, an aggregation each, in reading order."""
        return tuple(
            r
            for r in self.ranked
            if (m := self.method(r.method)).group is Group.SCORER and m.scorer == scorer
        )

    def highlights(self, scorer: str) -> tuple[Row, ...]:
        """The scorer's best aggregation, its best last-n, and its mean, without repeats."""
        rows = self.of_scorer(scorer)
        last = [r for r in rows if self.method(r.method).is_last_n]
        mean = [r for r in rows if self.method(r.method).aggregation == "mean"]
        chosen = [best(rows), best(last), best(mean)]
        return tuple(dict.fromkeys(r for r in chosen if r is not None))

    @cached_property
    def groups(self) -> tuple[tuple[Row, ...], ...]:
        """`ranked` cut where a table draws a line: after the references, between scorers."""
        grouped: dict[_Block, list[Row]] = {}
        for row in self.ranked:
            m = self.method(row.method)
            group = Group.COT if m.group <= Group.MAJORITY else m.group
            block = _Block(group, m.scorer if m.group is Group.SCORER else "")
            grouped.setdefault(block, []).append(row)
        return tuple(tuple(rows) for rows in grouped.values())

    @cached_property
    def discrimination(self) -> tuple[Discrimination, ...]:
        """AUROC records of the whole set, in reading order."""
        whole = [d for d in self.results.discrimination if d.source == ALL and d.modality == ALL]
        return tuple(sorted(whole, key=lambda d: self._order(d.method)))

    @cached_property
    def compared(self) -> tuple[Row, ...]:
        """Rows of the methods that choose an answer by themselves."""
        return tuple(r for r in self.ranked if not self.method(r.method).is_reference)

    @cached_property
    def best(self) -> Row | None:
        """The most accurate method that anybody could use."""
        return best(self.compared)

    @cached_property
    def main(self) -> Row | None:
        """The method that stands for the scorer that the run is about."""
        return None if self.results.main is None else self._settled.get(self.results.main)

    def standing(self, scorer: str) -> Row | None:
        """The method that stands for a scorer; of a run without comparisons its mean or first."""
        mine = self.of_scorer(scorer)
        mean = [r for r in mine if self.method(r.method).aggregation == "mean"]
        return self._settled.get(scorer) or next(iter([*mean, *mine]), None)

    @cached_property
    def _settled(self) -> dict[str, Row]:
        """By scorer: the first of its methods that is compared was settled beforehand."""
        found: dict[str, Row] = {}
        for one in self.results.contrasts:
            parts, row = self.method(one.method), self.row(one.method)
            if parts.group is Group.SCORER and row is not None:
                found.setdefault(parts.scorer, row)
        return found

    @cached_property
    def chosen(self) -> frozenset[str]:
        """Methods that were chosen on other problems."""
        return frozenset(one.method for one in self.results.chosen if one.method is not None)

    @cached_property
    def finding(self) -> Finding:
        """What the run has found, in words that say when it has found nothing."""
        if not self.ranked:
            return Finding("This run holds no results yet.", ())
        return Finding(self._headline(), tuple(self._remarks()))

    def _order(self, name: str) -> Rank:
        return reading_order(self.method(name), self.results.scorers)

    def _headline(self) -> str:
        cot, top = self.row("cot"), self.main or self.best
        problems = f"{count(self.ranked[0].n_problems)} problems"
        if self.lone:
            shown = cot or self.ranked[0]
            return (
                f"With one solution each, {percent(shown.accuracy)} % of {problems} are answered "
                "right."
            )
        if top is None:
            shown = cot or self.ranked[0]
            return (
                f"{name(shown.method)} answers {percent(shown.accuracy)} % of {problems} right; "
                "no selection method was compared."
            )
        if cot is None or top.delta_vs_cot is None:
            return (
                f"Choosing one of {top.k} solutions with {name(top.method)} answers "
                f"{percent(top.accuracy)} % of {problems} right."
            )
        if self.few:
            return (
                f"Too few problems to tell: over {problems}, choosing one of {top.k} solutions "
                f"with {name(top.method)} differs from a single one by "
                f"{points(top.delta_vs_cot)} points."
            )
        match sign(top):
            case Sign.ABOVE:
                return (
                    f"Choosing one of {top.k} solutions with {name(top.method)} answers "
                    f"{percent(top.accuracy)} % of {problems} right, "
                    f"{points(top.delta_vs_cot)} points over a single solution."
                )
            case Sign.BELOW if self.main:
                return (
                    f"Choosing one of {top.k} solutions with {name(top.method)} loses "
                    f"{percent(-top.delta_vs_cot)} points against a single one."
                )
            case Sign.UNCLEAR if self.main:
                return (
                    f"No clear gain: choosing one of {top.k} solutions with {name(top.method)} "
                    f"differs from a single one by {points(top.delta_vs_cot)} points, and the "
                    "interval of that difference contains 0."
                )
            case Sign.BELOW:
                return (
                    f"No way to choose one of {top.k} solutions beats a single one: even the "
                    f"best, {name(top.method)}, loses {percent(-top.delta_vs_cot)} points."
                )
            case Sign.UNCLEAR:
                return (
                    f"No clear gain: the best way to choose one of {top.k} solutions, "
                    f"{name(top.method)}, differs from a single one by {points(top.delta_vs_cot)} "
                    "points, and the interval of that difference contains 0."
                )

    def _remarks(self) -> Iterable[str]:
        cot, top, oracle = self.row("cot"), self.main or self.best, self.row("oracle")
        majority = self.row("majority")
        yield from (f"Warning: {visible(one)}" for one in self.results.notices)
        if self.results.extraction is not None:
            yield from map(visible, self.results.extraction.told())
        if self.lone:
            shown = cot or self.ranked[0]
            told = f"a 95 % interval of {percent_range(shown.ci_low, shown.ci_high)} %"
            if shown.ci_low == shown.ci_high:
                told = _ALIKE
            yield (
                f"The share has {told}. There is nothing to choose from: every method takes the "
                "one solution."
            )
            return
        if cot and top and top.delta_vs_cot is not None:
            told = f"a 95 % interval of {points_range(top.delta_low, top.delta_high)} points"
            if top.delta_low == top.delta_high:
                told = _ALIKE
            yield (
                f"A single solution (cot) is right in {percent(cot.accuracy)} % of cases. The "
                f"difference of {name(top.method)} has {told}."
            )
        if cot and oracle:
            text = (
                f"At least one of {oracle.k} solutions is right for "
                f"{percent(oracle.accuracy)} % of the problems (oracle)"
            )
            if top and top.recovered is not None:
                text += f"; {name(top.method)} goes {percent(top.recovered)} % of the way there"
                if top.recovered_low is not None:
                    text += f" ({percent_range(top.recovered_low, top.recovered_high)})"
            yield text + "."
        if majority and top and top.method != majority.method:
            text = f"Majority voting, which needs no scorer, reaches {percent(majority.accuracy)} %"
            for one in self.results.contrasts:
                place = (one.method, one.against, one.source, one.modality)
                if place == (top.method, majority.method, ALL, ALL):
                    text += (
                        f"; {name(top.method)} differs from it by {points(one.delta)} points "
                        f"({points_range(one.low, one.high)})"
                    )
            yield text + "."
        yield from self._choice_remark()
        if cot and self.compared and not self.few:
            yield self._multiplicity()
        yield from self._modality_remark()

    def _multiplicity(self) -> str:
        signs = Counter(sign(r) for r in self.compared)
        n = len(self.compared)
        text = (
            f"Of {n} methods compared, {signs[Sign.ABOVE]} have a difference whose interval is "
            f"clear above 0 and {signs[Sign.BELOW]} clear below."
        )
        tested = [r.p_value for r in self.compared if r.p_value is not None]
        if len(tested) > 1:
            text += (
                f" {holm(tested)} of {len(tested)} tested stay significant at 5 % after Holm's "
                "correction. The best of many looks better than it is: confirm it on other "
                "problems."
            )
        return text

    def _choice_remark(self) -> Iterable[str]:
        for one in self.results.chosen:
            if self.main is not None and one.method == self.main.method:
                yield (
                    f"The aggregation of {name(one.method)} was chosen on other problems "
                    f"({name(one.problem_set)}, {count(one.n_problems)} of them)."
                )

    def _modality_remark(self) -> Iterable[str]:
        top = self.main or self.best
        if top is None or len(self.modalities) < 2:
            return
        parts = []
        for modality in self.modalities:
            row = self.row(top.method, modality=modality)
            if row is not None and row.delta_vs_cot is not None:
                parts.append(
                    f"{points(row.delta_vs_cot)} points on {name(modality)} problems "
                    f"({points_range(row.delta_low, row.delta_high)})"
                )
        if len(parts) > 1:
            yield f"By modality, {name(top.method)} differs from cot by " + ", ".join(parts) + "."


_ALIKE = "no interval, since all problems are alike in it"


def best(rows: Iterable[Row]) -> Row | None:
    """The most accurate row; the first of equals."""
    return max(rows, key=lambda r: r.accuracy, default=None)
