"""What a failed validation is told as, and which place it has."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from vilbench.validation import dotted, foremost, in_words, place_of


class Left(BaseModel):
    """Has the name of the other kind among its keys."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["left"]
    right: int = 0
    size: float = Field(default=1.0, gt=0, le=2)


class Right(BaseModel):
    """The other kind."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["right"]
    right: int = 0
    need: int
    size: float = 1.0


class Whole(BaseModel):
    """A document with what users get wrong."""

    model_config = ConfigDict(extra="forbid")

    word: str = Field(default="a", min_length=1, max_length=3)
    count: int = Field(default=1, ge=1)
    is_on: bool = False
    is_off: Literal[False] = False
    mode: Literal["once", "every"] = "once"
    beams: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    sides: tuple[Annotated[Left | Right, Field(discriminator="kind")], ...] = ()
    either: int | tuple[int, ...] = 0


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        ({"word": 3}, ["word"], "must be text"),
        ({"word": ""}, ["word"], "must have 1 or more characters"),
        ({"word": "four"}, ["word"], "must have 3 or fewer characters"),
        ({"count": "many"}, ["count"], "must be a whole number"),
        ({"count": 1.5}, ["count"], "must be a whole number"),
        ({"count": 0}, ["count"], "must be at least 1"),
        ({"is_on": "perhaps"}, ["is_on"], "must be true or false"),
        ({"is_off": True}, ["is_off"], "must be false"),
        ({"mode": "twice"}, ["mode"], "must be 'once' or 'every'"),
        ({"beams": 4}, ["beams"], "must be a list"),
        ({"beams": []}, ["beams"], "must have 1 or more items"),
        ({"beams": [1, "x"]}, ["beams", 1], "must be a whole number"),
        ({"width": 1}, ["width"], "is no key that is known here"),
        ({"sides": [3]}, ["sides", 0], "must be a mapping of keys"),
        ({"sides": [{}]}, ["sides", 0], "needs a kind"),
        ({"sides": [{"kind": "up"}]}, ["sides", 0], "must be one of 'left', 'right', not 'up'"),
        ({"sides": [{"kind": "left", "size": 0}]}, ["sides", 0, "size"], "must be more than 0"),
        ({"sides": [{"kind": "left", "size": 3}]}, ["sides", 0, "size"], "must be at most 2"),
        ({"sides": [{"kind": "right"}]}, ["sides", 0, "need"], "is missing"),
        ({"sides": [{"kind": "right", "right": 1}]}, ["sides", 0, "need"], "is missing"),
        (
            {"sides": [{"kind": "right", "right": 1, "need": 1, "size": "x"}]},
            ["sides", 0, "size"],
            "must be a number",
        ),
        (
            {"sides": [{"kind": "left", "left": 1}]},
            ["sides", 0, "left"],
            "is no key that is known here",
        ),
        ({"either": "x"}, ["either"], "must be a whole number"),
        ({"either": [1, "x"]}, ["either", 1], "must be a whole number"),
        ({"either": "x", "sides": [{}]}, ["sides", 0], "needs a kind"),
        ([], [], "must be a mapping of keys"),
    ],
)
def test_faults_have_our_words_and_the_writers_place(
    data: object, place: list[str | int], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Whole).validate_python(data)
    first = foremost(caught.value.errors(), data)
    assert (place_of(first, data), in_words(first)) == (place, words)


def test_a_place_reads_as_in_a_recipe() -> None:
    assert dotted(["scorers", 0, "name"]) == "scorers[0].name"
    assert dotted([]) is None


def test_no_fault_that_pydantic_knows_is_told_in_its_words() -> None:
    for known in list_all_errors():
        context = known.get("example_context")
        fault = {"type": known["type"], "msg": known["example_message_python"], "ctx": context}
        told = in_words(fault)
        assert told
        assert "Input should" not in told
        assert "{" not in told


def test_words_of_a_validator_of_ours_stay() -> None:
    fault = {"type": "engine_kind", "msg": "is none of local, {openai}", "loc": ("engine",)}
    assert in_words(fault) == "is none of local, {openai}"
    error = ValueError("a {b} c")
    assert in_words({"type": "value_error", "msg": "?", "ctx": {"error": error}}) == "a {b} c"
