"""What a run was made with, and whether another recipe may go on with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Self

from pydantic import Field, JsonValue, model_validator

from vilbench.types import SCHEMA_VERSION, Record

_ABSENT = "(absent)"
_SHOWN = 80


class Manifest(Record):
    """The run's `manifest.json`; holds no secret, since it is meant to be shared.

    Attributes:
        schema_version: Version of the stored records.
        name: Name of the run, for people.
        recipe: Everything that changes the output, dataset revisions included.
        versions: Versions of the packages that made it; told, but free to change.
        seed: Seed of the run.
        problem_set: Which problems, by name and split.
        fingerprint: SHA-256 over schema version, recipe, seed and problem set.
        created: When, as ISO 8601 in UTC.
    """

    schema_version: int = SCHEMA_VERSION
    name: str = Field(min_length=1)
    recipe: Mapping[str, JsonValue]
    versions: Mapping[str, str] = Field(default_factory=dict)
    seed: int
    problem_set: str
    fingerprint: str
    created: str

    @classmethod
    def of(
        cls,
        name: str,
        recipe: Mapping[str, JsonValue],
        *,
        seed: int,
        problem_set: str,
        versions: Mapping[str, str] | None = None,
    ) -> Manifest:
        """A manifest made now, with its fingerprint.

        Raises:
            ValueError: The recipe holds NaN or an infinity.
        """
        return cls(
            name=name,
            recipe=recipe,
            versions=versions or {},
            seed=seed,
            problem_set=problem_set,
            fingerprint=_fingerprint(SCHEMA_VERSION, recipe, seed, problem_set),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @model_validator(mode="after")
    def _fingerprint_fits(self) -> Self:
        computed = _fingerprint(self.schema_version, self.recipe, self.seed, self.problem_set)
        if computed != self.fingerprint:
            raise ValueError("the fingerprint does not fit the recipe: it was edited")
        return self

    def differences(self, other: Manifest) -> tuple[str, ...]:
        """A line for each key that changes the output: `sample.temperature: 1.0 -> 0.7`."""
        return changed_lines(self._identity(), other._identity())

    def _identity(self) -> dict[str, JsonValue]:
        # With a blank, so that no key of the recipe has the same name.
        return {**self.recipe, "run seed": self.seed, "problem set": self.problem_set}


def changed_lines(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """One line per leaf that differs between two JSON objects, by its dotted path."""
    before, after = dict(_leaves(dict(old), "")), dict(_leaves(dict(new), ""))
    return tuple(
        f"{path}: {_change(before.get(path, _ABSENT), after.get(path, _ABSENT))}"
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
    )


def _change(old: str, new: str) -> str:
    """Both values; of long ones the part from shortly before their first difference."""
    if max(len(old), len(new)) <= _SHOWN:
        return f"{old} -> {new}"
    pairs = enumerate(zip(old, new, strict=False))
    differs = next((place for place, (a, b) in pairs if a != b), min(len(old), len(new)))
    start = max(0, differs - _SHOWN // 4)
    return f"{_window(old, start)} -> {_window(new, start)}"


def _window(text: str, start: int) -> str:
    shown = text[start : start + _SHOWN]
    head = "..." if start else ""
    return f"{head}{shown}" + ("..." if start + _SHOWN < len(text) else "")


def _leaves(value: JsonValue, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}[{place}]")
    else:
        yield path, json.dumps(value)


def _fingerprint(
    schema_version: int, recipe: Mapping[str, JsonValue], seed: int, problem_set: str
) -> str:
    identity = [schema_version, dict(recipe), seed, problem_set]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
