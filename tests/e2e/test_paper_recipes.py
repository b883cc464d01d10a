"""The paper's recipes as they ship, over HTTP, with a server in place of the models."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from chat_server import ChatServer
from typer.testing import CliRunner

from vilbench import config
from vilbench.cli.app import app
from vilbench.config.forecasting import forecast
from vilbench.evaluate.results import Results
from vilbench.problems import prepared
from vilbench.problems.adapters import find
from vilbench.problems.sets import ProblemSet
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Image, Problem

COUNT, N = 2, 3


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def recipe(server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`paper/judges` with every model at the server, and two problems of each benchmark."""
    monkeypatch.setenv("VILBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KEY", "none")
    text = files("vilbench.recipes").joinpath("paper", "judges.yaml").read_text(encoding="utf-8")
    for port in range(8001, 8005):
        assert f"http://localhost:{port}/v1" in text
        text = text.replace(f"http://localhost:{port}/v1", server.url)
    sampler = "{kind: openai, model: gpt-4o-2024-11-20,"
    assert sampler in text
    there = f'{sampler} base_url: "{server.url}", server: openai, api_key_env: KEY,'
    path = tmp_path / "judges.yaml"
    path.write_text(text.replace(sampler, there))
    for one in config.load(str(path)).problem_sets:
        picture = Image.of(BytesSource(tiny_png("red", (64, 48))))
        problems = tuple(
            Problem(
                id=f"{one.source}-{place}",
                source=find(one.source).title,
                question=f"Which of the two, for number {place}?",
                images=(picture,),
                answer="A",
                answer_kind="choice",
                choices=("this", "that"),
            )
            for place in range(COUNT + 1)
        )
        repository = find(one.source).repository
        folder = prepared.default_folder(one.name)
        prepared.write(ProblemSet(one.name, problems), folder, repository, None)
    return path


def vilbench(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == code, done.output
    return done.output


def results(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_text())


def test_judges_over_five_benchmarks_in_one_run(
    server: ChatServer, recipe: Path, tmp_path: Path
) -> None:
    chosen = (recipe, "--limit", COUNT, "-n", N)
    vilbench("run", *chosen, "--plain", "--out", tmp_path / "run")
    found = results(tmp_path / "run")
    sources = {row.source for row in found.rows}
    assert sources == {"all", "MMStar", "MMMU-Pro", "MathVista", "MathVerse", "RealWorldQA"}
    methods = {row.method.split("/")[0] for row in found.rows}
    judges = {
        f"{name}-{kind}"
        for name in ("qwen", "internvl", "llava", "molmo")
        for kind in ("orm", "prm")
    }
    assert methods >= {"cot", "majority", "oracle", *judges}
    whole = next(row for row in found.rows if (row.source, row.method) == ("all", "cot"))
    assert whole.n_problems == 5 * COUNT
    # What a forecast says is what was asked for: the requests are counted by the same code.
    lines = forecast(
        config.load(str(recipe)).changed({"problems.limit": COUNT, "sample.n": N})
    ).lines
    asked = {model: len(bodies) for model, bodies in server.asked.items()}
    assert asked["gpt-4o-2024-11-20"] == lines[0].work.requests == 5 * COUNT
    qwen = [line for line in lines if line.stage in ("qwen-orm", "qwen-prm")]
    # Six steps are assumed and three are written.
    assert qwen[0].work.requests == 5 * COUNT * N
    assert asked["Qwen/Qwen2.5-VL-7B-Instruct"] == 5 * COUNT * N * (1 + 3)


def test_one_judge_at_a_time_comes_to_the_same(
    server: ChatServer, recipe: Path, tmp_path: Path
) -> None:
    names = ("qwen-orm", "molmo-prm")
    chosen = (recipe, "--limit", 1, "-n", 2, *(w for name in names for w in ("--scorer", name)))
    vilbench("run", *chosen, "--plain", "--out", tmp_path / "whole")
    vilbench("sample", *chosen, "--plain", "--out", tmp_path / "parts")
    before = len(server.asked["Qwen/Qwen2.5-VL-7B-Instruct"])
    for name in names:
        vilbench("score", tmp_path / "parts", "--plain", "--scorer", name)
        if name == names[0]:
            assert results(tmp_path / "parts").scorers == (name,)
            assert len(server.asked["Qwen/Qwen2.5-VL-7B-Instruct"]) == before + 5 * 2
    assert results(tmp_path / "parts").rows == results(tmp_path / "whole").rows
    output = vilbench("score", tmp_path / "parts", "--scorer", "nobody", code=2)
    assert "the recipe has no scorer 'nobody'" in output
