"""Scoring the steps of all candidates of one problem: four ways and the common one.

A random model of the Qwen2.5-VL architecture, one drawn picture, P prompt tokens (image
included), N candidates of S steps of T tokens. Every way gives the same values; ratios of
their times stand beside the bounds that the work itself sets, in FLOPs of all matrix
products and attention, vision tower included. `per-candidate-padded` is what public code
does: one batch padded to the longest candidate, with the image repeated.

    python benchmarks/scoring.py --prompt 600 --json out.json
    python benchmarks/scoring.py --prompt 1500 --threads 1 --clock cpu --per-prefix-sample 12

`--clock cpu` counts the time of this process on the processor: with one thread, ratios then
hold on a machine that does other things, too. The slow ways can be sampled: some of their
forwards, evenly chosen, are run and the time is scaled by FLOPs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from case import SHAPES, Lengths, Problem, Work, make_prm, make_problem
from vilbench.prm.folder import LoadedPrm
from vilbench.prm.runs import pack
from vilbench.prm.scoring import PrmScoring, Way


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one way of scoring cost.

    Attributes:
        seconds: Least of the repeats.
        tokens: Through the text decoder, pads included.
        forwards: Of the text decoder.
        image_encodings: Images through the vision tower.
    """

    seconds: float
    tokens: int
    forwards: int
    image_encodings: int


class Piece(NamedTuple):
    """The steps of a candidate up to `last`, as one forward."""

    candidate: int
    last: int


class Timed(NamedTuple):
    """One way of scoring.

    Attributes:
        run: Scores, and gives the values of the steps in `rows` with their cost.
        rows: Candidate and step of each value.
        scale: How much more the whole is than what `run` does.
    """

    run: Callable[[], tuple[list[float], Cost]]
    rows: list[tuple[int, int]]
    scale: float = 1.0


class Bench:
    """The ways to score one problem.

    Args:
        prm: The model.
        problem: The problem.
        work: FLOPs of the model.
        batch_tokens: Most tokens of a packed forward; by the device when None.
    """

    def __init__(
        self, prm: LoadedPrm, problem: Problem, work: Work, batch_tokens: int | None
    ) -> None:
        self._prm = prm
        self._problem = problem
        self._work = work
        self._batch_tokens = batch_tokens
        count, steps = len(problem.candidates), len(problem.candidates[0])
        self._rows = [(k, step) for k in range(count) for step in range(steps)]

    def way(self, name: Way) -> Timed:
        """A way as users call it."""
        scoring = PrmScoring(self._prm, name, self._batch_tokens)

        def run() -> tuple[list[float], Cost]:
            scoring.forget()
            found = scoring.score(self._problem.parts, self._problem.candidates)
            counts = found.counts
            read = [value for row in found.values for value in row if value is not None]
            return read, Cost(0.0, counts.tokens, counts.forwards, counts.image_encodings)

        return Timed(run, self._rows)

    def some(self, pieces: Sequence[Piece], every: Sequence[Piece], *, last: bool) -> Timed:
        """Some forwards of a way that is many, with the cost of all of them."""
        scoring = PrmScoring(self._prm, "per-candidate", self._batch_tokens)
        problem = self._problem
        tokens = sum(problem.prompt + problem.ends[k][end] + 1 for k, end in every)

        def run() -> tuple[list[float], Cost]:
            read: list[float] = []
            for k, end in pieces:
                found = scoring.score(problem.parts, [problem.candidates[k][: end + 1]])
                row = [value for value in found.values[0] if value is not None]
                read += row[-1:] if last else row
            return read, Cost(0.0, tokens, len(every), len(every))

        rows = [(k, step) for k, end in pieces for step in range(end if last else 0, end + 1)]
        return Timed(run, rows, self.flops(every) / self.flops(pieces))

    def padded(self) -> Timed:
        """All candidates in one batch, padded to the longest."""
        encoder = self._prm.encoder()
        problem, model = self._problem, self._prm.model
        device = model.backbone.device
        pad = self._prm.processor.tokenizer.pad_token_id

        @torch.inference_mode()
        def run() -> tuple[list[float], Cost]:
            encoded = encoder.encode_all(problem.parts, problem.candidates)
            rows = [torch.tensor([*one.prompt.ids, *one.ids]) for one in encoded]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
            lengths = torch.tensor([len(row) for row in rows])
            mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
            pixels = encoder.encoder.pixels(encoded[0].prompt.images)
            repeated = {name: torch.cat([part] * len(rows)) for name, part in pixels.items()}
            inputs = {
                "input_ids": ids,
                "attention_mask": mask,
                "mm_token_type_ids": (ids == model.backbone.config.image_token_id).int(),
                **repeated,
            }
            values = model(**{name: part.to(device) for name, part in inputs.items()}).cpu()
            read = [
                float(values[k, problem.prompt + problem.ends[k][step]]) for k, step in self._rows
            ]
            return read, Cost(0.0, ids.numel(), 1, len(rows))

        return Timed(run, self._rows)

    def per_candidate(self, sample: int) -> Timed:
        """One forward per candidate; `sample` of them, all when 0."""
        every = self.candidates()
        if not sample:
            return self.way("per-candidate")
        chosen = [every[k * len(every) // sample] for k in range(sample)]
        return self.some(chosen, every, last=False)

    def per_prefix(self, sample: int) -> Timed:
        """One forward per prefix; `sample` of them, all when 0."""
        if not sample:
            return self.way("per-prefix")
        count, steps = len(self._problem.candidates), len(self._problem.candidates[0])
        chosen = [Piece(k * count // sample, k % steps) for k in range(sample)]
        return self.some(chosen, self.prefixes(), last=True)

    def candidates(self) -> list[Piece]:
        """Every candidate."""
        last = len(self._problem.candidates[0]) - 1
        return [Piece(k, last) for k in range(len(self._problem.candidates))]

    def prefixes(self) -> list[Piece]:
        """Every prefix of every candidate."""
        return [Piece(k, step) for k, step in self._rows]

    def flops(self, pieces: Sequence[Piece]) -> int:
        """FLOPs of one forward per piece."""
        problem = self._problem
        return sum(self._work.whole(problem.prompt + problem.ends[k][end] + 1) for k, end in pieces)

    def packed_flops(self, *, share: bool) -> int:
        """FLOPs that cannot be saved when the prompt (and common beginnings) are computed once."""
        prompt = self._problem.prompt
        return self._work.whole(prompt) + sum(
            self._work.text(run.end - run.begin, prompt + run.skip)
            for run in pack(self._problem.ids, share=share).runs
        )


def timed(
    ways: dict[str, Timed], repeats: int, clock: Callable[[], float], device: str
) -> tuple[dict[str, Cost], float, float]:
    """Costs by way, the largest difference of their values, and the matrix rate in FLOP/s."""
    best: dict[str, Cost] = {}
    values: dict[str, dict[tuple[int, int], float]] = {}
    rate = 0.0
    for _ in range(repeats):
        for name, way in ways.items():
            rate = max(rate, matrix_rate(clock, device))
            begin = clock()
            read, cost = way.run()
            seconds = (clock() - begin) * way.scale
            values[name] = dict(zip(way.rows, read, strict=True))
            if name not in best or seconds < best[name].seconds:
                best[name] = dataclasses.replace(cost, seconds=seconds)
    reference = values["shared"]
    difference = max(
        abs(value - reference[row]) for found in values.values() for row, value in found.items()
    )
    return best, difference, rate


def matrix_rate(clock: Callable[[], float], device: str) -> float:
    """Best rate of a large matrix product in FLOP/s, in the default precision."""
    size = 8192 if device == "cuda" else 1536
    a = torch.randn(size, size, device=device)
    best = float("inf")
    for _ in range(4):
        begin = clock()
        torch.mm(a, a)
        best = min(best, clock() - begin)
    return 2 * size**3 / best


def _clock(kind: str, device: str) -> Callable[[], float]:
    tick = time.process_time if kind == "cpu" else time.perf_counter
    if device != "cuda":
        return tick

    def synchronized() -> float:
        torch.cuda.synchronize()
        return tick()

    return synchronized


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=SHAPES, default="65m")
    parser.add_argument("--prompt", type=int, default=600, help="P, tokens with the image")
    parser.add_argument("--image-tokens", type=int, help="of P at most; 0.7 P when left out")
    parser.add_argument("-n", type=int, default=24, help="candidates")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=60, help="of a step")
    parser.add_argument("--spread", type=float, default=0.0, help="of the tokens of a step")
    parser.add_argument("--common", type=int, default=2, help="steps that groups of 4 share")
    parser.add_argument("--batch-tokens", type=int, help="of a packed forward")
    parser.add_argument("--per-prefix-sample", type=int, default=0, metavar="K")
    parser.add_argument("--per-candidate-sample", type=int, default=0, metavar="K")
    parser.add_argument("--skip", nargs="*", default=[], choices=["per-candidate-padded"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Prints all ways with their ratios and bounds."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_default_dtype(getattr(torch, options.dtype))
    shape = SHAPES[options.model]
    prm = make_prm(shape, options.device)
    image = options.image_tokens or int(0.7 * options.prompt)
    problem = make_problem(
        prm,
        Lengths(
            options.prompt,
            image,
            options.n,
            options.steps,
            options.tokens,
            options.spread,
            options.common,
        ),
    )
    work = Work(shape, problem.rows, problem.columns)
    bench = Bench(prm, problem, work, options.batch_tokens)
    ways = {
        "tree": bench.way("tree"),
        "shared": bench.way("shared"),
        "per-candidate-padded": bench.padded(),
        "per-candidate": bench.per_candidate(options.per_candidate_sample),
        "per-prefix": bench.per_prefix(options.per_prefix_sample),
    }
    ways = {name: way for name, way in ways.items() if name not in options.skip}
    costs, difference, rate = timed(
        ways, options.repeats, _clock(options.clock, options.device), options.device
    )
    flops = {
        "tree": bench.packed_flops(share=True),
        "shared": bench.packed_flops(share=False),
        "per-candidate": bench.flops(bench.candidates()),
        "per-prefix": bench.flops(bench.prefixes()),
    }
    fast = costs["shared"].seconds
    result = {
        "ways": {
            name: dataclasses.asdict(dataclasses.replace(cost, seconds=round(cost.seconds, 3)))
            for name, cost in sorted(costs.items(), key=lambda item: -item[1].seconds)
        },
        "ratio_per_prefix": round(costs["per-prefix"].seconds / fast, 3),
        "ratio_per_candidate": round(costs["per-candidate"].seconds / fast, 3),
        "bound_per_prefix": round(flops["per-prefix"] / flops["shared"], 3),
        "bound_per_candidate": round(flops["per-candidate"] / flops["shared"], 3),
        "max_abs_diff": difference,
        "mfu": round(flops["shared"] / fast / rate, 3),
    }
    _show(result, costs, flops, rate, problem, options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _show(
    result: dict[str, object],
    costs: dict[str, Cost],
    flops: dict[str, int],
    rate: float,
    problem: Problem,
    options: argparse.Namespace,
) -> None:
    console = Console(width=120)
    console.print(
        f"{options.model} on {options.device} in {options.dtype}, {torch.get_num_threads()} "
        f"threads, {options.clock} clock, least of {options.repeats}: P {problem.prompt} "
        f"({problem.rows * problem.columns} of the image), N {options.n}, "
        f"{options.steps} steps of {options.tokens} tokens"
    )
    table = Table("way", "seconds", "TFLOP", "of matrix rate", "tokens", "forwards", "images")
    for name, cost in sorted(costs.items(), key=lambda item: -item[1].seconds):
        needed = flops.get(name)
        table.add_row(
            name,
            f"{cost.seconds:.2f}",
            f"{needed / 1e12:.3f}" if needed else "",
            f"{needed / cost.seconds / rate:.0%}" if needed else "",
            *map(str, dataclasses.astuple(cost)[1:]),
        )
    console.print(table)
    for name in ("candidate", "prefix"):
        ratio, bound = result[f"ratio_per_{name}"], result[f"bound_per_{name}"]
        assert isinstance(ratio, float) and isinstance(bound, float)
        sample = getattr(options, f"per_{name}_sample")
        told = f", from {sample} forwards scaled by FLOPs" if sample else ""
        console.print(
            f"shared is {ratio:.2f} x faster than per {name}; the work allows {bound:.2f} x "
            f"({ratio / bound:.0%} of it{told})"
        )
    console.print(
        f"largest difference of values {result['max_abs_diff']:.2g}; matrix rate "
        f"{rate / 1e9:.0f} GFLOP/s, of which the shared way reaches {result['mfu']:.0%}"
    )


if __name__ == "__main__":
    main()
