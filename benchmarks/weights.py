"""Do learned step weights and blends choose better than the best fixed rule?

Everything is fitted and chosen on a run over dev: the aggregation of every step scorer, the form
of its learned score, the blends. Then all of it chooses on a run over other problems, and is
compared there problem by problem. Scorers that both runs hold take part; of the second run the
problems count that all of them have scored.

    python benchmarks/weights.py --dev runs/dev --test runs/test --scorer prm --scorer judge-orm \
        --scorer judge-prm --blend prm+judge-orm
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vilbench.config import parse, plan
from vilbench.evaluate.analysis import Plan, Stored, stored
from vilbench.evaluate.learning import lesson
from vilbench.evaluate.pools import Pools, ScorerPlan
from vilbench.evaluate.slices import Slice, slices
from vilbench.metrics import compare, within_auroc
from vilbench.selection import best_of, combine, majority, oracle, random
from vilbench.selection.fitting import FIXED, Form, Lesson, cross_validated, fixed, forms, learn
from vilbench.selection.weights import Formula
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run

Floats = NDArray[np.float64]
Scores = list[list[float | None]]
LAST = tuple(f"last-{n}" for n in range(1, 7))


class Opened(NamedTuple):
    """A run, of its problems those that all scorers have scored."""

    held: Stored
    problem_set: str


def opened(folder: Path, names: Sequence[str] | None) -> Opened:
    """Reads a run; `names` are the scorers that are asked for."""
    with Run.read(folder) as run:
        recipes = [event.data["recipe"] for event in run.events() if event.kind == "command"]
        asked = plan(parse(recipes[-1], str(folder)))
        kept = tuple(one for one in asked.scorers if names is None or one.name in names)
        held = stored(run, Plan(asked.n, kept))
        places = [
            place
            for place, pool in enumerate(held.pools.solutions)
            if all(
                one.verdict == "failed" or ScoreRef(one.problem_id, one.index) in values
                for one in pool
                for values in held.values.values()
            )
        ]
        pools = Pools(
            tuple(held.pools.problems[place] for place in places),
            tuple(held.pools.solutions[place] for place in places),
        )
        return Opened(held._replace(pools=pools), run.manifest.problem_set)


class Rules(NamedTuple):
    """What one scorer, or several together, choose by: fitted on dev, by name."""

    found: Mapping[str, Formula]
    reached: Mapping[str, Floats]
    learned: str

    def told(self, name: str) -> str:
        """A line for each form: accuracy held out on dev, and its parameters."""
        lines = [f"{name}, on dev by cross-validation (Best-of-N, mean over k):"]
        for form, formula in self.found.items():
            value = self.reached[form]
            mark = "*" if form == self.learned else " "
            lines.append(
                f" {mark} {form:19}{value[:, -1].mean():7.1%}{value.mean():7.1%}  {_terms(formula)}"
            )
        return "\n".join(lines)


def _terms(formula: Formula) -> str:
    parts = []
    for term in formula.terms:
        inner = term.attention.model_dump() if term.attention else {}
        told = ", ".join(f"{name} {value:.2f}" for name, value in inner.items() if value)
        parts.append(
            f"{term.weight:.2f} {term.scorer}/{term.feature}" + (f"({told})" if told else "")
        )
    return " + ".join(parts)


def rules(dev: Stored, scorers: Sequence[ScorerPlan], seed: int) -> Rules:
    """Every form fitted on all of dev, with what it reached held out."""
    given = lesson(dev, scorers)
    tried: list[Form] = list(forms(given.subjects))
    if len(scorers) == 1:
        tried.insert(0, fixed(given, _aggregations(scorers[0])))
    reached = {one.name: cross_validated(given, one, seed=seed) for one in tried}
    learned = [one.name for one in tried if one.name != FIXED]
    best = max(learned, key=lambda name: round(float(reached[name].mean()), 12))
    return Rules({one.name: learn(given, one) for one in tried}, reached, best)


def _aggregations(scorer: ScorerPlan) -> tuple[str, ...]:
    """The fixed rules: mean, min, product where there are bounds, every last-n."""
    bounded = ("product",) if scorer.scale is not None else ()
    return ("mean", "min", *bounded, *LAST)


def pools_of(formula: Formula, test: Stored) -> Scores:
    """Scores on the test problems."""
    known = {one.name: one for one in test.scorers}
    subjects = lesson(test, [known[name] for name in formula.scorers]).subjects
    return formula.pools({one.scorer: one.values for one in subjects})


class Bench:
    """Methods on the test problems, compared there."""

    def __init__(self, test: Stored) -> None:
        self.correct = test.pools.correct()
        self.parts = list(slices(test.pools.problems))
        self.scores: dict[str, Scores] = {}
        self.accuracy: dict[str, Floats] = {
            "cot": random(self.correct).accuracy[:, -1],
            "majority": majority(test.pools.answers(), self.correct).accuracy[:, -1],
            "oracle": oracle(self.correct).accuracy[:, -1],
        }

    def add(self, name: str, scores: Scores) -> None:
        """One more method."""
        self.scores[name] = scores
        self.accuracy[name] = best_of(scores, self.correct).accuracy[:, -1]

    def gap(self, one: str, other: str, part: Slice) -> str:
        """The paired difference in points, with its interval and p-value."""
        mine, its = (self.accuracy[name][part.places][:, None] for name in (one, other))
        found = compare(mine, its, part.bootstrap)
        told = (
            f"{100 * found.delta[0]:+.1f} [{100 * found.low[0]:+.1f}, {100 * found.high[0]:+.1f}]"
        )
        return f"{told} p {found.p_value[0]:.3f}"

    def level(self, name: str) -> str:
        """Accuracy with its interval, and AUROC within problems."""
        part = self.parts[0]
        mean, low, high = part.bootstrap.mean_interval(self.accuracy[name][:, None])
        told = f"{mean[0]:.1%} [{low[0]:.1%}, {high[0]:.1%}]"
        if name not in self.scores:
            return told
        area = within_auroc(self.scores[name], self.correct, part.bootstrap)
        return f"{told}, AUROC {area.value:.3f} [{area.low:.3f}, {area.high:.3f}]"

    def table(self, title: str, names: Sequence[str], against: Sequence[str]) -> Table:
        """Methods over all problems, each against references."""
        table = Table(title=title, title_justify="left")
        for head in ("method", "Best-of-N", *(f"over {one}" for one in against)):
            table.add_column(head)
        for name in names:
            gaps = ["" if one == name else self.gap(name, one, self.parts[0]) for one in against]
            table.add_row(name, self.level(name), *gaps)
        return table

    def split(self, title: str, pairs: Sequence[tuple[str, str]]) -> Table:
        """Differences by modality and by family."""
        table = Table(title=title, title_justify="left")
        table.add_column("problems")
        for one, other in pairs:
            table.add_column(f"{one} over {other}")
        for part in self.parts:
            if "all" in (part.source, part.modality):
                name = f"{part.source}, {part.modality} ({len(part.places)})"
                table.add_row(name, *(self.gap(one, other, part) for one, other in pairs))
        return table


def main() -> None:
    """Fits on dev, compares on test, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--scorer", action="append", help="only these")
    parser.add_argument("--blend", action="append", help="A+B; every pair and all by default")
    parser.add_argument("--blends-only", action="store_true", help="no learned score of one scorer")
    parser.add_argument("--seed", type=int, default=0, help="draws the folds")
    given = parser.parse_args()
    dev, test = (opened(folder, given.scorer) for folder in (given.dev, given.test))
    shared = {one.id for one in dev.held.pools.problems} & {
        one.id for one in test.held.pools.problems
    }
    if shared or dev.problem_set == test.problem_set:
        raise SystemExit(f"{given.test}: holds problems that were fitted on; take others")
    console = Console(width=220)
    names = [one.name for one in test.held.scorers]
    known = {one.name: one for one in dev.held.scorers if one.name in names}
    console.print(
        f"{len(dev.held.pools.problems)} problems of {dev.problem_set}, "
        f"{len(test.held.pools.problems)} of {test.problem_set}; {', '.join(known)}"
    )
    bench = Bench(test.held)
    whole = [name for name, one in known.items() if one.granularity == "solution"]
    for name in whole:
        bench.add(name, [[v[0] if v else None for v in pool] for pool in _values(test.held, name)])
    single = dict.fromkeys(whole, "")
    for name, scorer in known.items():
        if scorer.granularity == "solution":
            single[name] = name
            continue
        if given.blends_only:
            lent = lesson(dev.held, [scorer])
            rule = learn(lent, _fixed(dev.held, scorer, lent))
            single[name] = f"{name}/{FIXED}"
            bench.add(single[name], pools_of(rule, test.held))
            continue
        made = rules(dev.held, [scorer], given.seed)
        console.print(made.told(name))
        for form, formula in made.found.items():
            label = f"{name}/{form}"
            bench.add(label, pools_of(formula, test.held))
        plain = [f"{name}/{one}" for one in _aggregations(scorer)]
        for one in _aggregations(scorer):
            asked = ScorerPlan(name, "step", scorer.scale, (one,), "mean")
            bench.add(
                f"{name}/{one}",
                test.held.pools.scores(asked, test.held.values[name])[f"{name}/{one}"],
            )
        chosen, learned = f"{name}/{FIXED}", f"{name}/learned"
        bench.add(learned, bench.scores[f"{name}/{made.learned}"])
        single[name] = (
            learned if made.reached[made.learned].mean() > made.reached[FIXED].mean() else chosen
        )
        rows = [*plain, *(f"{name}/{form}" for form in made.found), learned]
        console.print(bench.table(f"{name}: {FIXED} is chosen on dev", rows, (chosen, "majority")))
        best = max(plain, key=lambda one: float(bench.accuracy[one].mean()))
        others = [(learned, chosen), (learned, best), (learned, "majority")]
        others += [(learned, one) for one in whole]
        console.print(bench.split(f"{name}: learned; {best} is the best fixed one on test", others))
    groups = [one.split("+") for one in given.blend] if given.blend is not None else None
    if groups is None:
        groups = [list(pair) for pair in combinations(known, 2)]
        groups += [list(known)] if len(known) > 2 else []
    labels = []
    for group in groups:
        made = rules(dev.held, [known[name] for name in group], given.seed)
        joined = "+".join(group)
        console.print(made.told(joined))
        for form, formula in made.found.items():
            bench.add(f"blend:{joined}/{form}", pools_of(formula, test.held))
        label = f"blend:{joined}"
        bench.add(label, bench.scores[f"{label}/{made.learned}"])
        parts = [bench.scores[single[name]] for name in group]
        bench.add(f"equal:{joined}", [combine(pools) for pools in zip(*parts, strict=True)])
        labels += [label, f"equal:{joined}"]
    if labels:
        best = max(single, key=lambda name: _on_dev(dev.held, known[name], given.seed))
        reference = single[best]
        console.print(
            bench.table(
                f"blends; {reference} is the best single one on dev",
                ["cot", "majority", *single.values(), *labels, "oracle"],
                (reference, "majority", *whole[:1]),
            )
        )
        pairs = [(one, reference) for one in labels if one.startswith("blend:")]
        console.print(bench.split("blends by family and modality", pairs))


def _values(held: Stored, name: str) -> Sequence[Sequence[Sequence[float | None]]]:
    known = {one.name: one for one in held.scorers}
    (subject,) = lesson(held, [known[name]]).subjects
    return subject.values


def _on_dev(dev: Stored, scorer: ScorerPlan, seed: int) -> float:
    """Best-of-N of a scorer on dev, held out where it was fitted."""
    given = lesson(dev, [scorer])
    if scorer.granularity == "solution":
        scores = [[v[0] if v else None for v in pool] for pool in given.subjects[0].values]
        return float(best_of(scores, given.right.tolist()).accuracy[:, -1].mean())
    return float(cross_validated(given, _fixed(dev, scorer, given), seed=seed)[:, -1].mean())


def _fixed(dev: Stored, scorer: ScorerPlan, given: Lesson | None = None) -> Form:
    return fixed(given or lesson(dev, [scorer]), _aggregations(scorer))


if __name__ == "__main__":
    main()
