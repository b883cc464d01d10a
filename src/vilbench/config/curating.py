"""The keys of a recipe that chooses problems from stored runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from vilbench.config.places import refusal
from vilbench.config.reading import check_command, find, read_yaml
from vilbench.config.recipe import Recipe
from vilbench.curate.pairs import Pair
from vilbench.curate.records import RuleCard
from vilbench.errors import RecipeError
from vilbench.types import Number, Record, Whole

_NOT_THE_SCORER = ("name", "aggregations", "votes")
"""Keys of a scorer that change no value of it."""


class PairConfig(Record):
    """A scorer in its two forms.

    Attributes:
        name: For tables.
        prm: Process form: a step scorer and an aggregation, such as "judge-prm/mean".
        orm: Outcome form: a scorer of whole solutions, or "prm/last-1".
    """

    name: str = Field(min_length=1, max_length=80)
    prm: str
    orm: str

    @model_validator(mode="after")
    def _two_forms(self) -> PairConfig:
        if self.prm == self.orm:
            raise ValueError(f"'{self.prm}' is both forms of the pair")
        return self

    def pair(self) -> Pair:
        """The pair."""
        return Pair(self.name, self.prm, self.orm)


class CurateRecipe(Record):
    """Choosing the problems that prefer process rewards.

    Attributes:
        name: Of the set.
        runs: Folders of stored runs, relative to the current folder; the command may name
            others.
        pairs: Scorers in both forms; without any, those that stand out by their names.
        rule: What a pair says of a problem.
        shrinkage: Draw noisy indicators towards the mean of their source.
        threshold: Only problems whose indicator is above; null for any.
        size: Most problems in all.
        balance: Share the size evenly over sources, or take the highest indicators ("free").
        quotas: Most problems of each source; a source that is not named gives none. They
            stand in for `size`.
        pass_rate: Only problems of which more than the first and less than the second share
            of the solutions is right.
        min_pairs: Pairs that must have judged a problem; all by default.
        seed: Breaks ties, splits pools, draws resamples.
        splits: Random halvings of the pools.
        resamples: Resamples of the pools.
        folds: Folds that families of scorers are held out in; each on its own by default.
    """

    name: str = Field(min_length=1)
    runs: tuple[str, ...] = ()
    pairs: tuple[PairConfig, ...] = ()
    rule: Literal["difference", "mean-k", "share", "margin"] = "difference"
    shrinkage: bool = False
    threshold: Number | None = 0.0
    size: Whole | None = Field(default=None, ge=1)
    balance: Literal["equal", "free"] = "equal"
    quotas: Mapping[str, Whole] = Field(default_factory=dict)
    pass_rate: tuple[Number, Number] = (0.0, 1.0)
    min_pairs: Whole | None = Field(default=None, ge=1)
    seed: Whole = Field(default=0, ge=0)
    splits: Whole = Field(default=20, ge=1, le=1000)
    resamples: Whole = Field(default=100, ge=1, le=10_000)
    folds: Whole | None = Field(default=None, ge=2)

    @field_validator("pairs")
    @classmethod
    def _told_apart(cls, pairs: tuple[PairConfig, ...]) -> tuple[PairConfig, ...]:
        names = [pair.name for pair in pairs]
        if len(set(names)) < len(names) or "all" in names:
            raise ValueError(f"pairs need names of their own, and none 'all': {names}")
        return pairs

    @field_validator("pass_rate")
    @classmethod
    def _bounds(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= bounds[0] < bounds[1] <= 1:
            raise ValueError("must be two shares, the lower one first")
        return bounds

    @field_validator("quotas")
    @classmethod
    def _none_below_nothing(cls, quotas: Mapping[str, int]) -> Mapping[str, int]:
        if any(quota < 0 for quota in quotas.values()):
            raise ValueError("a quota is below 0")
        return quotas

    def card(self) -> RuleCard:
        """How problems are chosen."""
        apart = {"name", "runs", "pairs", "pass_rate"}
        low, high = self.pass_rate
        return RuleCard(**self.model_dump(exclude=apart), lowest=low, highest=high)

    def changed(self, changes: Mapping[str, object]) -> Self:
        """The recipe with some keys replaced, as the command line has it.

        Raises:
            RecipeError: The result is no recipe.
        """
        data = {**self.model_dump(mode="json"), **changes}
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            raise refusal(error, data, "the command line") from error


def load_curating(recipe: str) -> CurateRecipe:
    """A recipe that curates, from a YAML file or a shipped one by its bare name.

    Raises:
        RecipeError: There is no such recipe, or it has an unknown key or a wrong value.
    """
    source = find(recipe, "curate")
    document = read_yaml(*source)
    check_command("curate", document, source.file)
    try:
        return CurateRecipe.model_validate(document.data)
    except ValidationError as error:
        raise refusal(error, document.data, source.file, document.node) from error


def scorer_fingerprints(recipe: Recipe) -> dict[str, str]:
    """What each scorer of a recipe is, by its name: SHA-256 of all that changes its values.

    It is taken from the recipe, so that it can be had of any stored run without a model; a
    model that changed in its folder keeps it.
    """
    entries = recipe.identity()["scorers"]
    if not isinstance(entries, list):
        raise RecipeError("has no list of scorers", field="scorers")
    found = {}
    for scorer, entry in zip(recipe.scorers, entries, strict=True):
        if isinstance(entry, dict):
            kept = {key: value for key, value in entry.items() if key not in _NOT_THE_SCORER}
            text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
            found[scorer.name] = hashlib.sha256(text.encode()).hexdigest()
    return found
