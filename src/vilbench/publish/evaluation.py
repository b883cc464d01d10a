"""Results as figures of one model, and in the two forms that the hub reads them in.

`model-index` stands in the header of a model's card. `.eval_results/*.yaml` stands beside it and
names a benchmark of the hub by its id and one of its tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from vilbench.errors import InputError
from vilbench.evaluate.results import Results, Row
from vilbench.publish.provenance import Dataset, Provenance, Shown
from vilbench.stepbench.records import ALL, Stepbench

POLICY: Final = "policy"
"""The model that wrote the solutions, among those that a run has figures of."""

INDEX = "model-index.yaml"
RESULTS_FOLDER = ".eval_results"

_BENCHMARK = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?::([\w.-]+))?")


class Benchmark(NamedTuple):
    """A benchmark of the hub.

    Attributes:
        dataset: "owner/name" of its data set.
        task: One of the tasks in its `eval.yaml`.
        revision: Commit; None where it is not known.
    """

    dataset: str
    task: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Benchmark:
        """OWNER/NAME, or OWNER/NAME:TASK; the task is "default" where none is given.

        Raises:
            InputError: It is neither.
        """
        found = _BENCHMARK.fullmatch(text)
        if found is None:
            raise InputError(f"'{text[:80]}' is not OWNER/NAME[:TASK]", field="--benchmark")
        return cls(found[1], found[2] or "default")


@dataclass(frozen=True)
class Figure:
    """One result of an evaluation.

    Attributes:
        name: What was measured, such as "accuracy, prm/last-2".
        metric: Its kind, such as "accuracy", "auroc", "f1".
        value: The figure.
        dataset: The problems.
        detail: How many problems, solutions and the like, in words.
        command: What gives the figure again; "" where it is not known.
        low: Lower end of its 95 % interval; None without one.
        high: Upper end.
        main: Whether it is the one that stands for the model.
    """

    name: str
    metric: str
    value: float
    dataset: Dataset
    detail: str
    command: str = ""
    low: float | None = None
    high: float | None = None
    main: bool = False


def figures(shown: Shown, origin: Provenance, of: str) -> tuple[Figure, ...]:
    """What a run shows of one model over all its problems.

    Args:
        shown: By the run.
        origin: Of the run.
        of: A scorer, or `POLICY`.

    Raises:
        InputError: The run has no such scorer.
    """
    if of != POLICY and of not in shown.scorers:
        there = ", ".join((*shown.scorers, POLICY))
        raise InputError(f"the run has no figures of '{of}'; there are {there}", field="--of")
    made, results = _Maker(origin), shown.results
    found: list[Figure] = []
    if results is not None:
        if of == POLICY:
            found += made.policy(shown.best, results.policy)
        else:
            found += made.scorer(shown.best, results, of)
    if shown.steps is not None and of != POLICY:
        found += made.steps(shown.steps, of, main=not any(one.main for one in found))
    return tuple(found)


class _Maker:
    def __init__(self, origin: Provenance) -> None:
        self._dataset = origin.dataset
        self._command = " && ".join(origin.commands)

    def policy(self, best: Sequence[Row], policy: str) -> Iterator[Figure]:
        told = {
            "cot": "mean of {} samples",
            "majority": "majority of {} samples",
            "oracle": "any of {} samples right",
        }
        for row in best:
            if row.method in told:
                name = f"accuracy, {row.method}"
                how = told[row.method].format(row.k)
                detail = f"{row.n_problems} problems, {how}, {policy}"
                yield self._accuracy(row, name, detail, main=row.method == "cot")

    def scorer(self, best: Sequence[Row], results: Results, of: str) -> Iterator[Figure]:
        chosen = {one.method: one.problem_set for one in results.chosen if one.scorer == of}
        mine = [row for row in best if row.method == of or row.method.startswith(f"{of}/")]
        heads = [row for row in mine if row.method in chosen] or mine
        for row in mine:
            gain = "" if row.delta_vs_cot is None else f", {100 * row.delta_vs_cot:+.1f} over cot"
            held = f", chosen on {chosen[row.method]}" if row.method in chosen else ""
            detail = f"{row.n_problems} problems, best of {row.k} by {results.policy}{gain}{held}"
            name = f"accuracy, {row.method}"
            yield self._accuracy(row, name, detail, main=row is heads[0])
        for part in results.discrimination:
            is_head = bool(heads) and part.method == heads[0].method
            if is_head and part.source == part.modality == "all" and part.within is not None:
                yield Figure(
                    f"AUROC of solutions within problems, {part.method}",
                    "auroc",
                    part.within,
                    self._dataset,
                    f"{part.n_problems} problems with right and wrong solutions",
                    self._command,
                    part.within_low,
                    part.within_high,
                )
        for step in results.steps:
            if (step.scorer, step.source, step.modality) != (of, "all", "all"):
                continue
            if step.within is not None:
                yield Figure(
                    "AUROC of steps within problems",
                    "auroc",
                    step.within,
                    self._dataset,
                    f"{step.n_steps} steps of {step.n_within} problems",
                    self._command,
                    step.within_low,
                    step.within_high,
                )
            if step.macro_f1 is not None:
                yield Figure(
                    "macro-F1 of steps",
                    "f1",
                    step.macro_f1,
                    self._dataset,
                    f"{step.n_steps} steps, threshold {step.threshold} chosen elsewhere",
                    self._command,
                    step.f1_low,
                    step.f1_high,
                )

    def steps(self, bench: Stepbench, of: str, *, main: bool) -> Iterator[Figure]:
        """Figures of a step benchmark: the mean over its subsets first."""
        cuts = {cut.scorer: cut.origin for cut in bench.cut_offs}
        chosen = f", threshold from {cuts[of]}" if of in cuts else ""
        whole = next((one for one in bench.steps if (one.scorer, one.subset) == (of, ALL)), None)
        steps = "" if whole is None else f", {whole.n_steps:,} steps"
        detail = f"{bench.n_problems:,} problems, {bench.n_solutions:,} solutions{steps}"
        told: list[tuple[str, str, float | None, float | None, float | None, str]] = []
        for one in bench.overall:
            if one.scorer == of:
                told += [
                    (
                        *("macro-F1 of steps, weighted over subsets", "f1", one.weighted_f1),
                        *(one.weighted_low, one.weighted_high, chosen),
                    ),
                    (
                        *("first-error F1, mean over subsets", "f1", one.location_mean),
                        *(one.mean_low, one.mean_high, chosen),
                    ),
                ]
        if whole is not None:
            told.append(
                (
                    *("AUROC of marked steps within problems", "auroc", whole.within),
                    *(whole.within_low, whole.within_high, ""),
                )
            )
        for name, metric, value, low, high, more in told:
            if value is not None:
                yield Figure(
                    *(f"{name}, {of}", metric, value, self._dataset, f"{detail}{more}"),
                    *(self._command, low, high, main),
                )
                main = False

    def _accuracy(self, row: Row, name: str, detail: str, *, main: bool) -> Figure:
        return Figure(
            name,
            "accuracy",
            row.accuracy,
            self._dataset,
            detail,
            self._command,
            row.ci_low,
            row.ci_high,
            main,
        )


def model_index(title: str, figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The `model-index` of a card's header; values are shares in [0, 1].

    Figures of one data set are one result. Its type is the data set's id on the hub, or its
    plain name where the hub does not know it.
    """
    results: dict[Dataset, dict[str, Any]] = {}
    for one in figures:
        data = one.dataset
        told = {
            "name": data.name,
            "type": data.repository or data.name,
            "config": data.config,
            "split": data.split,
            "revision": data.revision,
        }
        kept = {key: value for key, value in told.items() if value is not None}
        task = {"type": "image-text-to-text", "name": "visual reasoning"}
        result = results.setdefault(data, {"task": task, "dataset": kept, "metrics": []})
        given = {"detail": one.detail, "ci_low": one.low, "ci_high": one.high}
        result["metrics"].append(
            {
                "type": one.metric,
                "value": round(one.value, 6),
                "name": one.name,
                "args": {
                    key: round(value, 6) if isinstance(value, float) else value
                    for key, value in given.items()
                    if value is not None
                },
            }
        )
    return [{"name": title, "results": list(results.values())}]


def eval_results(
    figures: Sequence[Figure], benchmark: Benchmark | None, date: str
) -> dict[str, bytes]:
    """Files below `.eval_results/` by their names: the main figure of each data set.

    Args:
        figures: Of the model.
        benchmark: What the figures are of; where None, the data sets that the hub knows, with
            the task "default".
        date: ISO 8601 of the evaluation.

    Raises:
        InputError: A benchmark is given, and the figures are of several data sets.
    """
    heads = [one for one in figures if one.main]
    if benchmark is not None and len({one.dataset for one in heads}) > 1:
        raise InputError("one benchmark is given for several data sets", field="--benchmark")
    files = {}
    for one in heads:
        known = one.dataset.repository
        at = benchmark or (Benchmark(known, "default") if known else None)
        if at is None:
            continue
        revision = at.revision or (one.dataset.revision if known == at.dataset else None)
        dataset = {"id": at.dataset, "task_id": at.task} | (
            {} if revision is None else {"revision": revision}
        )
        interval = "" if one.low is None else f", 95 % interval {one.low:.4f} to {one.high:.4f}"
        entry = {
            "dataset": dataset,
            "value": round(one.value, 6),
            "date": date,
            "notes": f"{one.name}; {one.detail}{interval}; vilbench",
        }
        name = re.sub(r"[^A-Za-z0-9]+", "-", one.dataset.name).strip("-").lower() or "results"
        files[f"{RESULTS_FOLDER}/{name}.yaml"] = _yaml([entry])
    return files


def index_file(title: str, figures: Sequence[Figure]) -> bytes:
    """`model-index.yaml`: what goes into the header of a card."""
    return _yaml({"model-index": model_index(title, figures)})


def _yaml(data: object) -> bytes:
    # With escapes: what a run calls its models reaches no terminal as it is.
    return yaml.safe_dump(data, sort_keys=False).encode("ascii")
