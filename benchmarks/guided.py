r"""Guided search against best-of-n at equal compute.

Runs `vilbench search` on the same puzzles with every method and size, and compares what the chosen
solutions reach with what they cost: tokens that the policy and the reward model computed (those
found in a cache do not count). At the compute of a guided search, best-of-n is read off between
its two neighbouring sizes, problem by problem, on the logarithm of the tokens; the difference is
paired.

    python benchmarks/guided.py --out build/guided --problems 270 --json build/guided.json \
        --figure docs/images/guided.svg

Whatever is stored in `--out` is not searched again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from vilbench.evaluate.stages import noted
from vilbench.metrics import Bootstrap
from vilbench.problems.clusters import clusters
from vilbench.store.run import Run
from vilbench.types import Usage

Floats = npt.NDArray[np.float64]


class Setting(NamedTuple):
    """One method at one size, as `vilbench search` takes it."""

    method: str
    size: str
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of a row."""
        return f"{self.method} {self.size}"

    def folder(self, out: Path) -> Path:
        """Where its run is."""
        return out / self.name.replace(" ", "-").replace(",", "-")


BEST_OF = "best of"


def _settings() -> list[Setting]:
    found = [
        Setting(BEST_OF, str(n), ("--beams", "1", "--widths", str(n), "--whole"))
        for n in (1, 2, 4, 8, 16, 32, 64)
    ]
    found += [
        Setting("greedy", f"1 x {width}", ("--beams", "1", "--widths", str(width)))
        for width in (2, 4, 8, 16)
    ]
    found += [
        Setting("beam", f"{beams} x {width}", ("--beams", str(beams), "--widths", str(width)))
        for beams, width in ((2, 2), (2, 4), (4, 4), (8, 4))
    ]
    found += [
        Setting("DVTS", f"{n} x 4", ("--groups", str(n), "--beams", "1", "--widths", "4"))
        for n in (2, 4, 8)
    ]
    found += [
        Setting("annealed beam", f"{beams} x 2", ("--beams", beams, "--widths", "2"))
        for beams in ("4,2,1", "8,4,2", "16,8,4")
    ]
    return found


SPENT = ("written_tokens", "policy_tokens", "scorer_tokens", "tokens")


class Reached(NamedTuple):
    """What a search came to.

    Attributes:
        correct: `[n_problems]`, whether the chosen solution is right.
        written: `[n_problems]`, tokens that the policy wrote.
        policy: `[n_problems]`, tokens that the policy computed: these, and what it read anew.
        scorer: `[n_problems]`, tokens that the reward model computed.
    """

    correct: Floats
    written: Floats
    policy: Floats
    scorer: Floats

    @property
    def compute(self) -> float:
        """Mean tokens of a problem."""
        return float((self.policy + self.scorer).mean())


def searched(setting: Setting, options: argparse.Namespace) -> Reached:
    """The search of one setting, run where it is not stored."""
    folder = setting.folder(options.out)
    command = [sys.executable, "-m", "vilbench", "search", options.recipe, *setting.options]
    command += ["--limit", str(options.problems), "--out", str(folder), "--plain"]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{setting.name}: {done.stderr or done.stdout}")
    with Run.read(folder) as run:
        return _reached(run, options.problems)


def _reached(run: Run, problems: int) -> Reached:
    stages = noted(run)
    pools = run.solutions(stages.sample_key)
    (key,) = stages.score_keys.values()
    scores = {ref.problem_id: one for ref, one in run.scores(key).items() if not ref.solution_index}
    chosen = [pools[problem.id][0] for problem in run.problems()]
    if len(chosen) != problems:
        raise SystemExit(f"{run.folder}: {len(chosen)} problems, not {problems}")
    policy = [one.usage for one in chosen]
    scorer = [scores[one.problem_id].usage for one in chosen]
    return Reached(
        np.array([float(one.verdict == "correct") for one in chosen]),
        np.array([float(one.completion_tokens) for one in policy]),
        *(np.array([float(_computed(one)) for one in some]) for some in (policy, scorer)),
    )


def _computed(usage: Usage) -> int:
    return usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens


def at_compute(tokens: float, ladder: Sequence[Reached]) -> Floats | None:
    """`[n_problems]`, what best-of-n reaches at so many tokens a problem.

    Args:
        tokens: Mean of a problem.
        ladder: Best-of-n by increasing n.

    Returns:
        Between the two sizes around it in proportion on a logarithmic scale; None outside.
    """
    for low, high in itertools.pairwise(ladder):
        if low.compute <= tokens <= high.compute and low.compute < high.compute:
            share = np.log(tokens / low.compute) / np.log(high.compute / low.compute)
            between: Floats = (1 - share) * low.correct + share * high.correct
            return between
    return None


def main() -> None:
    """Prints all methods beside best-of-n at their compute."""
    options = _options()
    settings = [one for one in _settings() if not options.only or one.method in options.only]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = dict(
            zip(settings, pool.map(lambda one: searched(one, options), settings), strict=True)
        )
    ladder = [one for setting, one in found.items() if setting.method == BEST_OF]
    bootstrap = Bootstrap(options.problems, seed=0, clusters=_versions(options.out, settings[0]))
    rows = []
    for setting, one in found.items():
        row = {
            "method": setting.method,
            "size": setting.size,
            "written_tokens": float(one.written.mean()),
            "policy_tokens": float(one.policy.mean()),
            "scorer_tokens": float(one.scorer.mean()),
            "tokens": one.compute,
            **_interval("accuracy", bootstrap, one.correct),
        }
        against = None if setting.method == BEST_OF else at_compute(one.compute, ladder)
        if against is not None:
            row["best_of_n"] = float(against.mean())
            row |= _interval("over_best_of_n", bootstrap, one.correct - against)
        rows.append(row)
    _show(rows, options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.figure:
        draw(rows, options.figure)


def _versions(out: Path, setting: Setting) -> list[int]:
    with Run.read(setting.folder(out)) as run:
        return clusters(run.problems())


def _interval(name: str, bootstrap: Bootstrap, values: Floats) -> dict[str, float]:
    estimate = bootstrap.mean_interval(values[:, None])
    return {
        name: float(estimate.mean[0]),
        f"{name}_low": float(estimate.low[0]),
        f"{name}_high": float(estimate.high[0]),
    }


def _show(rows: Sequence[dict[str, object]], options: argparse.Namespace) -> None:
    table = Table(
        *("method", "written", "policy", "scorer", "tokens", "accuracy", "best-of-n there"),
        "difference",
    )
    for row in rows:
        number = {name: value for name, value in row.items() if isinstance(value, float)}
        told = "accuracy", "over_best_of_n"
        shown = [
            f"{100 * number[name]:+.1f} [{100 * number[f'{name}_low']:+.1f}, "
            f"{100 * number[f'{name}_high']:+.1f}]"
            if name in number
            else ""
            for name in told
        ]
        there = number.get("best_of_n")
        table.add_row(
            f"{row['method']} {row['size']}",
            *(f"{number[name]:,.0f}" for name in SPENT),
            shown[0].replace("+", ""),
            "" if there is None else f"{100 * there:.1f}",
            shown[1],
        )
    console = Console(width=120)
    console.print(table)
    console.print(
        f"{options.problems} test puzzles; tokens computed a problem; accuracy in %, differences "
        "in points with 95 % intervals, versions of a puzzle drawn together"
    )


def draw(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Accuracy over compute, a line for each method, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator

    figure, axes = pyplot.subplots(figsize=(7.2, 4.2), layout="constrained")
    markers = dict(
        zip(
            dict.fromkeys(str(row["method"]) for row in rows),
            itertools.cycle("osD^v"),
            strict=False,
        )
    )
    for method, marker in markers.items():
        some = sorted(
            (row for row in rows if row["method"] == method),
            key=lambda row: float(str(row["tokens"])),
        )
        x, y, low, high = (
            np.array([float(str(row[name])) for row in some])
            for name in ("tokens", "accuracy", "accuracy_low", "accuracy_high")
        )
        axes.errorbar(
            x,
            100 * y,
            100 * np.array([y - low, high - y]),
            marker=marker,
            capsize=2,
            linewidth=2.2 if method == BEST_OF else 1.2,
            elinewidth=0.7,
            label=method,
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([250, 500, 1000, 2000, 4000, 8000]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("tokens computed for a problem, policy and reward model")
    axes.set_ylabel("chosen solution right, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--recipe", default="embedded-search")
    parser.add_argument("--problems", type=int, default=270)
    parser.add_argument("--only", nargs="*", help="methods; all when left out")
    parser.add_argument("--jobs", type=int, default=1, help="searches at a time")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
