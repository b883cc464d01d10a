"""The keys of a loop: from problems to step values, a reward model, and what it is good for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, JsonValue, ValidationError, model_validator

from vilbench.collect.data import DataConfig
from vilbench.config.collecting import CollectRecipe
from vilbench.config.places import refusal
from vilbench.config.reading import (
    find,
    load,
    load_collecting,
    load_training,
    parse,
    parse_training,
    read_yaml,
)
from vilbench.config.recipe import Recipe
from vilbench.embedded import model_folder
from vilbench.errors import RecipeError
from vilbench.evaluate.choice import Choice
from vilbench.training.recipe import TrainRecipe
from vilbench.types import Record


class Part(Record):
    """A recipe, and what is changed in it.

    Attributes:
        recipe: A .yaml file, or the name of a shipped recipe.
        changes: New values by dotted key, such as `problems.limit`.
    """

    recipe: str
    changes: Mapping[str, JsonValue] = Field(default_factory=dict)


class LoopRecipe(Record):
    """A reward model from problems alone, and its Best-of-N.

    Attributes:
        collect: Searches the steps of train problems.
        data: How the trees become rows.
        train: The training recipe; its `data.train` are these rows.
        dev: A run over dev problems that the aggregation is chosen on.
        test: The run that is reported.
        scorer: The scorer of both runs whose model is the one that was trained.
    """

    name: str = Field(min_length=1)
    collect: Part
    data: DataConfig = DataConfig()
    train: str
    dev: Part
    test: Part
    scorer: str = "prm"

    @model_validator(mode="after")
    def _one_collection(self) -> LoopRecipe:
        if self.data.filters.consensus is not None:
            raise ValueError("data.filters.consensus: needs a second collection, a loop has one")
        return self

    def check(self, out: Path) -> None:
        """Refuses what cannot be used, as far as it can be told before anything is paid for.

        Args:
            out: Where rows and model would be.

        Raises:
            RecipeError: A part is no recipe, has no such scorer, or takes test problems for
                something else than the test.
            CheckpointError: A model that is there to begin with is not.
        """
        rows, model = out / "rows.jsonl", out / "prm"
        training, choosing = self.training(rows), self.choosing(model)
        testing = self.testing(model, None)
        reported = testing.problem_set.split("+")
        for name, used in (("collect", self.collecting()), ("dev", choosing)):
            for one in used.problem_set.split("+"):
                if one.endswith(":test") or one in reported:
                    raise RecipeError(
                        f"takes {one}; what is reported must be measured on other problems",
                        file=self.name,
                        field=name,
                    )
        for folder in {training.model, *choosing.models(), *testing.models()} - {str(model)}:
            model_folder(folder)

    def collecting(self) -> CollectRecipe:
        """The recipe of the collection."""
        return load_collecting(self.collect.recipe).changed(dict(self.collect.changes))

    def training(self, rows: Path) -> TrainRecipe:
        """The recipe of the training on `rows`."""
        data = load_training(self.train).model_dump(mode="json")
        data["data"] |= {"train": str(rows), "kind": "rows", "images": None}
        return parse_training(data, self.train)

    def choosing(self, model: Path) -> Recipe:
        """The run over dev, of the trained model alone."""
        return self._with(self.dev, model, None).only([self.scorer])

    def testing(self, model: Path, choice: Choice | None) -> Recipe:
        """The run over test, with what was chosen on dev, if anything was."""
        return self._with(self.test, model, choice)

    def _with(self, part: Part, model: Path, choice: Choice | None) -> Recipe:
        recipe = load(part.recipe).changed(dict(part.changes))
        data = recipe.model_dump(mode="json")
        mine = [one for one in data["scorers"] if one["name"] == self.scorer]
        if len(mine) != 1 or mine[0]["kind"] != "prm":
            raise RecipeError(
                f"the recipe has no reward model '{self.scorer}'", file=part.recipe, field="scorers"
            )
        mine[0]["model"] = str(model)
        mine[0]["chosen"] = None if choice is None else choice.model_dump(mode="json")
        return parse(data, part.recipe)


def load_loop(recipe: str) -> LoopRecipe:
    """A recipe of a loop from a YAML file, or a shipped one by its bare name.

    Raises:
        RecipeError: There is no such recipe, or it has an unknown key or a wrong value.
    """
    source = find(recipe, "loop")
    document = read_yaml(*source)
    try:
        return LoopRecipe.model_validate(document.data)
    except ValidationError as error:
        raise refusal(error, document.data, source.file, document.node) from error
