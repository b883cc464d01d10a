"""What was learned on other problems, as a recipe holds it: written out, or as a file.

The file is what `vilbench weights` writes. It is read with the recipe, so that a run keeps what
it was analysed by.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo

from vilbench.evaluate.blends import Blend
from vilbench.selection.weights import Learned
from vilbench.types import Record
from vilbench.validation import dotted, in_words, place_of

_BLENDS = "blends"


class BlendConfig(Record):
    """A learned score over several scorers of the recipe."""

    name: str = Field(min_length=1)
    learned: Learned

    def plan(self) -> Blend:
        """How it enters the analysis.

        Raises:
            ValueError: It cannot be told from other methods.
        """
        return Blend(self.name, self.learned)


def _of_scorer(value: object, info: ValidationInfo) -> object:
    """What a file holds for the scorer at hand; anything but a name of a file as it is."""
    if not isinstance(value, str):
        return value
    name = info.data.get("name")
    entry = _read(value).get(str(name))
    if not isinstance(entry, dict) or "learned" not in entry:
        raise ValueError(f"{value} holds nothing that was learned for '{name}'")
    return _from(value, f"{name}.learned", entry["learned"])


def _of_blends(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _read(value).get(_BLENDS, [])
    for place, one in enumerate(found) if isinstance(found, list) else ():
        if isinstance(one, dict) and "learned" in one:
            _from(value, f"{_BLENDS}[{place}].learned", one["learned"])
    return found


def _from(file: str, place: str, data: object) -> Learned:
    """What a file holds at a place; an error names both, and not the recipe that names it.

    Raises:
        ValueError: It is nothing that was learned.
    """
    try:
        return Learned.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = dotted([place, *place_of(first, data)])
        raise ValueError(f"{file}: {field}: {in_words(first)}") from error


def _read(file: str) -> dict[Any, Any]:
    try:
        found = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: is no YAML in UTF-8") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file}: is not what 'vilbench weights' writes")
    return found


LearnedConfig = Annotated[Learned | None, BeforeValidator(_of_scorer)]
"""The `learned` of a scorer: written out, or the path of a file, relative to the current folder."""

Blends = Annotated[tuple[BlendConfig, ...], BeforeValidator(_of_blends)]
"""The `blends` of a recipe: a list, or the path of a file."""
