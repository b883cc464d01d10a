"""The benchmark of scoring, on a tiny model: its figures are counts, its bounds are the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scoring.py"
N, STEPS, TOKENS, PROMPT = 5, 3, 12, 120


def measured(tmp_path: Path, *more: str) -> dict[str, Any]:
    out = tmp_path / "out.json"
    lengths = ["--prompt", PROMPT, "--image-tokens", 36, "-n", N, "--steps", STEPS]
    command = [SCRIPT, "--model", "tiny", *lengths, "--tokens", TOKENS, "--repeats", 1]
    subprocess.run(
        [sys.executable, *map(str, command), "--json", str(out), *more],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    result: dict[str, Any] = json.loads(out.read_text())
    return result


@pytest.mark.parametrize(
    "sample", [(), ("--per-prefix-sample", "4", "--per-candidate-sample", "2")]
)
def test_the_benchmark_counts_the_work_of_every_way(
    tmp_path: Path, sample: tuple[str, ...]
) -> None:
    result = measured(tmp_path, *sample)
    assert set(result) == {
        "ways",
        "ratio_per_prefix",
        "ratio_per_candidate",
        "bound_per_prefix",
        "bound_per_candidate",
        "max_abs_diff",
        "mfu",
    }
    length = STEPS * TOKENS
    prefixes = sum(PROMPT + TOKENS * (k + 1) for k in range(STEPS))
    ways = result["ways"]
    assert {name: way["tokens"] for name, way in ways.items() if name != "tree"} == {
        "per-prefix": N * prefixes,
        "per-candidate": N * (PROMPT + length),
        "per-candidate-padded": N * (PROMPT + length),
        "shared": PROMPT + N * length,
    }
    # Four candidates have two of three steps in common, and beginnings of others by chance.
    most = PROMPT + N * length - 3 * 2 * TOKENS
    assert PROMPT + 2 * length < ways["tree"]["tokens"] <= most
    assert {name: way["image_encodings"] for name, way in ways.items()} == {
        "per-prefix": N * STEPS,
        "per-candidate": N,
        "per-candidate-padded": N,
        "shared": 1,
        "tree": 1,
    }
    assert ways["per-prefix"]["forwards"] == N * STEPS
    assert ways["shared"]["forwards"] == 2
    assert result["max_abs_diff"] < 1e-5
    assert 1 < result["bound_per_candidate"] < N < result["bound_per_prefix"] < N * STEPS
    assert result["ratio_per_prefix"] > 0 < result["mfu"] < 1
