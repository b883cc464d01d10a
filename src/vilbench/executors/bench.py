"""What a worker holds: models that it built once, and jobs that it does with them.

What travels is data: a job on its way there, a value or a refusal on its way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from vilbench import __version__
from vilbench.errors import EngineError, InputError
from vilbench.types import Granularity

Build = Callable[[Sequence[Any]], Sequence[Any]]
"""From configurations to what they describe, in their order; a function by its name, picklable."""


class Facts(NamedTuple):
    """What a model says of itself; the same on every worker, or results would differ.

    Attributes:
        name: For tables.
        fingerprint: Changes with whatever changes its output.
        granularity: Of a scorer; None for another model.
    """

    name: str
    fingerprint: str
    granularity: Granularity | None


@dataclass(frozen=True)
class Prepared:
    """A worker that has built its models.

    Attributes:
        version: Of this package, as the worker has it.
        models: In the order of the configurations.
    """

    version: str
    models: tuple[Facts, ...]


@dataclass(frozen=True)
class Job:
    """A call of a method of one of the models; picklable.

    Attributes:
        model: Its place among the configurations.
        method: Which.
        arguments: By place and by name.
    """

    model: int
    method: str
    arguments: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why a job, or the building of models, brought nothing.

    Attributes:
        kind: An `EngineError`, an `InputError`, or any other exception, which is a defect.
        told: What it said.
    """

    kind: Literal["engine", "input", "defect"]
    told: str

    def error(self) -> EngineError | InputError | DefectError:
        """As the exception that it was."""
        if self.kind == "defect":
            return DefectError(self.told)
        return EngineError(self.told) if self.kind == "engine" else InputError(self.told)


class DefectError(Exception):
    """A job raised what no model should raise; its worker lives."""


class Bench:
    """The models of a worker.

    Args:
        build: Makes them.
        configs: Of what; picklable.
    """

    def __init__(self, build: Build, configs: Sequence[Any]) -> None:
        self._build = build
        self._configs = tuple(configs)
        self._models: tuple[Any, ...] = ()

    async def prepare(self) -> Prepared | Refusal:
        """Builds the models."""
        try:
            self._models = tuple(self._build(self._configs))
        except Exception as error:
            return _refusal(error)
        return Prepared(__version__, tuple(map(_facts, self._models)))

    async def run(self, job: Job) -> Any:
        """What the job's method returns, or a `Refusal`."""
        try:
            method = getattr(self._models[job.model], job.method)
            return await method(*job.arguments, **dict(job.named))
        except Exception as error:
            return _refusal(error)


def _facts(model: Any) -> Facts:
    return Facts(model.name, model.fingerprint, getattr(model, "granularity", None))


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, EngineError):
        return Refusal("engine", str(error))
    if isinstance(error, InputError):
        return Refusal("input", str(error))
    return Refusal("defect", f"{type(error).__name__}: {error}")
