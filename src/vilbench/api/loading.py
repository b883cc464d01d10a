"""Problems, generators and reward models by their names."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from vilbench.api.scoring import AGGREGATIONS, Scorer
from vilbench.config.building import build_engine, build_scorers
from vilbench.config.engine import EngineConfig
from vilbench.config.problems import ProblemsConfig, load_problem_set
from vilbench.config.scorers import PrmScorerConfig
from vilbench.display.text import visible
from vilbench.embedded import model_folder
from vilbench.errors import ImageError, RecipeError
from vilbench.problems.files import checked_image
from vilbench.problems.own import is_own
from vilbench.problems.rows import ImageName, problem_of
from vilbench.problems.sets import ProblemSet
from vilbench.types import BytesSource, FileSource, Generator, Image, Problem
from vilbench.validation import dotted, foremost, in_words, place_of

_ENGINE: TypeAdapter[EngineConfig] = TypeAdapter(EngineConfig)
_UNKNOWN = "?"
"""Stands for a gold answer that nobody knows; no answer equals it."""
_TOLD = 20
"""Most rows that a warning names."""


def problem(
    question: str,
    *,
    answer: str | None = None,
    images: Sequence[str | Path | bytes | Image] = (),
    choices: Sequence[str] = (),
    id: str | None = None,  # noqa: A002 - the column's word
    **columns: JsonValue,
) -> Problem:
    """A problem of your own.

    Args:
        question: Without choices and instructions; `<image 1>` in it places an image.
        answer: Gold answer; for choices the letter, or the text of one. Without it solutions
            can be scored, and none counts as right.
        images: Files, or encoded bytes.
        choices: Texts of the choices.
        id: By default a hash of question and images.
        columns: Further columns of own data, such as `unit`, `precision`, `metadata`.

    Raises:
        InputError: An image cannot be used, or a value breaks the schema; names the field.
    """
    shown = tuple(_image(one) for one in images)
    row: dict[str, Any] = {"question": question, "choices": list(choices), **columns}
    content = "\0".join([question, *choices, *(image.digest for image in shown)])
    identity = id or hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    notes: list[str] = []
    if answer is None:
        known = problem_of(
            {**row, "choices": [], "answer": _UNKNOWN}, identity, "own", shown, notes
        )
        return known.model_copy(update={"choices": tuple(choices), "answer_kind": "text"})
    return problem_of({**row, "answer": answer}, identity, "own", shown, notes)


def _image(given: str | Path | bytes | Image) -> Image:
    if isinstance(given, Image):
        return given
    if isinstance(given, bytes):
        return checked_image(given, BytesSource(given), ImageName("images", ""), [])
    path = Path(given)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(error.strerror or "unreadable", file=path) from error
    return checked_image(data, FileSource(path), ImageName("images", path.name), [])


def load_problems(source: str, limit: int | None = None, **keys: Any) -> tuple[Problem, ...]:
    """Problems of a set; a warning names the rows that cannot be used and are left out.

    Args:
        source: "puzzles:dev", a public source such as "mathvista:testmini", or the path of own
            data.
        limit: Most problems; puzzles have no end and need it.
        keys: Further keys of a recipe's `problems`, such as `seed`, `draw`, `path`.

    Raises:
        InputError: There are none to use.
    """
    name, _, split = (source, "", "") if is_own(source) else source.partition(":")
    given = {"source": name, "split": split or None, "limit": limit, **keys}
    config: ProblemsConfig = _read(TypeAdapter(ProblemsConfig), given)
    found = load_problem_set(config, 0)
    if found.rejected:
        warnings.warn(_set_aside(found), stacklevel=2)
    return found.problems


def _set_aside(found: ProblemSet) -> str:
    """The lines that the command line prints of rows that were set aside."""
    count = len(found.rejected)
    lines = [visible(str(error)) for error in found.rejected[:_TOLD]]
    if count > _TOLD:
        lines.append(f"... and {count - _TOLD} more rows that were set aside")
    head = f"{visible(found.name)}: {count} of {count + len(found.problems)} rows were set aside"
    return "\n".join([head, *lines])


def load_generator(model: str, **keys: Any) -> Generator:
    """A model that writes solutions.

    Args:
        model: A checkpoint's folder, `embedded:NAME`, or a server's name of a model.
        keys: Further keys of a recipe's `engine`: `base_url` names a server of the OpenAI API;
            `device`, `dtype` for a checkpoint.

    Raises:
        InputError: It cannot be loaded.
    """
    kind = "openai" if keys.keys() & {"base_url", "server", "api_key_env"} else "local"
    made: Generator = build_engine(_read(_ENGINE, {"kind": kind, "model": model, **keys}))
    return made


def load_prm(model: str, *, aggregations: Sequence[str] = AGGREGATIONS, **keys: Any) -> Scorer:
    """A process reward model, ready to score.

    Args:
        model: Its folder, or `embedded:NAME`.
        aggregations: Ways to make one score of a solution's values, for evaluations.
        keys: Further keys of a recipe's scorer of kind `prm`, such as `name`, `device`, `dtype`.

    Raises:
        InputError: It cannot be loaded.
    """
    given = {"kind": "prm", "model": model, "aggregations": tuple(aggregations), **keys}
    config: PrmScorerConfig = _read(TypeAdapter(PrmScorerConfig), given)
    (scorer,) = build_scorers([config], 1).scorers
    return Scorer(
        scorer,
        value_range=config.value_range,
        aggregations=aggregations,
        format=config.format or ("steps" if config.untrained else _format(config.model)),
    )


def _format(model: str) -> str:
    """The step format that a reward model was trained with: texts are split as it knows them."""
    from vilbench.prm.folder import read_config

    return read_config(model_folder(model)).format


def _read(adapter: TypeAdapter[Any], given: dict[str, Any]) -> Any:
    try:
        return adapter.validate_python(given)
    except ValidationError as error:
        first = foremost(error.errors(), given)
        raise RecipeError(in_words(first), field=dotted(place_of(first, given))) from error
