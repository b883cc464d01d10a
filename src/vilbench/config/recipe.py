"""The keys of a recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from vilbench.config.engine import (
    EngineConfig,
    OpenAIEngineConfig,
)
from vilbench.config.expecting import ExpectConfig
from vilbench.config.learning import Blends
from vilbench.config.places import refusal
from vilbench.config.problems import PUZZLES, ProblemsConfig
from vilbench.config.scorers import PrmScorerConfig, ScorerConfig, told_apart
from vilbench.errors import RecipeError
from vilbench.evaluate.extraction import PROMPTS as EXTRACTION_PROMPTS
from vilbench.evaluate.extraction import Scope
from vilbench.steps import FormatName
from vilbench.types import Number, Record, Whole

_NO_EFFECT = (
    *("concurrency", "max_failures", "device", "max_batch_tokens", "way", "chosen", "main"),
    *("recall", "learned", "blends", "extraction"),
    *("base_url", "api_key_env", "price", "budget_usd", "max_n", "answers_as", "patience"),
    "expect",
)
"""Keys that change neither a solution nor a score: a run may go on with others."""

_NAMES_OF_OTHERS = ("extra", "columns")
"""Keys over names that are no recipe's, whatever they are like."""

_IN_MANIFEST = ("name", "seed")
"""Keys that a manifest has beside the recipe."""

_OVERRIDES = "the command line"


def _one_or_several(value: object) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


class ExtractionConfig(Record):
    """A model that names the final answer of solutions that the rules cannot read.

    Its readings are stored and counted apart: they change no solution and no score.

    Attributes:
        of: Only of those solutions, or of all, to compare.
        use: Whether the figures rest on it where the rules read nothing.
    """

    engine: EngineConfig
    prompt: str = "final-answer"
    of: Scope = "unparsed"
    use: bool = False
    max_tokens: Whole = Field(default=64, ge=1)

    @field_validator("prompt")
    @classmethod
    def _known_prompt(cls, name: str) -> str:
        if name not in EXTRACTION_PROMPTS:
            raise ValueError(f"'{name}' is none of {', '.join(EXTRACTION_PROMPTS)}")
        return name


class SampleConfig(Record):
    """How the pools are drawn."""

    engine: EngineConfig
    format: FormatName = "steps"
    n: Whole = Field(default=24, ge=1)
    temperature: Number = Field(default=1.0, ge=0)
    top_p: Number = Field(default=1.0, gt=0, le=1)
    max_tokens: Whole = Field(default=1024, ge=1)
    max_steps: Whole | None = Field(default=None, ge=1)
    extraction: ExtractionConfig | None = None


class Experiment(Record):
    """What recipes have in common.

    Attributes:
        seed: Seeds sampling, and the puzzles where `problems.seed` is not set.
        problems: Which problems; a list of several sets makes one run over all of them, whose
            tables tell them apart by source.
        max_failures: Share of units that may fail before the exit code says so.
        expect: What a forecast assumes.
    """

    name: str = Field(min_length=1)
    seed: Whole = Field(default=0, ge=0)
    problems: Annotated[
        Annotated[ProblemsConfig, Tag("one")]
        | Annotated[tuple[ProblemsConfig, ...], Tag("several"), Field(min_length=1)],
        Discriminator(_one_or_several),
    ]
    max_failures: Number = Field(default=0.0, ge=0, le=1)
    expect: ExpectConfig = ExpectConfig()

    def models(self) -> tuple[str, ...]:
        """Models of folders that it names, each once."""
        raise NotImplementedError

    def identity(self) -> dict[str, JsonValue]:
        """What changes the output, for the run's fingerprint."""
        data = self.model_dump(mode="json")
        return {
            key: effective(data[key]) for key in data if key not in (*_NO_EFFECT, *_IN_MANIFEST)
        }

    def over(self, changes: Mapping[str, object]) -> Self:
        """The recipe over other problems, as `--problems` names them; all of it for no changes.

        The set of that source is taken as the recipe has it; to a source that is none of them
        the first lends its seed, and to puzzles, which have no end, its limit.

        Args:
            changes: As `changed` takes them, `problems.source` among them.
        """
        if not changes:
            return self
        source = changes["problems.source"]
        split = changes.get("problems.split")
        alike = [one for one in self.problem_sets if one.source == source]
        alike = [one for one in alike if split in (None, one.split)] or alike
        if alike:
            given = {key: value for key, value in changes.items() if value is not None}
            return self.model_copy(update={"problems": alike[0]}).changed(given)
        first = self.problem_sets[0]
        limit = first.limit if source == PUZZLES else None
        lent = ProblemsConfig(source=str(source), limit=limit, seed=first.seed)
        return self.model_copy(update={"problems": lent}).changed(changes)

    def changed(self, changes: Mapping[str, object]) -> Self:
        """The recipe with some values replaced, by dotted path, as the command line has it.

        A path into a list changes every item of it.

        Raises:
            RecipeError: There is no such key, or the result is no recipe.
        """
        data = self.model_dump(mode="json")
        for path, value in changes.items():
            *parents, last = path.split(".")
            places: list[Any] = [data]
            for parent in parents:
                places = [item for place in places for item in _below(place, parent)]
            for place in places:
                if not isinstance(place, dict):
                    raise RecipeError("is no key of a recipe", file=_OVERRIDES, field=path)
                place[last] = value
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            raise refusal(error, data, _OVERRIDES) from error

    @property
    def problem_sets(self) -> tuple[ProblemsConfig, ...]:
        """The sets of its problems, at least one."""
        return (self.problems,) if isinstance(self.problems, ProblemsConfig) else self.problems

    @property
    def problem_set(self) -> str:
        """Name of the problem set for tables; of several all names, joined by "+"."""
        return "+".join(dict.fromkeys(problems.name for problems in self.problem_sets))


class Recipe(Experiment):
    """Sampling, scoring and the evidence.

    Attributes:
        blends: Learned scores over several of the scorers; in tables they are scorers too.
        main: The scorer that the run is about: it is compared with all others.
        concurrency: Problems being sampled at a time.
    """

    sample: SampleConfig
    scorers: tuple[ScorerConfig, ...] = ()
    blends: Blends = ()
    main: str | None = None
    concurrency: Whole = Field(default=32, ge=1)

    @field_validator("scorers")
    @classmethod
    def _told_apart(cls, scorers: tuple[ScorerConfig, ...]) -> tuple[ScorerConfig, ...]:
        return told_apart(scorers)

    @model_validator(mode="after")
    def _main_is_a_scorer(self) -> Recipe:
        names = [scorer.name for scorer in self.scorers]
        if self.main is not None and self.main not in names:
            raise ValueError(f"main: '{self.main}' is none of the scorers: {_listed(names)}")
        return self

    @model_validator(mode="after")
    def _blends_are_of_scorers(self) -> Recipe:
        names = [scorer.name for scorer in self.scorers]
        for blend in self.blends:
            for name in blend.plan().learned.scorers:
                if name not in names:
                    raise ValueError(
                        f"blends: '{blend.name}' needs '{name}', "
                        f"which is none of the scorers: {_listed(names)}"
                    )
        if len({blend.name for blend in self.blends}) < len(self.blends):
            raise ValueError("blends: need names of their own")
        return self

    def only(self, names: Collection[str]) -> Recipe:
        """The recipe with these of its scorers alone, in its own order.

        Raises:
            RecipeError: One of the names is none of its scorers.
        """
        known = [scorer.name for scorer in self.scorers]
        for name in names:
            if name not in known:
                raise RecipeError(
                    f"the recipe has no scorer '{name}'; it has {_listed(known)}", field="--scorer"
                )
        kept = tuple(scorer for scorer in self.scorers if scorer.name in names)
        blends = tuple(one for one in self.blends if set(one.learned.scorers) <= set(names))
        main = self.main if self.main in names else None
        return self.model_copy(update={"scorers": kept, "blends": blends, "main": main})

    def models(self) -> tuple[str, ...]:
        """Models of folders that it names, each once."""
        used = (
            scorer if isinstance(scorer, PrmScorerConfig) else scorer.engine
            for scorer in self.scorers
        )
        reading = self.sample.extraction
        return folders(self.sample.engine, *(() if reading is None else (reading.engine,)), *used)


def folders(*models: EngineConfig | PrmScorerConfig) -> tuple[str, ...]:
    """Models that are folders, each once; those behind a server are none."""
    local = (one.model for one in models if not isinstance(one, OpenAIEngineConfig))
    return tuple(dict.fromkeys(local))


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"


def _below(place: Any, key: str) -> list[Any]:
    item = place.get(key) if isinstance(place, dict) else None
    return item if isinstance(item, list) else [item]


def effective(value: Any) -> JsonValue:
    """A part of a recipe without the keys that change neither a solution nor a score."""
    if isinstance(value, dict):
        return {
            key: item if key in _NAMES_OF_OTHERS else effective(item)
            for key, item in value.items()
            if key not in _NO_EFFECT
        }
    if isinstance(value, list):
        return [effective(item) for item in value]
    plain: JsonValue = value
    return plain
