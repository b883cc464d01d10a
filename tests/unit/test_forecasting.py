"""What a run would cost, told before it does: counts that are those of the real code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vilbench import config
from vilbench.cli import app as cli
from vilbench.config.collecting import CollectRecipe
from vilbench.config.forecast import Forecast
from vilbench.config.forecasting import forecast
from vilbench.config.measuring import as_in
from vilbench.config.recipe import Recipe
from vilbench.engines.lengths import by_name
from vilbench.engines.rehearsal import Rehearsal
from vilbench.errors import InputError
from vilbench.evaluate.sampling import Sampler, sample
from vilbench.evaluate.scoring import score
from vilbench.problems import prepared
from vilbench.problems.adapters import SOURCES, find
from vilbench.problems.sets import ProblemSet
from vilbench.recipes import shipped
from vilbench.scorers.judge import PROMPTS, JudgeScorer
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, tiny_png
from vilbench.types import BytesSource, Image, Problem, Prompt, Sampling

SERVED = """\
name: served
problems: {source: puzzles, split: dev, limit: 6}
sample:
  engine: {kind: openai, model: gpt-4o, max_n: 3}
  n: 8
  max_tokens: 400
scorers:
  - kind: judge
    name: orm
    granularity: solution
    engine: {kind: openai, model: mine, base_url: "http://localhost:1/v1"}
  - kind: judge
    name: prm
    granularity: step
    engine: {kind: openai, model: mine, base_url: "http://localhost:1/v1"}
expect: {steps: 5, solution_tokens: 200, reply_tokens: 50}
"""


@pytest.fixture(autouse=True)
def nothing_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VILBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def served(old: str = "", new: str = "") -> Forecast:
    assert old in SERVED
    return forecast(config.parse_text(SERVED.replace(old, new), "served.yaml"))


def problems(name: str, count: int) -> Iterator[Problem]:
    for place in range(count):
        yield Problem(
            id=f"{name}-{place}",
            source=find(name).title,
            question=f"What colour is shown, for the time number {place}?",
            images=(Image.of(BytesSource(tiny_png("red", (640, 480)))),),
            answer="B",
            answer_kind="choice",
            choices=("blue", "red", "green"),
        )


def prepare(name: str, split: str, count: int) -> None:
    title = f"{name}:{split}"
    found = ProblemSet(title, tuple(problems(name, count)))
    prepared.write(found, prepared.default_folder(title), find(name).repository, None)


def test_requests_are_those_of_the_stages() -> None:
    sample, orm, prm = served().lines
    # Three samples a request at most, so three requests for eight.
    assert (sample.work.requests, sample.work.completions) == (6 * 3, 6 * 8)
    assert (orm.work.requests, prm.work.requests) == (6 * 8, 6 * 8 * 5)
    assert orm.work.completion_tokens == 6 * 8 * 50
    assert sample.work.most_completion_tokens == 6 * 8 * 400
    assert 150 < sample.work.completion_tokens / 48 < 250


def test_price_and_time_follow_from_tokens_and_speeds() -> None:
    found = served()
    sample, orm, _ = found.lines
    work = sample.work
    assert sample.usd == pytest.approx(
        (2.5 * work.prompt_tokens + 10 * work.completion_tokens) / 1e6
    )
    assert sample.most_usd is not None and sample.usd is not None
    assert sample.most_usd - sample.usd == pytest.approx(
        10 * (work.most_completion_tokens - work.completion_tokens) / 1e6
    )
    # Of one's own server no price is known; its time is bounded by what it reads and writes.
    assert orm.usd is None
    fresh = orm.work.prompt_tokens - orm.work.cached_tokens
    assert orm.seconds >= fresh / 10_000 + orm.work.completion_tokens / 2_000
    assert any("no price known of mine" in note for note in found.notes)
    priced = served(
        "localhost:1/v1", 'localhost:1/v1", price: {prompt: 1, completion: 2}, api_key_env: "K'
    )
    assert priced.lines[1].usd == pytest.approx(
        (orm.work.prompt_tokens + 2 * orm.work.completion_tokens) / 1e6
    )


def test_a_speed_of_the_recipe_goes_before_the_assumed_one() -> None:
    slow = served("expect: {", "expect: {speeds: {mine: {prompt_tokens_per_s: 1}}, ")
    assert slow.lines[1].told and not slow.lines[0].told
    assert slow.lines[1].seconds > 10 * served().lines[1].seconds


def test_more_problems_cost_more_and_the_rehearsed_ones_are_told() -> None:
    one, many = served("limit: 6", "limit: 30"), served("limit: 6", "limit: 300")
    assert one.lines[1].work.requests == 30 * 8
    assert many.lines[1].work.requests == pytest.approx(300 * 8)
    assert not any("rehearsed" in note for note in one.notes)
    assert "rehearsed on 40 of 300 problems, and multiplied" in many.notes


def test_a_prefix_is_told_as_cached_where_a_request_began_with_it_before() -> None:
    _, orm, prm = served().lines
    assert 0 < orm.work.cached_tokens < orm.work.prompt_tokens
    # Steps of one solution share all but the last of them.
    assert prm.work.cached_tokens / prm.work.prompt_tokens > 0.7


def test_equal_prefixes_are_asked_once_as_by_the_judge() -> None:
    found = served("n: 8", "n: 1")
    assert found.lines[2].work.requests == 6 * 5


@pytest.mark.parametrize("shared", [("tree", "shared"), ("shared", "per-candidate")])
def test_reward_models_count_by_their_way(shared: tuple[str, str]) -> None:
    def tokens(way: str) -> float:
        text = SERVED.split("scorers:")[0] + "scorers:\n  - {kind: prm, model: none, way: %s}\n"
        (_, line) = forecast(config.parse_text(text % way, "served.yaml")).lines
        assert (line.work.requests, line.work.completions) == (6, 48)
        return line.work.prompt_tokens

    less, more = shared
    assert tokens(less) <= tokens(more) < tokens("per-prefix")


def test_answers_alone_are_short_and_of_one_step() -> None:
    text = SERVED.replace("  n: 8", "  n: 8\n  format: direct").replace(
        "solution_tokens: 200, ", ""
    )
    sample, orm, prm = forecast(config.parse_text(text, "served.yaml")).lines
    assert sample.work.completion_tokens < 48 * 20
    assert prm.work.requests == orm.work.requests


def test_searches_are_rehearsed_within_their_budgets() -> None:
    recipe = config.load_collecting("embedded-collect").changed({"problems.limit": 4})
    policy, evaluator = forecast(recipe).lines
    assert policy.work.requests > 4 and evaluator.work.requests > 4
    few = forecast(recipe.changed({"budget.nodes": 5})).lines
    assert few[0].work.requests < policy.work.requests
    (rollouts,) = forecast(
        config.load_collecting("embedded-rollouts").changed(
            {"problems.limit": 4, "search.skip_sure": False, "search.solutions": 2}
        )
    ).lines
    assert rollouts.work.completions >= 4 * 2


def test_prices_of_a_collection_are_its_own() -> None:
    recipe = config.load_collecting("embedded-collect").changed(
        {"problems.limit": 2, "prices.evaluator.completion": 5.0}
    )
    policy, evaluator = forecast(recipe).lines
    assert policy.usd == 0.0
    assert evaluator.usd == pytest.approx(5 * evaluator.work.completion_tokens / 1e6)


def test_problems_that_are_not_at_hand_are_assumed() -> None:
    recipe = config.load("paper/judges").only([])
    found = forecast(recipe)
    assert [one.count for one in found.sets] == [1500, 1730, 1000, 3940, 765]
    assert all(one.assumed for one in found.sets)
    few = forecast(recipe.changed({"problems.limit": "10%"}))
    assert [one.count for one in few.sets] == [150, 173, 100, 394, 77]
    assert any(note.startswith("not at hand: mmstar:val") for note in few.notes)


def test_problems_that_are_there_are_read() -> None:
    prepare("mmstar", "val", 3)
    recipe = config.load("paper/judges").only([])
    mmstar, *others = forecast(recipe).sets
    assert (mmstar.count, mmstar.assumed) == (3, False)
    assert all(one.assumed for one in others)
    folder = prepared.default_folder("mmstar:val")
    (folder / "problems.jsonl").write_text("changed")
    with pytest.raises(InputError, match="changed since"):
        forecast(recipe)


RECIPES = [(one.command, one.name) for one in shipped() if one.command in ("run", "collect")]


@pytest.mark.parametrize("with_problems", [False, True])
@pytest.mark.parametrize(("command", "name"), RECIPES)
def test_every_shipped_recipe_has_a_forecast(
    command: str, name: str, *, with_problems: bool, tmp_path: Path
) -> None:
    """Offline, without a key, a model or a folder; with problems at hand and without."""
    recipe: Recipe | CollectRecipe = (
        config.load(name) if command == "run" else config.load_collecting(name)
    )
    for one in recipe.problem_sets if with_problems else ():
        if one.source in SOURCES:
            prepare(one.source, one.name.partition(":")[2], 2)
    said = CliRunner().invoke(cli.app, [command, name, "--limit", "2", "--dry-run"])
    assert said.exit_code == 0, said.output
    header = said.output.splitlines()[2]
    for words in ("requests", "prompt tokens", "written tokens", "USD", "time"):
        assert words in header
    assert "total" in said.output
    assert f"problems: {2 * len(recipe.problem_sets)} " in said.output
    assert ("not at hand" in said.output) == (
        not with_problems and any(one.source in SOURCES for one in recipe.problem_sets)
    )
    assert [path.name for path in tmp_path.iterdir()] in ([], ["data"])


def test_a_command_needs_a_folder_or_a_dry_run() -> None:
    for arguments in (["run", "embedded"], ["sample", "embedded"], ["collect", "embedded-collect"]):
        said = CliRunner().invoke(cli.app, arguments)
        assert said.exit_code == 2
        assert "--dry-run" in said.output


def test_sampling_alone_is_forecast_alone() -> None:
    said = CliRunner().invoke(cli.app, ["sample", "paper/judges", "--limit", "2", "--dry-run"])
    assert "sample" in said.output
    assert "qwen-orm" not in said.output


def test_what_is_rehearsed_is_told_from_what_is_cut() -> None:
    """A reply over its limit ends with it, as it would from a model."""
    lengths = by_name("gpt-4o")
    found = served("max_tokens: 400", "max_tokens: 20").lines[0]
    assert found.work.completion_tokens == found.work.most_completion_tokens == 48 * 20
    engine = Rehearsal("judge", lengths, reply_tokens=40)
    (reply,) = asyncio.run(engine.generate(Prompt(("q",)), 1, Sampling(max_tokens=512), 0))
    assert "Overall Score: 3" in reply.text
    assert (engine.taken().requests, engine.work.requests) == (1, 0)


def test_lengths_are_those_of_a_run_that_is_there(tmp_path: Path) -> None:
    recipe = config.parse_text(SERVED, "served.yaml")
    assert as_in(recipe, tmp_path / "none") == recipe
    folder = tmp_path / "run"
    (one,) = problems("mmstar", 1)
    manifest = Manifest.of("served", {}, seed=0, problem_set="mmstar:val")
    engine = ScriptedEngine(lambda prompt, index: "Step 1: red.\nStep 2: so.\nAnswer: B")
    sampler = Sampler(engine, FORMATS["steps"], 2, Sampling(), 0)
    with Run.open(folder, manifest) as run:
        run.add_problems([one])
        assert as_in(recipe, folder) == recipe  # nothing has been sampled
        asyncio.run(sample(run, sampler))
        judge = ScriptedEngine(lambda prompt, index: "Reasoning: it is red\nOverall Score: 4")
        scorer = JudgeScorer(judge, "solution", PROMPTS["rubric"], expectation=False, name="orm")
        asyncio.run(score(run, scorer, sampler.key))
        solutions = run.solutions(sampler.key)[one.id]
    expect = as_in(recipe, folder).expect
    written = [solution.usage.completion_tokens for solution in solutions]
    assert expect.solution_tokens == round(sum(written) / 2)
    assert (expect.steps, expect.right) == (2, 1.0)
    assert expect.reply_tokens != recipe.expect.reply_tokens
    assert as_in(recipe, folder).identity() == recipe.identity()
