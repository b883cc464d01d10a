"""YAML of the pages, held to the readers of recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from vilbench import config
from vilbench.config.curating import load_curating
from vilbench.config.reading import check_command, read_yaml
from vilbench.config.stepbench import load_stepbench
from vilbench.errors import RecipeError

_LOADERS: Final[Mapping[str, Callable[[str], object]]] = {
    "run": config.load,
    "train": config.load_training,
    "collect": config.load_collecting,
    "search": config.load_searching,
    "loop": config.load_loop,
    "curate": load_curating,
    "stepbench": load_stepbench,
}
_LEFT_OUT = "..."
"""A value of a part that says that more stands there."""


def check(text: str, path: Path) -> None:
    """Reads a block as the recipe that it is, or the part of one.

    A recipe has a name. A part is laid over the shipped recipe `embedded`; a list is of scorers,
    and a scorer takes the place of the one of its name.

    Args:
        text: The block.
        path: File to write it to.

    Raises:
        RecipeError: It is no recipe.
    """
    if is_part(path.name, text):
        path.write_text(yaml.safe_dump(embedded_with(text)), encoding="utf-8")
        config.load(str(path))
        return
    path.write_text(text, encoding="utf-8")
    document = read_yaml(text, str(path))
    takes = [command for command in _LOADERS if _is_of(command, document)]
    if len(takes) != 1:
        raise RecipeError(f"may be a recipe of {', '.join(takes) or 'no command'}", file=path)
    _LOADERS[takes[0]](str(path))


def is_part(name: str, text: str) -> bool:
    """Whether a file holds a part of a recipe."""
    if Path(name).suffix != ".yaml":
        return False
    data = yaml.safe_load(text)
    return isinstance(data, list) or "name" not in data


def _is_of(command: str, document: Any) -> bool:
    try:
        check_command(command, document, "")
    except RecipeError:
        return False
    return True


def embedded_with(part: str) -> dict[str, Any]:
    """The shipped recipe `embedded` with a part laid over it."""
    text = files("vilbench.recipes").joinpath("embedded.yaml").read_text(encoding="utf-8")
    whole = yaml.safe_load(text)
    laid = yaml.safe_load(part)
    if isinstance(laid, list):
        laid = {"scorers": laid}
    scorers = {_name(one): one for one in (*whole["scorers"], *laid.pop("scorers", ()))}
    whole["scorers"] = list(scorers.values())
    merged = _over(whole, laid)
    assert isinstance(merged, dict)
    return merged


def _name(scorer: Mapping[str, Any]) -> object:
    return scorer.get("name", scorer["kind"])


def _over(whole: Any, part: Any) -> Any:
    if part == _LEFT_OUT:
        return whole
    if not (isinstance(whole, dict) and isinstance(part, dict)):
        return part
    return {**whole, **{key: _over(whole.get(key), value) for key, value in part.items()}}
