"""Answers as models write them, with the verdicts that a reader gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from vilbench.answers import normalize, read
from vilbench.answers.equality import COMPARER
from vilbench.types import Problem, Verdict

FOLDER = Path(__file__).parents[1] / "golden" / "grading"
SOURCES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
LEAST_CASES = 60
LEAST_AGREEMENT = 0.99


@dataclass(frozen=True)
class Case:
    """A reply to a problem and the verdict that it deserves."""

    problem: Problem
    reply: str
    verdict: str


def cases(source: str) -> Iterator[Case]:
    rows: list[dict[str, Any]] = yaml.safe_load((FOLDER / f"{source}.yaml").read_text("utf-8"))
    for index, row in enumerate(rows):
        problem = Problem(
            id=f"{source}-{index}",
            source=source,
            question="q",
            answer=row["answer"],
            answer_kind=row["kind"],
            choices=tuple(row.get("choices", ())),
            precision=row.get("precision"),
            unit=row.get("unit"),
        )
        assert row.keys() <= {
            *("kind", "choices", "answer", "precision", "unit"),
            *("correct", "wrong", "unparsed"),
        }
        for verdict in get_args(Verdict):
            for reply in row.get(verdict, ()):
                yield Case(problem, reply, verdict)


def test_the_five_benchmarks_and_vilbench_are_there() -> None:
    expected = ["mathverse", "mathvista", "mmmu_pro", "mmstar", "realworldqa", "vilbench"]
    assert expected == SOURCES


@pytest.mark.parametrize("source", SOURCES)
def test_agreement(source: str) -> None:
    given = [(case, read(case.reply, case.problem)) for case in cases(source)]
    assert len({(case.problem.id, case.reply) for case, _ in given}) == len(given)
    assert len(given) >= LEAST_CASES
    differ = [
        f"{case.reply!r}: {reading}, not {case.verdict}"
        for case, reading in given
        if reading.verdict != case.verdict
    ]
    assert len(differ) <= (1 - LEAST_AGREEMENT) * len(given), "\n".join(differ)


@pytest.mark.parametrize("source", SOURCES)
def test_normal_forms_stay(source: str) -> None:
    for case in cases(source):
        answer = read(case.reply, case.problem).answer
        if answer is not None:
            assert normalize(answer, case.problem) == answer
        gold = normalize(case.problem.answer, case.problem)
        assert normalize(gold, case.problem) == gold


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"mathverse"}))
def test_plain_answers_need_no_worker(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(gold: str, given: str) -> bool:
        raise AssertionError(f"{gold} and {given} went to the worker")

    monkeypatch.setattr(COMPARER, "same", never)
    for case in cases(source):
        read(case.reply, case.problem)
