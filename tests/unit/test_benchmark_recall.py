"""The benchmark of recall, on a tiny model: what is saved are the beginnings, in every round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "recall.py"
PROMPT, STEPS, WIDTH, TOKENS = 120, 4, 3, 12


def test_the_beginning_of_every_round_is_saved(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    question = ["--prompt", PROMPT, "--image-tokens", 36]
    lengths = ["--steps", STEPS, "--width", WIDTH, "--tokens", TOKENS]
    command = [SCRIPT, "--model", "tiny", *question, *lengths, "--repeats", 1, "--json", out]
    subprocess.run(
        [sys.executable, *map(str, command)],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    result = json.loads(out.read_text())
    again, recalled = (result["ways"][name]["tokens"] for name in ("read again", "recalled"))
    # Steps of a round may begin alike by chance.
    assert PROMPT + STEPS * TOKENS < recalled <= PROMPT + STEPS * WIDTH * TOKENS
    assert again - recalled == TOKENS * sum(range(STEPS))
    assert result["bound"] == round(again / recalled, 3)
    assert result["max_abs_diff"] < 1e-5
    assert result["ratio"] > 0
