"""The three stages of a run over fakes: what is drawn, scored, kept and shown."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.results import Results, Row
from vilbench.evaluate.sampling import Sampler, sample
from vilbench.evaluate.scoring import score
from vilbench.report.gallery import gallery
from vilbench.report.page import render
from vilbench.report.table import print_table
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, TableScorer, make_problem, tiny_png
from vilbench.types import BytesSource, Image, Problem, Sampling

RIGHT = "Step 1: I add.\nStep 2: it is 5.\nAnswer: 5"
WRONG = "Step 1: I guess.\nStep 2: it is 4.\nAnswer: 4"
SILENT = "Step 1: I wonder."

JUDGE = ScorerPlan("judge-prm", "step", Scale(1, 5), ("mean", "product", "last-1"), "mean")
ORM = ScorerPlan("judge-orm", "solution", Scale(1, 5), (), "mean")

THREE = (
    make_problem(id="p0", source="sums", modality="text-dominant", question="first?"),
    make_problem(id="p1", source="sums", modality="visual-dominant", question="second?"),
    make_problem(id="p2", source="signs", modality="visual-dominant", question="third?"),
)
SCRIPT: Mapping[str, list[str]] = {
    "first?": [RIGHT, WRONG, RIGHT],
    "second?": [WRONG, RIGHT, SILENT],
    "third?": [WRONG, WRONG, WRONG],
}


def manifest(seed: int = 0) -> Manifest:
    return Manifest.of("test", {"n": 3}, seed=seed, problem_set="sums")


def sampler(engine: ScriptedEngine, n: int = 3) -> Sampler:
    return Sampler(engine, FORMATS["steps-brief"], n, Sampling(), seed=0)


def run_of(folder: Path, problems: tuple[Problem, ...] = THREE) -> Run:
    run = Run.open(folder, manifest())
    run.add_problems(problems)
    return run


def table(good: float = 5.0, bad: float = 1.0) -> dict[tuple[str, int], tuple[float, ...]]:
    """Right solutions get `good` in their last step, wrong ones `bad`."""
    values: dict[tuple[str, int], tuple[float, ...]] = {}
    for problem, key in zip(THREE, SCRIPT, strict=True):
        for index, text in enumerate(SCRIPT[key]):
            steps = 1 if text == SILENT else 2
            last = good if text == RIGHT else bad
            values[problem.id, index] = (3.0, last)[-steps:]
    return values


def finished(folder: Path) -> Results:
    with run_of(folder) as run:
        draw = sampler(ScriptedEngine(SCRIPT))
        asyncio.run(sample(run, draw))
        asyncio.run(score(run, TableScorer("judge-prm", "step", table()), draw.key))
        whole = {key: values[-1:] for key, values in table().items()}
        asyncio.run(score(run, TableScorer("judge-orm", "solution", whole), draw.key))
        return analyse(run, Plan(3, (ORM, JUDGE)))


def row(results: Results, method: str, k: int = 3, source: str = "all") -> Row:
    rows = [
        one
        for one in results.rows
        if (one.method, one.k, one.source, one.modality) == (method, k, source, "all")
    ]
    assert len(rows) == 1, (method, k, source)
    return rows[0]


def test_accuracies_by_hand(tmp_path: Path) -> None:
    results = finished(tmp_path)
    methods = ("cot", "random", "majority", "weighted-majority:judge-orm", "judge-orm",
               "weighted-majority:judge-prm", "judge-prm/mean", "judge-prm/product",
               "judge-prm/last-1", "oracle")  # fmt: skip
    whole = [(one.method, one.k) for one in results.rows if one.source == one.modality == "all"]
    assert sorted(whole) == sorted((method, k) for method in methods for k in (1, 2, 3))
    # Right: 2 of 3, 1 of 3, 0 of 3.
    assert row(results, "cot").accuracy == pytest.approx(1 / 3)
    assert row(results, "oracle").accuracy == pytest.approx(2 / 3)
    assert row(results, "oracle", 1).accuracy == pytest.approx(1 / 3)
    # p0: "5" wins; p1: 5 and 4 tie, the unparsed one has no vote; p2: wrong.
    assert row(results, "majority").accuracy == pytest.approx((1 + 0.5 + 0) / 3)
    assert row(results, "judge-prm/last-1").accuracy == pytest.approx(2 / 3)
    assert row(results, "judge-orm").accuracy == pytest.approx(2 / 3)
    assert row(results, "judge-prm/last-1").recovered == pytest.approx(1.0)
    assert row(results, "judge-prm/last-1").delta_vs_cot == pytest.approx(1 / 3)
    assert row(results, "judge-prm/last-1", source="signs").accuracy == 0.0
    assert row(results, "cot").delta_vs_cot is None
    # Among the right ones of p0 two tie; both are right, so tie-breaking decides nothing.
    tied = row(results, "judge-prm/last-1")
    assert tied.accuracy_min == tied.accuracy_max
    assert tied.tie_rate > 0


def test_page_table_and_gallery_of_a_run(tmp_path: Path) -> None:
    results = finished(tmp_path)
    with Run.read(tmp_path) as run:
        shown = gallery(run, Plan(3, (ORM, JUDGE)))
    assert {exhibit.problem.id for exhibit in shown} == {"p0", "p1", "p2"}
    assert next(e for e in shown if e.problem.id == "p1").picks["judge-prm/last-1"] == 1
    assert "judge-prm/last-1" in render(results, shown).replace("<wbr>", "")
    out = io.StringIO()
    print_table(results, Console(file=out, width=200), plain=True)
    assert "judge-prm/last-1" in out.getvalue()


def test_what_is_stored_is_not_drawn_or_scored_again(tmp_path: Path) -> None:
    engine = ScriptedEngine(SCRIPT)
    scorer = TableScorer("judge-prm", "step", table())
    with run_of(tmp_path) as run:
        for _ in range(2):
            asyncio.run(sample(run, sampler(engine)))
            asyncio.run(score(run, scorer, sampler(engine).key))
    assert engine.requests == 3
    assert scorer.scored == 9


def test_one_failure_spoils_nothing_else_and_is_tried_again(tmp_path: Path) -> None:
    engine = ScriptedEngine(SCRIPT, failures={"second?": 1})
    with run_of(tmp_path) as run:
        asyncio.run(sample(run, sampler(engine)))
        assert [failure.problem_id for failure in run.failures()] == ["p1"]
        results = analyse(run, Plan(3, ()))
        # It stays in the denominator, with nothing right to find.
        assert row(results, "oracle").accuracy == pytest.approx(1 / 3)
        assert results.counts[0].failed == 3
        asyncio.run(sample(run, sampler(engine)))
        assert run.failures() == []
        assert row(analyse(run, Plan(3, ())), "oracle").accuracy == pytest.approx(2 / 3)
    assert engine.requests == 4


def test_an_image_that_vanishes_fails_its_problem_alone(tmp_path: Path) -> None:
    class Looking(ScriptedEngine):
        async def generate(self, prompt, n, sampling, seed, *, first=0):  # type: ignore[no-untyped-def]
            for image in prompt.images:
                image.read()
            return await super().generate(prompt, n, sampling, seed, first=first)

    image = Image.of(BytesSource(tiny_png()))
    problems = (THREE[0], THREE[1].model_copy(update={"images": (image,)}))
    with run_of(tmp_path, problems) as run:
        (stored,) = (tmp_path / "images").rglob(f"{image.digest}*")
        stored.write_bytes(b"changed")
        asyncio.run(sample(run, sampler(Looking(SCRIPT))))
        assert [failure.problem_id for failure in run.failures()] == ["p1"]
        assert set(run.solutions(sampler(Looking(SCRIPT)).key)) == {"p0"}


def test_whatever_changes_a_solution_changes_the_key() -> None:
    engine, other = ScriptedEngine(SCRIPT), ScriptedEngine(SCRIPT, name="other")
    base = sampler(engine)
    variants = [
        sampler(other),
        Sampler(engine, FORMATS["steps"], 3, Sampling(), 0),
        Sampler(engine, FORMATS["steps-brief"], 3, Sampling(temperature=0.5), 0),
        Sampler(engine, FORMATS["steps-brief"], 3, Sampling(), 1),
        Sampler(engine, FORMATS["steps-brief"], 3, Sampling(), 0, max_steps=12),
    ]
    keys = {variant.key for variant in variants}
    assert len(keys) == len(variants)
    assert base.key not in keys
    assert sampler(engine, n=9).key == base.key


HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "\u202egnirts\u202c \u2066x\u2069",
    "a" * 100_000,
    "nul \x00 bell \x07 back \x08",
    "{{7*7}} {% raw %}",
)


def test_hostile_solutions_reach_report_and_terminal_as_text(tmp_path: Path) -> None:
    problem = make_problem(question="hostile?" + HOSTILE[0], id="p<b>\x1b[1m")
    engine = ScriptedEngine({"": [f"Step 1: {text}\nAnswer: 5" for text in HOSTILE]})
    n = len(HOSTILE)
    with run_of(tmp_path, (problem,)) as run:
        asyncio.run(sample(run, sampler(engine, n)))
        plan = Plan(n, ())
        results = analyse(run, plan)
        page = render(results, gallery(run, plan))
    lowered = page.lower()
    assert "<script" not in lowered
    assert "onerror=alert(1)>" not in lowered
    assert "&lt;script&gt;" in lowered
    assert not {c for c in page if ord(c) < 32} - {"\n"}
    assert "\u202e" not in page
    assert len(page) < 1_000_000
    out = io.StringIO()
    print_table(results, Console(file=out, width=120, force_terminal=True))
    assert "\x1b]" not in out.getvalue()
