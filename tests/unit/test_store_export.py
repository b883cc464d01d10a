import io
import json
import string
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import RunError, RunStorageError
from vilbench.problems.files import load_jsonl
from vilbench.store.export import export_jsonl
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import BytesSource, Image, Problem, Solution, Span, StepScores

MANIFEST = Manifest.of("demo", {"n": 1}, seed=0, problem_set="own")
HOSTILE = "\x1b[31m</script>\u202e\u2028\u0085\ud800\x00\n{}"


def picture(shade: int, kind: str = "PNG") -> Image:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (shade, 0, 0)).save(buffer, kind)
    return Image.of(BytesSource(buffer.getvalue()))


def problem(identity: str, *images: Image) -> Problem:
    return Problem(id=identity, source="own", question="q?", answer="3", images=images)


def solution(problem_id: str, index: int, text: str = "One.\nTwo.") -> Solution:
    return Solution(
        problem_id=problem_id,
        index=index,
        text=text,
        steps=(Span(0, 4), Span(5, 9)),
        answer=None,
        verdict="unparsed",
        finish_reason="length",
        seed=3,
    )


def scores(problem_id: str, index: int, *values: float | None) -> StepScores:
    return StepScores(
        problem_id=problem_id,
        solution_index=index,
        scorer="prm",
        granularity="step",
        values=values,
    )


def lines(path: Path) -> list[Any]:
    data = path.read_bytes()
    assert data.endswith(b"\n") or not data
    assert data.isascii()
    return [json.loads(line) for line in data.decode().splitlines()]


def test_what_is_written(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", MANIFEST) as run:
        run.add_problems([problem("a", picture(1), picture(2, "JPEG")), problem("b")])
        run.put_solutions("k", [solution("b", 0), solution("a", 1), solution("a", 0)])
        run.put_scores("s", [scores("a", 0, 0.25, None)])
        export_jsonl(run, tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    names = [f"images/{picture(1).digest}.png", f"images/{picture(2, 'JPEG').digest}.jpg"]
    assert (out / names[0]).read_bytes() == picture(1).read()
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "problems.jsonl",
        "solutions.jsonl",
        "scores.jsonl",
        *names,
    }
    assert [(row["id"], row["images"]) for row in lines(out / "problems.jsonl")] == [
        ("a", names),
        ("b", []),
    ]
    written = lines(out / "solutions.jsonl")
    assert [(row["problem_id"], row["index"]) for row in written] == [("a", 0), ("a", 1), ("b", 0)]
    assert written[0] == {
        "problem_id": "a",
        "index": 0,
        "text": "One.\nTwo.",
        "steps": ["One.", "Two."],
        "answer": None,
        "verdict": "unparsed",
        "finish_reason": "length",
        "seed": 3,
    }
    assert lines(out / "scores.jsonl") == [
        {
            "problem_id": "a",
            "solution_index": 0,
            "scorer": "prm",
            "granularity": "step",
            "values": [0.25, None],
        }
    ]


def test_hostile_text_stays_data(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", MANIFEST) as run:
        run.add_problems([problem("a")])
        run.put_solutions("k", [solution("a", 0, HOSTILE)])
        export_jsonl(run, tmp_path / "out")
    (row,) = lines(tmp_path / "out" / "solutions.jsonl")
    assert row["text"] == HOSTILE
    assert b"\x1b" not in (tmp_path / "out" / "solutions.jsonl").read_bytes()


def test_an_empty_run_and_a_second_export(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", MANIFEST) as run:
        export_jsonl(run, tmp_path / "out")
        assert lines(tmp_path / "out" / "problems.jsonl") == []
        run.add_problems([problem("a")])
        export_jsonl(run, tmp_path / "out")
    assert len(lines(tmp_path / "out" / "problems.jsonl")) == 1


def test_several_pools_need_a_name(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", MANIFEST) as run:
        run.add_problems([problem("a")])
        run.put_solutions("one", [solution("a", 0)])
        run.put_solutions("two", [solution("a", 1)])
        with pytest.raises(RunError, match=r"'one', 'two'"):
            export_jsonl(run, tmp_path / "out")
        with pytest.raises(RunError, match="'three'"):
            export_jsonl(run, tmp_path / "out", key="three")
        export_jsonl(run, tmp_path / "out", key="two")
    assert [row["index"] for row in lines(tmp_path / "out" / "solutions.jsonl")] == [1]


def test_scores_of_one_scorer_under_two_keys_are_refused(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", MANIFEST) as run:
        run.add_problems([problem("a")])
        run.put_scores("old", [scores("a", 0, 1.0)])
        run.put_scores("new", [scores("a", 0, 2.0)])
        with pytest.raises(RunError, match="'prm'.*'a'.*two keys"):  # noqa: RUF043
            export_jsonl(run, tmp_path / "out")


def test_the_run_itself_is_no_place_to_export_to(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", MANIFEST) as run, pytest.raises(RunError, match="itself"):
        export_jsonl(run, tmp_path / "x" / ".." / "run")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with Run.open(tmp_path / "run", MANIFEST) as run, pytest.raises(RunStorageError, match="out"):
        export_jsonl(run, tmp_path / "out")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    kind = draw(st.sampled_from(["choice", "number", "text"]))
    choices = draw(st.lists(texts, min_size=2, max_size=5)) if kind == "choice" else []
    if kind == "choice":
        answer = draw(st.sampled_from(string.ascii_uppercase[: len(choices)]))
    else:
        answer = draw(st.integers().map(str) if kind == "number" else texts)
    return Problem(
        id=draw(texts),
        source=draw(texts),
        question=draw(texts),
        images=tuple(picture(shade) for shade in draw(st.lists(st.integers(0, 3), max_size=2))),
        answer=answer,
        answer_kind=kind,
        choices=tuple(choices),
        category=draw(st.just("") | texts),
        modality=draw(st.sampled_from(["text-only", "visual-only", "unspecified"])),
        precision=draw(st.none() | st.integers(0, 5)),
        unit=draw(st.none() | texts),
        metadata=draw(st.dictionaries(texts, st.none() | texts | st.floats(-1e9, 1e9), max_size=2)),
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(problems(), min_size=1, max_size=3, unique_by=lambda one: one.id))
def test_problems_are_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Problem]
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    with Run.open(folder / "run", MANIFEST) as run:
        run.add_problems(drawn)
        export_jsonl(run, folder / "out")
    found = load_jsonl(folder / "out" / "problems.jsonl")
    assert found.rejected == ()
    assert list(found.problems) == drawn
    for problem, original in zip(found.problems, drawn, strict=True):
        assert [one.read() for one in problem.images] == [one.read() for one in original.images]
