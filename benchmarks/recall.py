"""A search under a reward model that recalls the steps it has scored, and under one that does not.

A random model of the Qwen2.5-VL architecture scores what a step-wise search asks for: in each of
S rounds W next steps of T tokens behind the beginning that was kept. Both know the question after
the first round. Without recall the kept beginning is read again in each round.

    python benchmarks/recall.py --prompt 600 --steps 10 --json out.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from case import SHAPES, Lengths, Problem, make_prm, make_problem
from vilbench.prm.folder import LoadedPrm
from vilbench.prm.scoring import PrmScoring


class Spent(NamedTuple):
    """What a search cost.

    Attributes:
        seconds: Least of the repeats.
        tokens: Through the text decoder.
        values: Of the last step of each candidate of each round.
    """

    seconds: float
    tokens: int
    values: list[float]


def searched(prm: LoadedPrm, problem: Problem, *, recall: bool) -> Spent:
    """Scores all rounds of a search that keeps the first candidate's steps."""
    scoring = PrmScoring(prm, "tree", recall=recall)
    kept, tokens = problem.candidates[0], 0
    values: list[float] = []
    begin = time.perf_counter()
    for turn in range(len(kept)):
        asked = [(*kept[:turn], one[turn]) for one in problem.candidates]
        found = scoring.score(problem.parts, asked)
        tokens += found.counts.tokens
        for row in found.values:
            if row[-1] is None:
                raise ValueError("a candidate's last step has no value")
            values.append(row[-1])
    return Spent(time.perf_counter() - begin, tokens, values)


def main() -> None:
    """Prints both with their ratios."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    prm = make_prm(SHAPES[options.model], "cpu")
    image = options.image_tokens or int(0.7 * options.prompt)
    lengths = Lengths(options.prompt, image, options.width, options.steps, options.tokens, 0.0, 0)
    problem = make_problem(prm, lengths)
    ways = {"read again": False, "recalled": True}
    best: dict[str, Spent] = {}
    for _ in range(options.repeats):
        for name, recall in ways.items():
            spent = searched(prm, problem, recall=recall)
            if name not in best or spent.seconds < best[name].seconds:
                best[name] = spent
    again, recalled = best["read again"], best["recalled"]
    pairs = zip(again.values, recalled.values, strict=True)
    result = {
        "ways": {
            name: {"seconds": round(one.seconds, 3), "tokens": one.tokens}
            for name, one in best.items()
        },
        "ratio": round(again.seconds / recalled.seconds, 3),
        "bound": round(again.tokens / recalled.tokens, 3),
        "max_abs_diff": max(abs(a - b) for a, b in pairs),
    }
    table = Table("steps are", "seconds", "tokens")
    for name, one in best.items():
        table.add_row(name, f"{one.seconds:.2f}", f"{one.tokens:,}")
    console = Console()
    console.print(table)
    console.print(
        f"{options.model}, P {options.prompt}, {options.steps} rounds of {options.width} steps of "
        f"{options.tokens} tokens: {result['ratio']} x faster, {result['bound']} x fewer tokens; "
        f"largest difference {result['max_abs_diff']:.1e}"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=SHAPES, default="65m")
    parser.add_argument("--prompt", type=int, default=600, help="P, tokens with the image")
    parser.add_argument("--image-tokens", type=int, help="of P at most; 0.7 P when left out")
    parser.add_argument("--steps", type=int, default=10, help="S, rounds")
    parser.add_argument("--width", type=int, default=4, help="W, next steps of a round")
    parser.add_argument("--tokens", type=int, default=60, help="T, of a step")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
