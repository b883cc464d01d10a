"""Training on the siblings of one problem: one row for all, against one row for each.

A random model of the Qwen2.5-VL architecture, one drawn picture, P prompt tokens (image
included), N solutions of S steps of T tokens, every step end labelled. Each way computes the
gradients of the same mean loss; they are compared. `per-prefix` is one example for every
labelled step, as public data of prefixes with a value is commonly trained on; `per-solution`
labels all step ends of a solution in one forward; `batched` puts these into one
batch with one image encoding; `grouped` shares the prompt, by a block mask or by the attention
of siblings.

    python benchmarks/training.py --prompt 600 -n 8 --json out.json
    python benchmarks/training.py --prompt 600 -n 8 --threads 1 --clock cpu --per-prefix-sample 8

`--clock cpu` counts the time of this process on the processor: with one thread, ratios then
hold on a machine that does other things, too. With `--per-prefix-sample` some of the examples
are run, evenly chosen, and the time is scaled by FLOPs (three times those of a forward).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from case import SHAPES, Lengths, Problem, Work, make_prm, make_problem
from vilbench.backbone.model import Backbone
from vilbench.prm.folder import LoadedPrm
from vilbench.training.batch import Batch, Collator
from vilbench.training.encoding import Encoding, Siblings
from vilbench.training.forward import sibling_attention
from vilbench.training.learner import Learner
from vilbench.training.loss import Objective
from vilbench.training.recipe import LossConfig
from vilbench.training.rows import Place, TrainingRow, ValueRange

SPAN = ValueRange(0.0, 1.0)
LOSS = LossConfig()

Gradients = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the gradients of one problem cost.

    Attributes:
        seconds: Least of the repeats.
        tokens: Through the text decoder, pads included.
        forwards: Of the text decoder; as many backward passes.
        image_encodings: Images through the vision tower.
    """

    seconds: float
    tokens: int
    forwards: int
    image_encodings: int


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to the gradients.

    Attributes:
        batches: What is computed, one forward and backward each.
        short: By the attention of siblings.
        scale: How much more the whole is than these.
        whole: Cost without seconds.
    """

    batches: Sequence[Batch]
    short: bool
    scale: float
    whole: Cost


class Bench:
    """The ways to train on one problem."""

    def __init__(self, prm: LoadedPrm, problem: Problem, work: Work) -> None:
        self._prm = prm
        self._problem = problem
        self._work = work
        steps = prm.encoder()
        self._encoding = Encoding(
            steps.encoder, steps, Backbone(prm.model.backbone), LOSS, SPAN, 10**6
        )
        pad = prm.processor.tokenizer.pad_token_id
        image = prm.model.backbone.config.image_token_id
        self._together = Collator(steps.encoder, image, pad)
        self._apart = Collator(steps.encoder, image, pad, together=False)
        self.learner = Learner(prm.model, Objective(LOSS, SPAN))

    def grouped(self, *, short: bool) -> Way:
        """One row."""
        batch = self._together(self._encoded(self._rows()))
        return Way([batch], short, 1.0, _cost([batch]))

    def batched(self) -> Way:
        """A row for each solution, in one batch."""
        batch = self._apart(self._encoded(self._rows()))
        return Way([batch], False, 1.0, _cost([batch]))

    def per_solution(self) -> Way:
        """A forward for each solution."""
        batches = [self._apart(self._encoded([row])) for row in self._rows()]
        return Way(batches, False, 1.0, _cost(batches))

    def per_prefix(self, sample: int) -> Way:
        """A forward for each labelled step."""
        rows = [
            dataclasses.replace(
                row,
                steps=row.steps[: k + 1],
                values=(*[None] * k, value),
                marks=((),) * (k + 1),
            )
            for row in self._rows()
            for k, value in enumerate(row.values)
        ]
        batches = [self._apart(self._encoded([row])) for row in rows]
        flops = [self._work.whole(batch.tokens) for batch in batches]
        taken = range(len(batches))
        if 0 < sample < len(batches):
            taken = range(0, len(batches), -(-len(batches) // sample))
        scale = sum(flops) / sum(flops[k] for k in taken)
        return Way([batches[k] for k in taken], False, scale, _cost(batches))

    def _rows(self) -> list[TrainingRow]:
        found = []
        for k, steps in enumerate(self._problem.candidates):
            values = tuple(float((k + step) % 3 != 0) for step in range(len(steps)))
            row = TrainingRow(
                id=str(k),
                place=Place("benchmark", k + 1),
                group="one",
                parts=self._problem.parts,
                steps=steps,
                values=values,
                marks=((),) * len(steps),
            )
            found.append(row)
        return found

    def _encoded(self, rows: Sequence[TrainingRow]) -> tuple[Siblings, ...]:
        return self._encoding.encode(rows)

    def gradients(self, way: Way, labels: int) -> Gradients:
        """Of the mean over all labels."""
        learner = self.learner
        learner.zero_grad()
        counts = torch.zeros(len(way.batches[0].counts()))
        counts[0] = labels
        attention = sibling_attention(self._prm.model.backbone)
        with attention if way.short else contextlib.nullcontext():
            for batch in way.batches:
                learner.objective.total(learner(batch), counts).backward()  # type: ignore[no-untyped-call]
        return {
            name: parameter.grad
            for name, parameter in learner.named_parameters()
            if parameter.grad is not None
        }


def _cost(batches: Sequence[Batch]) -> Cost:
    tokens = sum(batch.ids.numel() for batch in batches)
    images = sum(len(batch.pixels) for batch in batches)
    return Cost(0.0, tokens, len(batches), images)


def main() -> None:
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    shape = SHAPES[options.model]
    prm = make_prm(shape, "cpu")
    image = options.image_tokens or int(0.7 * options.prompt)
    problem = make_problem(
        prm,
        Lengths(options.prompt, image, options.n, options.steps, options.tokens, options.spread, 0),
    )
    bench = Bench(prm, problem, Work(shape, problem.rows, problem.columns))
    ways = {
        "per-prefix": bench.per_prefix(options.per_prefix_sample),
        "per-solution": bench.per_solution(),
        "batched": bench.batched(),
        "grouped-mask": bench.grouped(short=False),
        "grouped": bench.grouped(short=True),
    }
    labels = sum(map(len, problem.candidates))
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    costs, difference = _timed(bench, ways, labels, options.repeats, clock)
    _show(costs, labels, difference, options)


def _timed(
    bench: Bench, ways: dict[str, Way], labels: int, repeats: int, clock: Callable[[], float]
) -> tuple[dict[str, Cost], float]:
    """Costs, and the largest difference of a gradient from per solution, as a share."""
    costs: dict[str, Cost] = {}
    known = {
        name: one.clone() for name, one in bench.gradients(ways["per-solution"], labels).items()
    }
    largest = max(float(one.abs().max()) for one in known.values())
    difference = 0.0
    for name, way in ways.items():
        best = float("inf")
        for _ in range(repeats):
            begin = clock()
            found = bench.gradients(way, labels)
            best = min(best, (clock() - begin) * way.scale)
        if way.scale == 1.0:
            for part, gradient in known.items():
                difference = max(difference, float((found[part] - gradient).abs().max()) / largest)
        costs[name] = dataclasses.replace(way.whole, seconds=best)
    return costs, difference


def _show(
    costs: dict[str, Cost], labels: int, difference: float, options: argparse.Namespace
) -> None:
    table = Table("way", "seconds", "x", "tokens", "tokens/label", "forwards", "images")
    grouped = costs["grouped"]
    for name, cost in costs.items():
        table.add_row(
            name,
            f"{cost.seconds:.2f}",
            f"{cost.seconds / grouped.seconds:.2f}",
            f"{cost.tokens:,}",
            f"{cost.tokens / labels:.1f}",
            str(cost.forwards),
            str(cost.image_encodings),
        )
    Console().print(table)
    ratios = {
        f"{kind}_{name.replace('-', '_')}": getattr(costs[name], field) / getattr(grouped, field)
        for kind, field in (("ratio", "seconds"), ("tokens", "tokens"))
        for name in ("per-prefix", "per-solution")
    }
    print(f"largest difference of a gradient, as a share of the largest: {difference:.1e}")
    if options.json:
        content = {
            "ways": {name: dataclasses.asdict(cost) for name, cost in costs.items()},
            **ratios,
            "labels": labels,
            "max_gradient_diff": difference,
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=[k for k in SHAPES if k != "3b"], default="65m")
    parser.add_argument("--prompt", type=int, default=600, help="P, tokens with the image")
    parser.add_argument("--image-tokens", type=int, help="of P at most; 0.7 P when left out")
    parser.add_argument("-n", type=int, default=8, help="solutions")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=60, help="of a step")
    parser.add_argument("--spread", type=float, default=0.0, help="of the tokens of a step")
    parser.add_argument("--per-prefix-sample", type=int, default=0, metavar="K")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
