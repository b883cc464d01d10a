"""Diagnostics in the report, in the run's folder, and on the terminal."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import pytest
from planted_data import Planted, planted_labels, planted_world
from puzzle_run import puzzle_run
from report_data import make_results
from rich.console import Console

from vilbench.cli import job
from vilbench.diagnostics.diagnosis import Held, diagnostics
from vilbench.diagnostics.probes import PROBES, Draw
from vilbench.diagnostics.probes.probing import variant_key
from vilbench.diagnostics.probes.records import ProbeFinding
from vilbench.diagnostics.records import Diagnostics
from vilbench.errors import RunError
from vilbench.evaluate.analysis import Stored
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.results import Results
from vilbench.report.diagnosis import TOLD, Diagnosis
from vilbench.report.page import render
from vilbench.store.run import Run
from vilbench.types import Usage


@cache
def record(*scorers: Planted) -> Diagnostics:
    world = planted_world(80, 8, seed=6)
    plans = tuple(
        ScorerPlan(s.name, s.granularity, Scale(0, 1), ("last-1", "mean"), "mean") for s in scorers
    )
    values = {s.name: s.values(world) for s in scorers}
    given = Stored("policy", plans, world.aligned(), values)
    return diagnostics(Held.of(given, "planted", planted_labels))


CLEAN = Planted(scorer="clean")
BAD = Planted(scorer="bad", excess=0.1, length=0.05, wavering=1.0)


def test_nothing_is_said_of_a_clean_scorer() -> None:
    clean = Diagnosis(record(CLEAN))
    assert not [*clean.alarms, *clean.remarks]
    assert "Nothing is clearly off." in render(make_results(), [], None, clean)


def test_what_was_planted_is_told_worst_first_and_of_whom() -> None:
    diagnosis = Diagnosis(record(CLEAN, BAD))
    assert {one.scorer for one in diagnosis.alarms} == {"bad"}
    weights = [one.weight for one in diagnosis.alarms]
    assert weights == sorted(weights, reverse=True)
    text = " ".join(one.text for one in diagnosis.alarms)
    for part in ("above the share that is right", "length in characters", "score differently"):
        assert part in text
    (line,) = diagnosis.remarks
    assert line.startswith("bad: ")
    assert line.count(";") == TOLD
    assert f"and {len(weights) - TOLD} more in the report" in line


def test_a_handful_of_problems_raises_no_alarm() -> None:
    found = record(CLEAN, BAD)
    for count, told in ((5, False), (6, True)):
        few = Diagnosis(found.model_copy(update={"n_problems": count}))
        assert bool(few.alarms) == bool(few.remarks) == told
        page = render(make_results(), [], None, few)
        assert ("So few problems cannot show" in page) != told
        assert "Nothing is clearly off" not in page


def test_opposed_scorers_are_told() -> None:
    diagnosis = Diagnosis(record(CLEAN, Planted(scorer="rival", overconfidence=-2.0)))
    assert any("ranks against rival" in one.text for one in diagnosis.alarms)


def test_the_page_shows_every_table() -> None:
    found = record(CLEAN, BAD)
    probe = ProbeFinding(
        probe="image",
        version=1,
        variant="<blank>",
        scorer="bad",
        method="bad/last-1",
        measure="gain-lost",
        unit="share",
        value=0.25,
        low=0.1,
        high=0.4,
        n_problems=7,
        n=70,
        seed=0,
        candidates=8,
    )
    page = render(
        make_results(), [], None, Diagnosis(found.model_copy(update={"probes": (probe,)}))
    )
    assert page.count('id="diagnosis"') == page.count('href="#diagnosis"') == 1
    section = page[page.index('id="diagnosis"') :]
    for heading in (
        "Calibration",
        "Overrating",
        "Length and position",
        "How alike scorers rank",
        "Does a choice carry over?",
        "Equal solutions, equal scores?",
        "Probes",
    ):
        assert f"<h3>{heading}" in section
    assert "&lt;blank&gt;" in section and "<blank>" not in section
    assert "25.0 %" in section
    tau = found.agreement[0].kendall.value
    assert tau is not None and section.count(f">{tau:.3f}<") == 2
    assert "diagnosis" not in render(make_results(), [])


def report(run: Run, dev: Path | None = None) -> str:
    console = Console(file=io.StringIO())
    job.report(run, job.recipe_of(run), console, plain=True, dev=dev)
    return (run.folder / "diagnostics.json").read_text(encoding="utf-8")


def test_a_report_writes_diagnostics_and_reads_the_same_again(tmp_path: Path) -> None:
    with puzzle_run(tmp_path / "run", scorers=("prm", "prm-untrained")) as run:
        text = report(run)
        found = Diagnostics.model_validate_json(text)
        assert found.fingerprint == run.manifest.fingerprint
        assert found.scorers == ("prm", "prm-untrained")
        assert (found.n_problems, found.n_solutions) == (4, 2)
        assert {one.unit for one in found.reliability} == {"solution", "step"}
        assert report(run) == text
        assert 'id="diagnosis"' in (run.folder / "report.html").read_text(encoding="utf-8")


def test_probes_are_among_the_costs_of_the_results(tmp_path: Path) -> None:
    draw, variant = Draw(), PROBES["rescoring"].variants[0]
    with puzzle_run(tmp_path / "run") as run:
        key = "scored by prm"
        noted = {"scorer": "prm", "probe": "rescoring", "score_key": key}
        run.event("probe", {**noted, **vars(draw)})
        again = [
            one.model_copy(update={"usage": Usage(prompt_tokens=5)})
            for one in run.scores(key).values()
        ]
        run.put_scores(variant_key(key, variant, draw), again)
        report(run)
        results = Results.model_validate_json((run.folder / "results.json").read_text())
    told = {(one.stage, one.kind): one for one in results.costs}
    assert [*told] == [("sample", "sample"), ("prm", "score"), ("prm", "probe")]
    assert told["prm", "probe"].prompt_tokens == 5 * results.n_solutions
    assert told["prm", "score"].method == "prm/mean"
    assert told["sample", "sample"].method == "cot"


def test_a_dev_run_that_holds_reported_problems_is_refused(tmp_path: Path) -> None:
    with puzzle_run(tmp_path / "dev") as dev:
        pass
    with puzzle_run(tmp_path / "run") as run, pytest.raises(RunError, match="are reported"):
        report(run, dev.folder)


def test_a_correlation_that_chance_explains_is_no_alarm() -> None:
    found = record(CLEAN, BAD)
    chance = tuple(one.model_copy(update={"p_value": 1.0}) for one in found.bias)
    text = str(Diagnosis(found.model_copy(update={"bias": chance})).alarms)
    assert "length in characters" not in text
    assert "score differently" in text
