"""What a recipe will ask of models, before it asks: requests, tokens, money and time.

The stages run on some of the problems with engines that only count, so that the figures are
those of the very code that will run: prefixes that are asked once count once, a search ends
where it would end. The rest is multiplication. Nothing is downloaded and no model is loaded.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import PIL.Image

from vilbench.collect.forest import Width, collect
from vilbench.config.building import bound, method_of, sampler_of
from vilbench.config.collecting import CollectRecipe
from vilbench.config.engine import EngineConfig, LocalEngineConfig
from vilbench.config.expecting import HERE, HOSTED, OWN_SERVER, ExpectConfig, SpeedConfig
from vilbench.config.forecast import Forecast, Line, SetCount
from vilbench.config.models import scorer_of, scoring_width
from vilbench.config.problems import PUZZLES, ProblemsConfig, load_problem_set
from vilbench.config.recipe import Experiment, Recipe
from vilbench.config.scorers import PrmScorerConfig, RemoteScorerConfig, ScorerConfig
from vilbench.embedded import model_folder
from vilbench.engines.lengths import Lengths, by_name, of_folder
from vilbench.engines.openai.money import TokenPrice, price_of
from vilbench.engines.rehearsal import Rehearsal, RehearsedScoring, Solving, Work
from vilbench.errors import CheckpointError, RunError
from vilbench.evaluate.sampling import Sampler
from vilbench.problems import prepared, subset
from vilbench.problems.adapters import SOURCES, find
from vilbench.problems.public import part_of
from vilbench.scorers.prm import PrmScorer
from vilbench.search import Again, AnySettings, Rollouts
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import BytesSource, Image, Problem, StepScorer

_REHEARSED = 40
"""Problems that are rehearsed, over all sets."""

_MADE_UP, _MADE_UP_TREES = 2, 8
"""Problems that stand for a set that is not at hand, and more where trees grow that differ."""

_DIRECT = ("direct", "source-direct")
_SOLUTION_TOKENS, _ANSWER_TOKENS = 300, 10
_UNKNOWN_ROWS = 1000
_MILLION = 1_000_000


def forecast(recipe: Recipe | CollectRecipe) -> Forecast:
    """What a recipe will ask for.

    Raises:
        InputError: Its problems are there and cannot be used.
    """
    sets = tuple(_sets(recipe))
    figures = _Figures(recipe, sets)
    made = _run(recipe, figures) if isinstance(recipe, Recipe) else _collection(recipe, figures)
    lines = tuple(asyncio.run(made))
    return Forecast(sets, lines, tuple(figures.notes()))


def _sets(recipe: Experiment) -> Iterator[SetCount]:
    each = max(1, _REHEARSED // len(recipe.problem_sets))
    for config in recipe.problem_sets:
        missing = _missing(config)
        if missing is not None:
            alike = _MADE_UP if isinstance(recipe, Recipe) else _MADE_UP_TREES
            made_up = tuple(_made_up(config, place) for place in range(alike))
            yield SetCount(config.name, missing, made_up, assumed=True)
            continue
        found = load_problem_set(config, recipe.seed).problems
        step = max(1, len(found) // each)
        yield SetCount(config.name, len(found), found[::step][:each])


def _missing(config: ProblemsConfig) -> int | None:
    """How many problems a set has of which nothing is on this machine; None where it is."""
    own = config.source not in SOURCES
    if own and (config.source == PUZZLES or Path(config.source).exists()):
        return None
    rows = _UNKNOWN_ROWS
    if not own:
        name, part = part_of(find(config.source), config.split)
        folder = prepared.default_folder(f"{config.source}:{name}")
        if config.path is not None or prepared.is_prepared(folder):
            return None
        rows = part.rows or _UNKNOWN_ROWS
    rows = min(rows, len(config.sample_ids) or rows)
    limit = None if config.limit is None else subset.parse(config.limit)
    if limit is None:
        return rows
    if limit.places is not None:
        return max(0, min(limit.places[1], rows) - limit.places[0] + 1)
    return min(rows, limit.count or rows) if limit.share is None else -int(-rows * limit.share // 1)


def _made_up(config: ProblemsConfig, place: int) -> Problem:
    """Stands for problems that are not at hand: a short question, options and one picture."""
    title = find(config.source).title if config.source in SOURCES else config.name
    return Problem(
        id=f"{config.name}-made-up-{place}",
        source=title,
        question=f"{place}. " + "What is shown here? " * 8,
        images=(Image.of(BytesSource(_blank())),),
        answer="A",
        answer_kind="choice",
        choices=("one answer", "another answer", "a third answer", "a fourth answer"),
    )


def _blank() -> bytes:
    """An empty picture of 1024 x 1024."""
    buffer = io.BytesIO()
    PIL.Image.new("1", (1024, 1024)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class _Model:
    """A model as far as figures need it."""

    name: str
    lengths: Lengths
    price: TokenPrice | None
    speed: SpeedConfig
    told: bool
    free: bool
    most_in_flight: int
    most_samples: int

    def line(self, stage: str, work: Work, in_flight: float) -> Line:
        """The work of a stage with its price and its time."""
        price = TokenPrice(0.0, 0.0) if self.free else self.price
        usd = most = None
        if price is not None:
            read = price.prompt * work.prompt_tokens
            usd = (read + price.completion * work.completion_tokens) / _MILLION
            most = (read + price.completion * work.most_completion_tokens) / _MILLION
        at_once = max(1.0, min(in_flight, self.most_in_flight))
        seconds = self._seconds(work, at_once)
        return Line(stage, self.name, work, usd, most, seconds, self.speed, self.told)

    def _seconds(self, work: Work, at_once: float) -> float:
        speed = self.speed
        waiting = work.requests * speed.wait_s
        if speed.stream_tokens_per_s is not None:
            waiting += work.longest_tokens / speed.stream_tokens_per_s
        bound = 0.0
        if speed.prompt_tokens_per_s is not None:
            bound += (work.prompt_tokens - work.cached_tokens) / speed.prompt_tokens_per_s
        if speed.completion_tokens_per_s is not None:
            bound += work.completion_tokens / speed.completion_tokens_per_s
        return max(waiting / at_once, bound)


class _Figures:
    """What is known and assumed about a recipe's models and problems."""

    def __init__(self, recipe: Experiment, sets: Sequence[SetCount]) -> None:
        self.recipe = recipe
        self.expect: ExpectConfig = recipe.expect
        self.sets = sets
        self._absent: list[str] = []
        self._estimated: list[str] = []
        self._unpriced: list[str] = []
        self.more: list[str] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems that are rehearsed."""
        return tuple(problem for one in self.sets for problem in one.rehearsed)

    def model(self, config: EngineConfig | PrmScorerConfig) -> _Model:
        """What is known of a model; none of it is loaded."""
        speed = self.expect.speeds.get(config.model)
        if isinstance(config, LocalEngineConfig | PrmScorerConfig):
            lengths = self._of_folder(config.model)
            told = speed is not None
            made = _Model(config.model, lengths, None, speed or HERE, told, True, 1, 1 << 30)
        else:
            hosted = config.base_url is None
            price = config.price and TokenPrice(**config.price.model_dump())
            price = price or price_of(config.model)
            if price is None:
                self._unpriced.append(config.model)
            made = _Model(
                config.model,
                by_name(config.model, config.image.max_pixels, low=config.image.detail == "low"),
                price,
                speed or (HOSTED if hosted else OWN_SERVER),
                speed is not None,
                False,
                config.concurrency,
                config.max_n,
            )
        if not made.lengths.measured:
            self._estimated.append(config.model)
        return made

    def _of_folder(self, model: str) -> Lengths:
        try:
            folder = model_folder(model)
        except CheckpointError:
            self._absent.append(model)
            return by_name(model)
        return of_folder(folder, [problem.question for problem in self.problems])

    def solver(self, model: _Model, asked: str) -> Rehearsal:
        """An engine that solves by the format `asked`."""
        form = FORMATS[asked]
        direct = asked in _DIRECT
        tokens = self.expect.solution_tokens or (_ANSWER_TOKENS if direct else _SOLUTION_TOKENS)
        by_prompt = {form.ask(problem).parts: problem for problem in self.problems}
        steps = 1 if direct else self.expect.steps
        solving = Solving(form, steps, tokens, self.expect.right, by_prompt)
        return Rehearsal(model.name, model.lengths, solving, most_samples=model.most_samples)

    def scorer(self, config: ScorerConfig, model: _Model) -> tuple[StepScorer, Rehearsal]:
        """A scorer that only counts, and its model."""
        engine = Rehearsal(model.name, model.lengths, reply_tokens=self.expect.reply_tokens)
        if isinstance(config, PrmScorerConfig):
            scoring = RehearsedScoring(engine, config.way, config.recall)
            return PrmScorer(scoring, engine.fingerprint, config.name), engine
        if isinstance(config, RemoteScorerConfig):
            scoring = RehearsedScoring(engine, "tree")
            return PrmScorer(scoring, engine.fingerprint, config.name), engine
        return scorer_of(config, engine), engine

    def notes(self) -> Iterator[str]:
        """What the figures rest on."""
        there = [one for one in self.sets if not one.assumed]
        rehearsed = sum(len(one.rehearsed) for one in there)
        count = sum(one.count for one in there)
        if rehearsed < count:
            yield f"rehearsed on {rehearsed} of {count:,} problems, and multiplied"
        absent = [one.name for one in self.sets if one.assumed]
        if absent:
            yield (
                f"not at hand: {_listed(absent)}; problems of 40 words with one picture of "
                "1024 x 1024 are assumed"
            )
        expect = self.expect
        yield (
            f"assumed: {expect.steps} steps and {expect.solution_tokens or _SOLUTION_TOKENS} "
            f"tokens a solution, {expect.reply_tokens} tokens a judge's reply; a recipe says "
            "otherwise under 'expect', and --out RUN takes those of a run"
        )
        if self._absent:
            yield f"no such folder here: {_listed(self._absent)}"
        if self._estimated:
            yield f"text counted at 4 bytes a token for {_listed(self._estimated)}"
        if self._unpriced:
            yield f"no price known of {_listed(self._unpriced)}; an engine's 'price' gives one"
        yield from self.more


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


async def _run(recipe: Recipe, figures: _Figures) -> list[Line]:
    engine = recipe.sample.engine
    if recipe.sample.extraction is not None:
        figures.more.append(
            f"not in the figures: {recipe.sample.extraction.engine.model} is asked about answers "
            "that the rules cannot read, a short request for each such solution"
        )
    model = figures.model(engine)
    solver = figures.solver(model, recipe.sample.format)
    sampler = sampler_of(recipe, solver)
    known: dict[str, _Model] = {one.name: figures.model(_engine(one)) for one in recipe.scorers}
    counting = {one.name: figures.scorer(one, known[one.name]) for one in recipe.scorers}
    totals = dict.fromkeys(("sample", *counting), Work())
    for part in figures.sets:
        factor = part.count / max(1, len(part.rehearsed))
        for problem in part.rehearsed:
            solutions = await Sampler.draw(sampler, problem, 0)
            totals["sample"] += solver.taken().times(factor)
            for name, (scorer, asked) in counting.items():
                await scorer.score(problem, solutions)
                totals[name] += asked.taken().times(factor)
    count = max(1, sum(part.count for part in figures.sets))
    in_flight = recipe.concurrency * totals["sample"].requests / count
    lines = [model.line("sample", totals["sample"], in_flight)]
    for config in recipe.scorers:
        work = totals[config.name]
        in_flight = scoring_width(config, recipe.sample.n) * work.requests / count
        lines.append(known[config.name].line(config.name, work, in_flight))
    return lines


def _engine(config: ScorerConfig) -> EngineConfig | PrmScorerConfig:
    return config if isinstance(config, PrmScorerConfig) else config.engine


async def _collection(recipe: CollectRecipe, figures: _Figures) -> list[Line]:
    model = figures.model(recipe.policy.engine)
    solver = figures.solver(model, recipe.policy.format)
    config = recipe.evaluator.scorer
    judging = None if config is None else figures.model(_engine(config))
    counted = None if config is None or judging is None else figures.scorer(config, judging)
    scorer = None if counted is None else counted[0]
    totals = {"policy": Work(), "evaluator": Work()}
    search = _searched(recipe, figures)
    with tempfile.TemporaryDirectory(prefix="vilbench-rehearsal-") as folder:
        for place, part in enumerate(figures.sets):
            factor = part.count / max(1, len(part.rehearsed))
            manifest = Manifest.of(recipe.name, {}, seed=recipe.seed, problem_set=part.name)
            with Run.open(Path(folder) / str(place), manifest) as run:
                run.add_problems(part.rehearsed)
                method = method_of(recipe, solver, scorer, search)
                await collect(run, method, width=Width(**recipe.width.model_dump()))
            totals["policy"] += solver.taken().times(factor)
            if counted is not None:
                totals["evaluator"] += counted[1].taken().times(factor)
    lines = [_priced(model, recipe, "policy").line("policy", totals["policy"], recipe.width.policy)]
    if judging is not None:
        priced = _priced(judging, recipe, "evaluator")
        lines.append(priced.line("evaluator", totals["evaluator"], recipe.width.evaluator))
    return lines


def _searched(recipe: CollectRecipe, figures: _Figures) -> AnySettings:
    """The search; rollouts in place of one that continues trees which are not there."""
    try:
        return bound(recipe.search)
    except RunError:
        if not isinstance(recipe.search, Again):
            raise
    figures.more.append(
        f"{recipe.search.of} holds no trees yet; 4 solutions a problem are assumed in it"
    )
    return Rollouts(solutions=4, rollouts=recipe.search.rollouts)


def _priced(model: _Model, recipe: CollectRecipe, role: Literal["policy", "evaluator"]) -> _Model:
    """The model by the recipe's own prices, where it gives some."""
    prices = recipe.prices.policy if role == "policy" else recipe.prices.evaluator
    if (prices.prompt, prices.completion) == (0.0, 0.0):
        return model
    return replace(model, price=TokenPrice(prices.prompt, prices.completion), free=False)
