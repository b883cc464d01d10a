"""The benchmarks of collecting: what they count is what a search did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "collect.py"


def measured(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    out = tmp_path / "out.json"
    command = [sys.executable, str(SCRIPT), *arguments, "--json", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    result: list[dict[str, Any]] = json.loads(out.read_text())
    return result


@pytest.mark.parametrize("rule", ["rest-mcts", "rollouts", "omega"])
def test_the_overhead_is_counted_for_every_size(tmp_path: Path, rule: str) -> None:
    few, more = measured(tmp_path, "overhead", "--rules", rule, "--problems", "2", "4")
    assert (few["problems"], more["problems"]) == (2, 4)
    for one in (few, more):
        assert one["operations"] > one["nodes"] > 0
        assert one["megabytes"] > 10
        assert 0 < one["search"] < one["processor"]
        assert one["operations_per_second"] > 0
    assert more["nodes"] > few["nodes"]
    assert (
        measured(tmp_path, "overhead", "--rules", rule, "--problems", "2")[0]["nodes"]
        == (few["nodes"])
    )


def test_a_server_with_enough_problems_is_kept_busy(tmp_path: Path) -> None:
    arguments = ("latency", "--problems", "20", "--places", "2", "--latency", "0.05")
    (one,) = measured(tmp_path, *arguments)
    assert 0.5 < one["share"] <= 1.0001


def test_too_few_problems_have_no_steady_state(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        measured(tmp_path, "latency", "--problems", "10", "--places", "2")
