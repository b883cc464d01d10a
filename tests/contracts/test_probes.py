"""Every probe of the embedded reward model and judge, by the command, on two problems."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vilbench.cli.app import app
from vilbench.diagnostics.probes import PROBES
from vilbench.diagnostics.records import Diagnostics
from vilbench.store.run import Run

RECIPE = """\
name: probed
problems: {source: puzzles, split: dev, limit: 3}
sample:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  n: 4
  max_tokens: 120
scorers:
  - kind: judge
    name: judge-orm
    engine: {kind: local, model: "embedded:base"}
    granularity: solution
    prompt: brief
  - {kind: prm, name: prm, model: "embedded:vilprm"}
"""
DRAW = ("--limit", "2", "--candidates", "2", "--attacked", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("probed")
    recipe = base / "probed.yaml"
    recipe.write_text(RECIPE)
    vilbench("run", str(recipe), "--out", str(base / "run"), "--plain")
    return base / "run"


def vilbench(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def scores(folder: Path) -> int:
    with Run.read(folder) as run:
        return sum(len(run.scores(key)) for key in run.score_keys())


@pytest.mark.slow
def test_embedded_models_are_probed_end_to_end(folder: Path) -> None:
    before = scores(folder)
    told = vilbench("diagnose", str(folder), *DRAW, "--dry-run")
    left = int(told.splitlines()[-1].split("; ")[1].split(" ")[0])
    assert left > 80
    assert scores(folder) == before
    told = vilbench("diagnose", str(folder), *DRAW, "--plain")
    assert scores(folder) == before + left
    found = Diagnostics.model_validate_json((folder / "diagnostics.json").read_bytes()).probes
    assert {(one.scorer, one.probe) for one in found} == {
        (scorer, name)
        for scorer in ("judge-orm", "prm")
        for name in PROBES
        if (scorer, name) != ("judge-orm", "boundaries")
    }
    for one in found:
        if one.probe == "rescoring" and one.measure == "largest-difference":
            # Rounding alone: how many are scored at a time is no part of a value.
            assert one.value is not None and one.value < 1e-3, one
        assert one.missing == 0
    assert "prm/mean image/blank" in told
    assert "probe" in (folder / "report.html").read_text().lower()
    assert "; 0 solutions are left" in vilbench("diagnose", str(folder), *DRAW, "--dry-run")
    again = (folder / "diagnostics.json").read_bytes()
    vilbench("report", str(folder), "--plain")
    assert (folder / "diagnostics.json").read_bytes() == again
    assert scores(folder) == before + left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scorer", "none"), "no scorer 'none'"),
        (("--probe", "none"), "no probe 'none'"),
        (("--limit", "x"), "limit"),
    ],
)
def test_wrong_options_are_named(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in vilbench("diagnose", str(folder), *arguments, code=2)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    assert "no run here" in vilbench("diagnose", str(tmp_path), code=2)
