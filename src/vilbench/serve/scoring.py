"""`POST /v1/score`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from vilbench.errors import VilbenchError
from vilbench.serve.faults import Refusal, no_model, public, stopping, unscorable
from vilbench.serve.memory import Holding, holding
from vilbench.serve.protocol import ScoreAnswer, ScoreRequest, SolutionScores, TokenUsage
from vilbench.serve.reading import made_solution, problem_of, split_of
from vilbench.serve.service import Served, Service, attended, service
from vilbench.serve.waiting import Scoring
from vilbench.types import Problem, Solution, StepScores, Usage


async def score(body: ScoreRequest, request: Request) -> Response:
    """Step scores and aggregates of solutions of one problem."""
    state = service(request)
    served = state.served
    if body.model not in (None, served.scorer.name):
        raise no_model([served.scorer.name], "model")
    served.check(body.aggregations, "aggregations")
    names = body.aggregations or served.aggregations
    state.queue.check_room()
    seconds = state.limits.seconds
    held = holding(request)
    if body.stream:
        return _stream(state, *await attended(request, _read(state, body, held), seconds), names)
    answer = await attended(request, _answer(state, body, held, names), seconds)
    return Response(answer.model_dump_json(), media_type="application/json")


class _Asked(NamedTuple):
    """A request that can be answered."""

    problem: Problem
    solutions: Sequence[Solution]


async def _read(state: Service, body: ScoreRequest, held: Holding) -> _Asked:
    """Reads a request.

    Raises:
        Refusal: It is beyond a limit, or an image cannot be used.
    """
    # What costs nothing to see is seen before an image is decoded.
    split = split_of(body.solutions, state.served.format, state.limits)
    problem = await problem_of(body.problem, state.pictures, state.limits, held)
    return _Asked(problem, [made_solution(problem, k, *one) for k, one in enumerate(split)])


async def scored(
    state: Service, problem: Problem, solutions: Sequence[Solution], *, admitted: bool = False
) -> list[StepScores | VilbenchError]:
    """Scores of each solution, or why there are none.

    Raises:
        Refusal: The queue is full.
    """
    with state.queue.submitted(problem, solutions, admitted=admitted) as ticket:
        found = await asyncio.gather(*ticket.scorings, return_exceptions=True)
    outcomes: list[StepScores | VilbenchError] = []
    for one in found:
        if not isinstance(one, StepScores | VilbenchError):
            raise one
        outcomes.append(one)
    return outcomes


async def _answer(
    state: Service, body: ScoreRequest, held: Holding, names: Sequence[str]
) -> ScoreAnswer:
    served = state.served
    problem, solutions = await _read(state, body, held)
    outcomes = await scored(state, problem, solutions)
    errors = [one for one in outcomes if isinstance(one, VilbenchError)]
    if len(errors) == len(outcomes):
        raise unscorable(errors[0], behind_server=served.behind_server)
    results = [
        shown(served, k, solution, outcome, names)
        for k, (solution, outcome) in enumerate(zip(solutions, outcomes, strict=True))
    ]
    usages = [one.usage for one in outcomes if isinstance(one, StepScores)]
    return ScoreAnswer(
        model=served.scorer.name,
        fingerprint=served.scorer.fingerprint,
        granularity=served.scorer.granularity,
        results=tuple(results),
        usage=TokenUsage.of(sum(usages, Usage())),
    )


def shown(
    served: Served,
    index: int,
    solution: Solution,
    outcome: StepScores | VilbenchError,
    names: Sequence[str],
) -> SolutionScores:
    """One solution's scores as a client sees them."""
    if isinstance(outcome, VilbenchError):
        failed = unscorable(outcome, behind_server=served.behind_server)
        size = len(solution.steps) if served.scorer.granularity == "step" else 1
        return SolutionScores(
            index=index,
            spans=solution.steps,
            values=(None,) * size,
            aggregates=dict.fromkeys(names),
            error=failed.message,
            usage=TokenUsage(),
        )
    return SolutionScores(
        index=index,
        spans=solution.steps,
        values=outcome.values,
        aggregates={name: served.aggregate(name, outcome.values) for name in names},
        notes=outcome.notes,
        error=None if outcome.error is None else public(outcome.error),
        usage=TokenUsage.of(outcome.usage),
    )


def _stream(
    state: Service, problem: Problem, solutions: Sequence[Solution], names: Sequence[str]
) -> StreamingResponse:
    submitted = state.queue.submitted(problem, solutions)
    ticket = submitted.__enter__()

    async def lines() -> AsyncIterator[str]:
        places: dict[Scoring, list[int]] = {}
        for place, scoring in enumerate(ticket.scorings):
            places.setdefault(scoring, []).append(place)
        try:
            async with asyncio.timeout(state.limits.seconds):
                async for scoring in _as_they_come(list(places), state.halted):
                    outcome = _outcome(scoring)
                    for place in places[scoring]:
                        one = shown(state.served, place, solutions[place], outcome, names)
                        yield one.model_dump_json() + "\n"
        except TimeoutError:
            late = Refusal(504, "timeout", f"not done within {state.limits.seconds:g} seconds")
            yield json.dumps(late.document()) + "\n"
        except Refusal as refusal:
            yield json.dumps(refusal.document()) + "\n"
        finally:
            submitted.__exit__(None, None, None)

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _as_they_come(
    scorings: Sequence[Scoring], halted: asyncio.Event
) -> AsyncIterator[Scoring]:
    left: set[asyncio.Future[Any]] = set(scorings)
    end = asyncio.create_task(halted.wait())
    try:
        while left:
            done, _ = await asyncio.wait({*left, end}, return_when=asyncio.FIRST_COMPLETED)
            if end in done:
                raise stopping()
            left -= done
            for scoring in (one for one in scorings if one in done):
                yield scoring
    finally:
        end.cancel()


def _outcome(scoring: Scoring) -> StepScores | VilbenchError:
    """Raises a fault of the program as a refusal: the answer has begun already."""
    error = scoring.exception()
    if error is None:
        return scoring.result()
    if isinstance(error, VilbenchError):
        return error
    raise Refusal(500, "internal_error", "the server failed") from error
