"""Several runs beside each other: what is paired, what is not, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from puzzle_run import PRM, puzzle_run
from test_report_page import HOSTILE, assert_harmless

from vilbench.cli import reporting
from vilbench.display import numerals
from vilbench.display.text import visible
from vilbench.errors import InputError, RunError
from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.sidebyside import Measured, differences, gain, measured, pairing
from vilbench.metrics import Bootstrap
from vilbench.report.comparison import Comparison, render_comparison
from vilbench.report.latex import latex_comparison
from vilbench.report.table import comparison_lines
from vilbench.types import Problem

P, N = 60, 6


def problems(count: int = P, prefix: str = "p") -> tuple[Problem, ...]:
    return tuple(
        Problem(
            id=f"{prefix}{i}", source="s", question=f"question {i}", answer="1",
            answer_kind="number", modality="text-dominant",
        )
        for i in range(count)
    )  # fmt: skip


def made(
    label: str = "a",
    gains: Sequence[float] = (0.0, 0.1),
    asked: tuple[Problem, ...] | None = None,
    seed: int = 0,
) -> Measured:
    """A run whose scorers add so much to the chance of every problem."""
    asked = problems() if asked is None else asked
    base = np.random.default_rng(seed).uniform(0.2, 0.6, size=(len(asked), 1)).repeat(N, axis=1)
    grown = np.linspace(0.0, 1.0, N)[None, :]
    names = [f"scorer-{i}" for i in range(len(gains))]
    accuracy = {"cot": base, "majority": base + 0.02 * grown}
    accuracy |= {name: base + g * grown for name, g in zip(names, gains, strict=True)}
    accuracy["oracle"] = np.ones_like(base)
    methods = {name: name for name in accuracy} | {name: f"{name}/mean" for name in names}
    return Measured(label, "policy", "set", 3, "f" * 64, asked, accuracy, methods)


def test_runs_over_the_same_problems_are_paired() -> None:
    one, other = made("a"), made("b", (0.05, 0.1))
    assert pairing(other, one) == "paired"
    found = {d.name: d for d in differences([one, other])}
    # The problems are as hard in both: nothing but the scorer differs, which pairs show.
    assert found["scorer-0"].delta == pytest.approx(0.05)
    assert (found["scorer-0"].low, found["scorer-0"].high) == pytest.approx((0.05, 0.05))
    assert found["scorer-0"].p_value is not None
    assert found["scorer-0"].p_value < 0.001
    assert found["scorer-1"].delta == 0


def test_other_problems_are_not_paired_and_told() -> None:
    one = made("a")
    more = made("b", (0.05, 0.1), problems(80))
    turned = made("b", asked=problems()[::-1])
    changed = made("b", asked=tuple(p.model_copy(update={"answer": "2"}) for p in problems()))
    assert pairing(more, one) == "other problems"
    assert pairing(turned, one) == "another order"
    assert pairing(changed, one) == "same ids, other problems"
    found = {d.name: d for d in differences([one, more])}
    assert found["scorer-0"].p_value is None
    spread = one.accuracy["cot"][:, -1].std() / np.sqrt(P)
    wide = found["scorer-0"].high - found["scorer-0"].low
    assert wide > 3 * spread
    page = render_comparison([one, more, turned])
    assert "not paired: other problems" in page
    assert "not paired: another order" in page


def test_unpaired_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(60):
        one, other = made(seed=seed), made(asked=problems(prefix="q"), seed=seed + 1000)
        found = {d.name: d for d in differences([one, other])}["cot"]
        held += found.low <= 0 <= found.high
    assert 51 <= held <= 60


def test_what_one_run_lacks_is_a_dash() -> None:
    one, other = made("a", (0.1,)), made("b", (0.1, 0.2))
    found = Comparison((one, other))
    assert found.rows == ("cot", "majority", "scorer-0", "scorer-1", "oracle")
    assert found.accuracy("scorer-1", 0) is None
    assert found.difference("scorer-1", 1) is None
    assert found.method("scorer-0") == "scorer-0/mean"
    settled = replace(other, methods={**other.methods, "scorer-0": "scorer-0/last-1"})
    mixed = Comparison((one, settled))
    assert mixed.method("scorer-0") == "scorer-0"
    assert mixed.differing("scorer-0", 1) == "scorer-0/last-1"
    assert_harmless(render_comparison([one, other]))


def test_headlines_say_what_is_clear() -> None:
    one = made("a")
    assert "no scorer differs clearly from run A" in Comparison((one, made("b"))).headline
    headline = Comparison((one, made("b", (0.2, 0.1)), made("c", (0.0, -0.2)))).headline
    assert "with scorer-1, run C differs from run A by −30.0 points" in headline
    assert "no scorer is in both" in Comparison((made("a", ()), made("b", ()))).headline


def test_runs_over_a_handful_of_problems_differ_clearly_in_nothing() -> None:
    for count, clear in ((5, False), (6, True)):
        asked = problems(count)
        found = Comparison((made("a", asked=asked), made("b", (0.3, 0.1), asked)))
        difference = found.difference("scorer-0", 1)
        gained = found.gain("scorer-0", 1)
        assert difference is not None
        assert gained is not None
        # All problems go one way, so that the interval is clear of 0 by itself.
        assert difference.low > 0
        assert gained.low > 0
        assert bool(found.sign(difference)) == bool(gained.sign) == clear
        assert ("differs clearly" in found.headline) != clear


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text(text: str) -> None:
    one = made(f"folder {text}", (0.1,))
    named = {
        "policy": f"policy {text}",
        "problem_set": f"set {text}",
        "methods": {**one.methods, "scorer-0": f"scorer {text}"},
    }
    run = replace(one, **named)  # type: ignore[arg-type]
    page = assert_harmless(render_comparison([run, run], f"command {text}"))
    for place in ("folder", "policy", "set", "scorer", "command"):
        assert f"{place} {visible(text)}" in page.text
    assert latex_comparison(Comparison((run, run))).count("\n") == 2 + 5 + 4 + 2 - 1


def test_the_table_in_a_terminal_has_runs_rows_and_differences() -> None:
    runs = made("first", (0.1,)), made("second", (0.2, 0.1)), made("third", (0.1,), problems(80))
    found = Comparison(runs)
    lines = comparison_lines(found)
    assert lines[0] == found.headline
    assert [line.split()[:2] for line in lines[3:6]] == [
        ["A", "first"],
        ["B", "second"],
        ["C", "third"],
    ]
    assert lines[5].endswith("not paired: other problems")
    table = [line.split("  ") for line in lines if line.startswith("scorer-0/mean")]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in table]
    assert [row[1] for row in cells] == ["A", "B", "C"]
    difference, accuracy = found.difference("scorer-0", 1), found.accuracy("scorer-0", 1)
    assert difference is not None
    assert accuracy is not None
    assert cells[0][4:] == ["–", "–", "–"]
    assert cells[1][2:] == [
        numerals.percent(accuracy.value),
        numerals.percent_range(accuracy.low, accuracy.high),
        f"▲ {numerals.points(difference.delta)}",
        numerals.points_range(difference.low, difference.high),
        numerals.p_value(difference.p_value),
    ]
    assert next(line for line in lines if line.startswith("scorer-1")).split()[1] == "B"
    assert len({len(line) for line in lines if line.startswith(("cot", "majority"))}) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_reach_no_terminal(text: str) -> None:
    run = replace(made(text, (0.1,)), policy=text, methods={**made("a").methods, "scorer-0": text})
    for line in comparison_lines(Comparison((run, run))):
        assert line == visible(line)


def test_same_runs_give_the_same_bytes() -> None:
    runs = [made("a"), made("b", (0.2, 0.1))]
    assert render_comparison(runs) == render_comparison(runs)


def test_sheets_of_the_comparison() -> None:
    found = Comparison((made("a"), made("b", (0.2, 0.1))))
    assert set(found.plates) == {"runs", "runs-curves"}
    head, *lines = found.plates["runs"].sheet.csv().splitlines()
    assert len(lines) == 2 * 5
    assert head.startswith("run,folder,policy,method,k,n_problems,accuracy")
    curve = found.plates["runs-curves"].sheet
    assert len(curve.rows) == 2 * 5 * N


def test_stored_runs_measure_as_they_are_analysed(tmp_path: Path) -> None:
    other = ScorerPlan("other", "step", Scale(0, 1), ("last-1", "last-2"), "mean")
    plan = Plan(2, (PRM, other))
    with puzzle_run(tmp_path / "run", "test", ("prm", "other")) as run:
        found, results = measured("run", run, plan), analyse(run, plan)
    whole = {(r.method, r.k): r for r in results.rows if r.source == "all" and r.modality == "all"}
    for name, method in found.methods.items():
        for k in (1, 2):
            row = whole[method, k]
            assert found.accuracy[name][:, k - 1].mean() == pytest.approx(row.accuracy)
        mean, low, high = Bootstrap(4).mean_interval(found.accuracy[name])
        assert (mean[-1], low[-1], high[-1]) == pytest.approx(
            (whole[method, 2].accuracy, whole[method, 2].ci_low, whole[method, 2].ci_high)
        )
        if name != "cot":
            delta = gain(found, name)
            assert float(delta.low[0]) == pytest.approx(whole[method, 2].delta_low)


def test_the_command_compares_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        puzzle_run(folder, "test").close()
    before = {path: path.read_bytes() for path in folders[0].iterdir() if path.is_file()}
    latex, figures = tmp_path / "t.tex", tmp_path / "figures"
    reporting.compare(folders, None, figures, latex, "vilbench report one two")
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["A", "one"] in [line[:2] for line in lines]
    (paired,) = [line for line in lines if line[:2] == ["B", "two"]]
    assert paired[-1] == "paired"
    assert said.count("comparison.html") == 1
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert_harmless(page)
    assert "vilbench report one two" in page
    assert str(tmp_path) not in page
    assert latex.read_text().startswith("% run A: one\n% run B: two\n")
    assert (figures / "runs.csv").is_file()
    # The runs themselves stay as they are.
    after = {path: path.read_bytes() for path in folders[0].iterdir() if path.is_file()}
    assert {path.name for path in after} >= {path.name for path in before}
    assert all(after[path] == data for path, data in before.items())
    with pytest.raises(InputError, match="twice"):
        reporting.compare([folders[0], folders[0]], None, None, None, "")
    with pytest.raises(RunError, match="no run"):
        reporting.compare([folders[0], tmp_path / "none"], None, None, None, "")
