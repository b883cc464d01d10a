"""Sampling and judging with shared prefixes, against one request at a time.

Both ways run in one process on the same checkpoint and give the same texts; only the ratio
counts. The naive way is what a plain loop over `generate` does: a request per sample, the
prompt computed anew for each (the engine still remembers the features of an image).

    python benchmarks/sampling.py --model embedded:small --problems 8 --json out.json
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from vilbench.embedded import model_folder
from vilbench.engines.local import LocalEngine
from vilbench.problems.puzzles import puzzles
from vilbench.scorers.judge import PROMPTS
from vilbench.steps import FORMATS
from vilbench.types import Completion, Prompt, Sampling


class Request(NamedTuple):
    """One prompt, sampled `n` times."""

    prompt: Prompt
    n: int
    sampling: Sampling
    seed: int


@dataclasses.dataclass(frozen=True)
class Way:
    """What one way of answering cost."""

    seconds: float
    prompt_tokens: int
    decoded_tokens: int
    forwards: int
    image_encodings: int


async def together(folder: Path, requests: Sequence[Request]) -> tuple[Way, list[str]]:
    """All requests at once, as the suite asks them."""
    async with LocalEngine(folder) as engine:
        begin = time.perf_counter()
        found = await asyncio.gather(
            *(engine.generate(r.prompt, r.n, r.sampling, r.seed) for r in requests)
        )
        return _way(engine, begin), [one.text for some in found for one in some]


async def one_by_one(folder: Path, requests: Sequence[Request]) -> tuple[Way, list[str]]:
    """A request per sample, each after the one before."""
    texts: list[str] = []
    async with LocalEngine(folder) as engine:
        begin = time.perf_counter()
        for request in requests:
            for index in range(request.n):
                found: list[Completion] = await engine.generate(
                    request.prompt, 1, request.sampling, request.seed, first=index
                )
                texts.append(found[0].text)
        return _way(engine, begin), texts


def _way(engine: LocalEngine, begin: float) -> Way:
    counts = engine.counts
    return Way(
        round(time.perf_counter() - begin, 3),
        counts.prompt_tokens_computed,
        counts.decoded_tokens,
        counts.forwards,
        counts.image_encodings,
    )


def main() -> None:
    """Prints both ways for sampling and for judging."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:small")
    parser.add_argument("--problems", type=int, default=4)
    parser.add_argument("-n", type=int, default=24)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = model_folder(arguments.model)
    problems = [puzzle.problem for puzzle in puzzles("dev", arguments.problems)]
    ask = FORMATS["steps-brief"].ask
    sampling = Sampling(max_tokens=160)
    solving = [Request(ask(problem), arguments.n, sampling, 7) for problem in problems]
    shared, texts = asyncio.run(together(folder, solving))
    naive, naive_texts = asyncio.run(one_by_one(folder, solving))
    assert texts == naive_texts, "both ways must give the same samples"
    results = {"sampling": (shared, naive)}

    judge = PROMPTS["brief"]
    greedy = Sampling(temperature=0.0, max_tokens=judge.max_tokens)
    judging = [
        Request(judge.ask_whole(problem, text), 1, greedy, 0)
        for place, problem in enumerate(problems)
        for text in texts[place * arguments.n : (place + 1) * arguments.n]
    ]
    shared, texts = asyncio.run(together(folder, judging))
    naive, naive_texts = asyncio.run(one_by_one(folder, judging))
    assert texts == naive_texts, "both ways must give the same verdicts"
    results["judging"] = (shared, naive)

    table = Table("job", "way", "seconds", "prompt tokens", "decoded", "forwards", "images")
    for job, ways in results.items():
        for name, way in zip(("together", "one by one"), ways, strict=True):
            table.add_row(job, name, *(str(value) for value in dataclasses.astuple(way)))
    console = Console()
    console.print(table)
    for job, (fast, slow) in results.items():
        console.print(f"{job}: {slow.seconds / fast.seconds:.1f} x faster together")
    if arguments.json:
        figures = {
            job: {"together": dataclasses.asdict(fast), "one_by_one": dataclasses.asdict(slow)}
            for job, (fast, slow) in results.items()
        }
        ratios = {job: round(s.seconds / f.seconds, 2) for job, (f, s) in results.items()}
        arguments.json.write_text(json.dumps({"ways": figures, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
