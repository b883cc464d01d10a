"""A run as it might be: five sources, three modalities, 24 solutions a problem."""

from __future__ import annotations

import io
import math
import random

import PIL.Image
import PIL.ImageDraw

from vilbench.display.exhibit import Exhibit
from vilbench.evaluate.results import Discrimination, Histogram, Results, Row, StageCount
from vilbench.types import (
    BytesSource,
    Image,
    Modality,
    Problem,
    Solution,
    Span,
    StepScores,
    Verdict,
)

SCORERS = ("judge-orm", "judge-prm", "likelihood")
SOURCES = ("charts", "counting", "geometry", "multi-step", "spatial")
MODALITIES: tuple[Modality, ...] = ("text-dominant", "visual-dominant", "visual-only")
AGGREGATIONS = ("mean", "min", "product", "first", "last-1", "last-2", "last-3", "last-4")
N = 24
PROBLEMS = 120

# Gain over cot at k = 24; the judge is weak, the likelihood is not.
GAINS = {
    "judge-orm": 0.021,
    **{
        f"judge-prm/{a}": g
        for a, g in zip(
            AGGREGATIONS, (0.044, 0.031, 0.038, -0.012, 0.049, 0.058, 0.055, 0.047), strict=True
        )
    },
    **{
        f"likelihood/{a}": g
        for a, g in zip(
            AGGREGATIONS, (0.081, 0.012, -0.094, 0.006, 0.067, 0.074, 0.088, 0.083), strict=True
        )
    },
}


def methods() -> list[str]:
    votes = ["majority", *(f"weighted-majority:{s}" for s in SCORERS)]
    return ["oracle", *GAINS, *votes, "random", "cot"]


def _gain(method: str) -> float:
    if method in ("cot", "random"):
        return 0.0
    if method == "oracle":
        return 0.40
    if method == "majority":
        return 0.092
    if method.startswith("weighted"):
        return 0.10 + 0.004 * len(method) / 10
    return GAINS[method]


def _row(method: str, source: str, modality: str, k: int, n: int, cot: float, scale: float) -> Row:
    grown = (1 - math.exp(-(k - 1) / 4)) / (1 - math.exp(-(N - 1) / 4))
    accuracy = min(0.99, max(0.01, cot + scale * _gain(method) * grown))
    half = (
        1.6 * math.sqrt(accuracy * (1 - accuracy) / n) * (0.7 if method in ("cot", "random") else 1)
    )
    delta = accuracy - cot
    around = 0.002 if method == "random" else 0.55 / math.sqrt(n) * (0.4 + grown)
    is_cot = method == "cot"
    ties = 0.62 * grown if method.startswith("judge") else 0.0
    return Row(
        problem_set="puzzles:test",
        source=source,
        modality=modality,
        method=method,
        k=k,
        n_problems=n,
        accuracy=accuracy,
        ci_low=max(0.0, accuracy - half),
        ci_high=min(1.0, accuracy + half),
        accuracy_min=max(0.0, accuracy - ties * 0.1),
        accuracy_max=min(1.0, accuracy + ties * 0.1),
        tie_rate=ties,
        delta_vs_cot=None if is_cot else delta,
        delta_low=None if is_cot else delta - around,
        delta_high=None if is_cot else delta + around,
        p_value=None
        if is_cot
        else max(0.0002, math.erfc(1.96 * abs(delta) / around / math.sqrt(2))),
        recovered=None if is_cot else delta / (scale * 0.40),
    )


def make_results(
    *,
    scorers: tuple[str, ...] = SCORERS,
    rename: dict[str, str] | None = None,
    scale: float = 1.0,
    name: str = "demo",
    policy: str = "tiny-solver",
    rejected: tuple[str, ...] = ("problems.jsonl, row 14, field 'answer': is empty",),
) -> Results:
    """A synthetic run; `rename` replaces method names, `scale` multiplies every gain."""
    rename = rename or {}
    rows = []
    for method in methods():
        shown = rename.get(method, method)
        rows += [
            _row(
                shown if shown in GAINS else method, "all", "all", k, PROBLEMS, 0.478, scale
            ).model_copy(update={"method": shown})
            for k in range(1, N + 1)
        ]
        for i, source in enumerate(SOURCES):
            rows.append(
                _row(method, source, "all", N, 24, 0.30 + 0.09 * i, scale).model_copy(
                    update={"method": shown}
                )
            )
        for i, modality in enumerate(MODALITIES):
            factor = scale * (1.4, 0.4, -0.3 if method not in ("oracle",) else 1.0)[i]
            rows.append(
                _row(method, "all", modality, N, 40, (0.55, 0.44, 0.41)[i], factor).model_copy(
                    update={"method": shown}
                )
            )
    discrimination = tuple(
        Discrimination(
            method=rename.get(m, m),
            source="all",
            modality="all",
            n_problems=103,
            pooled=0.66 + g,
            pooled_low=0.62 + g,
            pooled_high=0.70 + g,
            within=0.53 + g,
            within_low=0.50 + g,
            within_high=0.56 + g,
        )
        for m, g in GAINS.items()
    )
    return Results(
        schema_version=1,
        fingerprint="9f2c" * 16,
        name=name,
        problem_set="puzzles:test",
        n_problems=PROBLEMS,
        n_solutions=N,
        policy=policy,
        scorers=scorers,
        seed=7,
        rows=tuple(rows),
        discrimination=discrimination,
        histograms=_histograms(scorers),
        counts=(
            StageCount(
                stage="sample",
                units=2880,
                failed=3,
                unparsed=57,
                prompt_tokens=412_800,
                completion_tokens=201_600,
            ),
            *(
                StageCount(
                    stage=s,
                    units=2880,
                    failed=0,
                    unparsed=12 * i,
                    prompt_tokens=980_000,
                    completion_tokens=88_000,
                )
                for i, s in enumerate(scorers)
            ),
        ),
        rejected=rejected,
        minimal_detectable_delta=0.061,
    )


def _histograms(scorers: tuple[str, ...]) -> tuple[Histogram, ...]:
    judge_edges = (0.5, 1.5, 2.5, 3.5, 4.5, 5.5)
    found = []
    for i, scorer in enumerate(scorers):
        if i < 2:
            right: tuple[int, ...] = (30, 60, 170, 420, 690)
            wrong: tuple[int, ...] = (90, 160, 260, 480, 510)
            edges: tuple[float, ...] = judge_edges
        else:
            right = tuple(round(900 * math.exp(-(((x - 15) / 3.2) ** 2))) for x in range(20))
            wrong = tuple(round(800 * math.exp(-(((x - 12) / 4.5) ** 2))) for x in range(20))
            edges = tuple(-2.0 + 0.1 * j for j in range(21))
        counts = tuple(a + b for a, b in zip(right, wrong, strict=True))
        found.append(
            Histogram(
                scorer=scorer,
                granularity="solution" if i == 0 else "step",
                edges=edges,
                counts=counts,
                correct=right,
                wrong=wrong,
                missing=12 * i,
            )
        )
    return tuple(found)


def png(size: tuple[int, int] = (56, 56), seed: int = 0) -> bytes:
    """A small picture of coloured squares."""
    rng = random.Random(seed)
    image = PIL.Image.new("RGB", size, (250, 250, 246))
    draw = PIL.ImageDraw.Draw(image)
    for _ in range(7):
        x, y = rng.randrange(size[0] - 8), rng.randrange(size[1] - 8)
        draw.rectangle((x, y, x + 7, y + 7), fill=rng.choice(["#c33", "#36c", "#2a7", "#da2"]))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def make_solution(
    problem_id: str,
    index: int,
    steps: list[str],
    answer: str | None,
    verdict: Verdict,
    closing: str = "",
) -> Solution:
    """A solution whose steps are lines, with a closing line that belongs to no step."""
    text = "\n".join([*steps, closing]) if closing else "\n".join(steps)
    spans, at = [], 0
    for step in steps:
        spans.append(Span(at, at + len(step)))
        at += len(step) + 1
    return Solution(
        problem_id=problem_id,
        index=index,
        text=text,
        steps=tuple(spans),
        answer=answer,
        verdict=verdict,
        finish_reason="stop",
    )


def make_exhibit(i: int = 0, *, image: bytes | None = None) -> Exhibit:
    """A counting problem, three solutions, three scorers, one missing verdict."""
    rng = random.Random(i)
    problem = Problem(
        id=f"counting-{i:04d}",
        source="counting",
        question="The picture shows some squares. 2 red squares are added, then every blue "
        "square is taken away. How many squares are left?",
        images=(Image.of(BytesSource(image if image is not None else png(seed=i))),),
        answer="B",
        answer_kind="choice",
        choices=("5", "6", "7", "8"),
        modality="visual-dominant",
    )
    solutions = (
        make_solution(
            problem.id,
            0,
            [
                "Step 1: There are 7 squares: 3 red, 3 blue, 1 green.",
                "Step 2: Adding 2 red squares gives 9.",
                "Step 3: Without the 3 blue squares there are 6.",
            ],
            "B",
            "correct",
            "Answer: B",
        ),
        make_solution(
            problem.id,
            5,
            [
                "Step 1: There are 7 squares.",
                "Step 2: 7 + 2 = 9.",
                "Step 3: One blue square goes, so 8 are left.",
            ],
            "D",
            "wrong",
            "Answer: D",
        ),
        make_solution(
            problem.id, 17, ["Step 1: I see squares.", "Step 2: I see squares."], None, "unparsed"
        ),
    )
    scores = []
    for s in solutions:
        scores.append(
            StepScores(
                problem_id=problem.id,
                solution_index=s.index,
                scorer="judge-orm",
                granularity="solution",
                values=(float(rng.randint(2, 5)),),
                notes=("The count is checked against the picture and the sum is right.",),
            )
        )
        judged: list[float | None] = [float(rng.randint(1, 5)) for _ in s.steps]
        if s.index == 5:
            judged[1] = None
        scores.append(
            StepScores(
                problem_id=problem.id,
                solution_index=s.index,
                scorer="judge-prm",
                granularity="step",
                values=tuple(judged),
                notes=tuple("Reads the picture well." if v is not None else "" for v in judged),
            )
        )
        scores.append(
            StepScores(
                problem_id=problem.id,
                solution_index=s.index,
                scorer="likelihood",
                granularity="step",
                values=tuple(-rng.random() * 1.8 for _ in s.steps),
            )
        )
    picks = {
        "majority": 0,
        "judge-orm": 5,
        "judge-prm/mean": 0,
        "judge-prm/last-2": 0,
        "judge-prm/min": 0,
        "likelihood/mean": 0,
        "likelihood/last-3": 11,
    }
    return Exhibit(problem, solutions, tuple(scores), picks)
