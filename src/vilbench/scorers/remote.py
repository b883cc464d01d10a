"""A scorer that is served elsewhere by `vilbench serve`."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import httpx2
from pydantic import ConfigDict, Field, ValidationError

from vilbench.engines.openai import connections
from vilbench.engines.openai.attempts import Patience, persistently
from vilbench.engines.openai.faults import RequestFault, fault_of, unreadable
from vilbench.errors import CheckpointError, EngineError, InputError
from vilbench.images import extension
from vilbench.types import Granularity, Image, Problem, Record, Solution, StepScores, Usage

_TYPES: Mapping[str, str] = {"jpg": "jpeg", "tif": "tiff"}
Read = TypeVar("Read", bound=Record)

_SHARE = 32
"""Most solutions of one request."""


class Served(NamedTuple):
    """What a server says of its scorer.

    Attributes:
        name: Under which it is served.
        granularity: Of its values.
        fingerprint: Changes with whatever changes a value.
        low: Lower bound of its scale; None where it has none.
        high: Upper bound.
    """

    name: str
    granularity: Granularity
    fingerprint: str
    low: float | None
    high: float | None


def look(
    base_url: str, model: str | None, api_key: str | None, patience: Patience | None = None
) -> Served:
    """Asks a server what it scores with; waits for the answer.

    Args:
        base_url: Up to and with `/v1`.
        model: The scorer's name there; None for the one that there is.
        api_key: The server's token; it appears in no message.
        patience: Time limits and attempts.

    Raises:
        CheckpointError: The server does not answer, or serves no such scorer.
    """
    # A thread of its own: the caller may have a loop that runs.
    found: list[Served | Exception] = []

    def work() -> None:
        try:
            found.append(asyncio.run(_look(base_url, model, api_key, patience or Patience())))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    outcome = found[0]
    if isinstance(outcome, EngineError):
        raise CheckpointError(f"the scorer's server cannot be used: {outcome}", file=base_url)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class RemoteScorer:
    """A `StepScorer` behind a server; its values are those of the scorer that is served.

    Args:
        base_url: Up to and with `/v1`. No part of the fingerprint: a server that moves serves
            the same scorer.
        served: What the server says of it; see `look`.
        api_key: The server's token; it appears in no message.
        name: Name in tables and in the store.
        concurrency: Most requests in flight.
        patience: Time limits and attempts.
    """

    def __init__(
        self,
        base_url: str,
        served: Served,
        *,
        api_key: str | None = None,
        name: str | None = None,
        concurrency: int = 16,
        patience: Patience | None = None,
    ) -> None:
        self._served = served
        self._name = name or served.name
        self._key = api_key
        self._patience = patience or Patience()
        self._client = connections.client(base_url, api_key, self._patience)
        self._gate = asyncio.Semaphore(concurrency)
        self.retries = 0

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        return self._name

    @property
    def granularity(self) -> Granularity:
        """That of the scorer that is served."""
        return self._served.granularity

    @property
    def fingerprint(self) -> str:
        """That of the scorer that is served."""
        return f"remote/{self._served.fingerprint}"

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Scores of `solutions`; equal ones are sent once.

        A request that fails for good takes its own solutions and no others: their records
        carry its error.

        Raises:
            EngineError: None of them can be scored.
        """
        distinct = list(dict.fromkeys(_shape(one) for one in solutions))
        shares = [distinct[k : k + _SHARE] for k in range(0, len(distinct), _SHARE)]
        try:
            question = _question(problem)
        except InputError as error:
            raise EngineError(str(error)) from error
        outcomes = await asyncio.gather(*(self._outcome(question, share) for share in shares))
        errors = [one for one in outcomes if isinstance(one, EngineError)]
        if errors and len(errors) == len(outcomes):
            raise errors[0]
        known: dict[_Shape, _Result | EngineError] = {}
        for share, outcome in zip(shares, outcomes, strict=True):
            for place, shape in enumerate(share):
                known[shape] = outcome if isinstance(outcome, EngineError) else outcome[place]
        return [self._record(one, known[_shape(one)]) for one in solutions]

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()

    def _record(self, solution: Solution, result: _Result | EngineError) -> StepScores:
        size = len(solution.steps) if self.granularity == "step" else 1
        if isinstance(result, EngineError):
            result = _Result(values=(None,) * size, error=str(result))
        return StepScores(
            problem_id=solution.problem_id,
            solution_index=solution.index,
            scorer=self._name,
            granularity=self.granularity,
            values=result.values,
            notes=result.notes,
            usage=result.usage.usage(),
            error=result.error,
        )

    async def _outcome(
        self, question: Mapping[str, Any], share: Sequence[_Shape]
    ) -> Sequence[_Result] | EngineError:
        """Results of a part of the solutions, or why there are none."""
        body = {
            "model": self._served.name,
            "problem": question,
            "solutions": [{"text": one.text, "spans": one.spans} for one in share],
        }
        try:
            data = json.dumps(body).encode("utf-8")
            async with self._gate:
                return await persistently(
                    lambda: self._attempt(data, share), self._patience, self._note
                )
        except EngineError as error:
            return error

    def _note(self, fault: RequestFault) -> None:
        self.retries += 1

    async def _attempt(self, data: bytes, share: Sequence[_Shape]) -> Sequence[_Result]:
        try:
            async with asyncio.timeout(self._patience.call_s):
                response = await self._client.post("/score", cast_to=httpx2.Response, content=data)
            answer = _read(response, _Answer)
        except Exception as error:
            raise _fault(error, self._key) from error
        if answer.fingerprint != self._served.fingerprint:
            raise RequestFault("the server has another scorer now", "other-model", fatal=True)
        sizes = [len(one.spans) if self.granularity == "step" else 1 for one in share]
        if [len(one.values) for one in answer.results] != sizes:
            raise unreadable("the answer has other solutions than were sent", "other-solutions")
        return answer.results


class _Shape(NamedTuple):
    """What of a solution is sent."""

    text: str
    spans: tuple[tuple[int, int], ...]


class _Tokens(Record):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    def usage(self) -> Usage:
        return Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens)


class _Open(Record):
    """What is read of an answer; a newer server may say more."""

    model_config = ConfigDict(extra="ignore")


class _Result(_Open):
    values: tuple[float | None, ...] = Field(max_length=100_000)
    notes: tuple[str, ...] = ()
    usage: _Tokens = _Tokens()
    error: str | None = None


class _Answer(_Open):
    fingerprint: str
    results: tuple[_Result, ...]


class _About(_Open):
    role: str
    granularity: Granularity
    fingerprint: str
    low: float | None = None
    high: float | None = None


class _Entry(_Open):
    id: str
    vilbench: _About | None = None


class _Models(_Open):
    data: tuple[_Entry, ...]


async def _look(
    base_url: str, model: str | None, api_key: str | None, patience: Patience
) -> Served:
    client = connections.client(base_url, api_key, patience)

    async def attempt() -> _Models:
        try:
            async with asyncio.timeout(patience.call_s):
                response = await client.get("/models", cast_to=httpx2.Response)
            return _read(response, _Models)
        except Exception as error:
            raise _fault(error, api_key) from error

    try:
        listed = await persistently(attempt, patience, lambda fault: None)
    finally:
        await client.close()
    for one in listed.data:
        about = one.vilbench
        if about is not None and about.role == "scorer" and model in (None, one.id):
            return Served(one.id, about.granularity, about.fingerprint, about.low, about.high)
    names = ", ".join(one.id for one in listed.data if one.vilbench) or "none"
    raise EngineError(f"it serves no scorer '{model or ''}', but {names}")


def _read(response: httpx2.Response, kind: type[Read]) -> Read:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise unreadable("the answer cannot be read", "no-answer-of-ours", place) from None


def _fault(error: Exception, key: str | None) -> Exception:
    fault = fault_of(error)
    if fault is None:
        return error
    if key:
        fault.hide(key)
    return fault


def _shape(solution: Solution) -> _Shape:
    return _Shape(solution.text, tuple((one.start, one.end) for one in solution.steps))


def _question(problem: Problem) -> dict[str, Any]:
    """What is sent of a problem; its answer is not.

    Raises:
        InputError: An image cannot be read.
    """
    return {
        "question": problem.question,
        "choices": list(problem.choices),
        "images": [_data_url(image) for image in problem.images],
    }


def _data_url(image: Image) -> str:
    data = image.read()
    kind = extension(data)
    return f"data:image/{_TYPES.get(kind, kind)};base64,{base64.b64encode(data).decode()}"
