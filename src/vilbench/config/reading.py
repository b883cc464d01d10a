"""From a YAML file to a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import yaml
from pydantic import ValidationError

from vilbench.config.collecting import CollectRecipe
from vilbench.config.places import refusal
from vilbench.config.recipe import Recipe
from vilbench.config.searching import SearchRecipe
from vilbench.errors import RecipeError
from vilbench.recipes import SUFFIXES, shipped
from vilbench.training.recipe import TrainRecipe

_OWN_KEYS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "loop": frozenset({"collect"}),
        "search": frozenset({"policy", "scorer"}),
        "collect": frozenset({"policy"}),
        "run": frozenset({"sample"}),
        "train": frozenset({"model"}),
        "curate": frozenset({"pairs"}),
        "stepbench": frozenset({"benchmark"}),
    }
)
"""Keys that tell a recipe's command: the first one whose keys are all there."""


class Source(NamedTuple):
    """The text of a recipe, and the name it has in errors."""

    text: str
    file: str


class Document(NamedTuple):
    """A recipe as plain data, and as YAML to find lines in."""

    data: object
    node: yaml.Node | None


def load(recipe: str) -> Recipe:
    """A recipe from a YAML file, or a shipped one by its bare name.

    Paths in it, of problems and of models, are relative to the current folder, not to the
    recipe's.

    Raises:
        RecipeError: There is no such recipe, or it has an unknown key or a wrong value; the
            message names file, line and key.
    """
    return parse_text(*find(recipe))


def load_training(recipe: str) -> TrainRecipe:
    """A recipe of a training, found and refused as by `load`."""
    source = find(recipe, "train")
    document = read_yaml(*source)
    check_command("train", document, source.file)
    return parse_training(document.data, source.file, document.node)


def load_collecting(recipe: str) -> CollectRecipe:
    """A recipe that collects step values, found and refused as by `load`."""
    source = find(recipe, "collect")
    document = read_yaml(*source)
    check_command("collect", document, source.file)
    return parse_collecting(document.data, source.file, document.node)


def load_searching(recipe: str) -> SearchRecipe:
    """A recipe of a guided search, found and refused as by `load`."""
    source = find(recipe, "search")
    document = read_yaml(*source)
    check_command("search", document, source.file)
    try:
        return SearchRecipe.model_validate(document.data)
    except ValidationError as error:
        raise refusal(error, document.data, source.file, document.node) from error


def find(recipe: str, command: str = "run") -> Source:
    """The text of a YAML file, or of a shipped recipe by its bare name.

    Args:
        recipe: The file or the name.
        command: Whose recipes are looked through.

    Raises:
        RecipeError: There is none.
    """
    path = Path(recipe)
    if path.suffix not in SUFFIXES:
        known = shipped()
        for one in known:
            if (one.name, one.command) == (recipe, command):
                return Source(one.file.read_text(encoding="utf-8"), one.file.name)
        others = [one.command for one in known if one.name == recipe]
        if others:
            raise RecipeError(f"'{recipe}' is a recipe for 'vilbench {others[0]} {recipe}'")
        names = ", ".join(sorted(one.name for one in known if one.command == command))
        raise RecipeError(
            f"no recipe '{recipe}' is shipped; there are {names}, or name a .yaml file"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"is not UTF-8 (byte {error.start})", file=path) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", file=path) from error
    return Source(text, str(path))


def parse_text(text: str, file: str) -> Recipe:
    """A recipe from YAML text; `file` names it in errors.

    Raises:
        RecipeError: It is no YAML, gives a key twice, or is no recipe.
    """
    document = read_yaml(text, file)
    check_command("run", document, file)
    return parse(document.data, file, document.node)


def read_yaml(text: str, file: str) -> Document:
    """A mapping from YAML text; `file` names it in errors.

    Raises:
        RecipeError: It is no YAML, gives a key twice, or is no mapping.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _refuse_repeated_keys(node, file)
        data = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        row = mark.line + 1 if mark else None
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(f"is no YAML: {problem}", file=file, row=row) from error
    except ValueError as error:
        # A date or a number that has the form of one and is none.
        raise RecipeError(f"is no YAML: {error}", file=file) from error
    except RecursionError as error:
        raise RecipeError("is nested too deeply", file=file) from error
    if not isinstance(data, dict):
        raise RecipeError("a recipe is a mapping of keys", file=file)
    return Document(data, node)


def parse(data: object, file: str | None = None, node: yaml.Node | None = None) -> Recipe:
    """A recipe from plain data; `node` lets errors name the line.

    Raises:
        RecipeError: It is none.
    """
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, file, node) from error


def parse_training(
    data: object, file: str | None = None, node: yaml.Node | None = None
) -> TrainRecipe:
    """A training's recipe from plain data; `node` lets errors name the line.

    Raises:
        RecipeError: It is none.
    """
    try:
        return TrainRecipe.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, file, node) from error


def parse_collecting(
    data: object, file: str | None = None, node: yaml.Node | None = None
) -> CollectRecipe:
    """A recipe that collects, from plain data; `node` lets errors name the line.

    Raises:
        RecipeError: It is none.
    """
    try:
        return CollectRecipe.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, file, node) from error


def check_command(command: str, document: Document, file: str) -> None:
    """Refuses a recipe that is plainly one of another command.

    Raises:
        RecipeError: It is; the message names the command.
    """
    keys = document.data if isinstance(document.data, dict) else {}
    for other, own in _OWN_KEYS.items():
        if own <= keys.keys():
            if other != command:
                raise RecipeError(f"is a recipe for 'vilbench {other}'", file=file)
            return


def _refuse_repeated_keys(root: yaml.Node, file: str) -> None:
    """YAML would silently keep the last of them."""
    waiting, met = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            seen: set[tuple[str, str]] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                    row = key.start_mark.line + 1
                    raise RecipeError("is given twice", file=file, row=row, field=key.value)
                seen.add((key.tag, str(key.value)))
                children.append(value)
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        # An alias leads to a node that was met before: nests of them would never end.
        waiting += [child for child in children if id(child) not in met]
        met |= {id(child) for child in children}
