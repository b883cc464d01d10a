"""The app: all routes behind one guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from vilbench import __version__
from vilbench.serve import proxy, scoring
from vilbench.serve.chat import ChatAnswer
from vilbench.serve.faults import Refusal, no_model, public
from vilbench.serve.fetching import Fetcher
from vilbench.serve.guard import Desk, Door
from vilbench.serve.limits import DEFAULT_LIMITS, Limits
from vilbench.serve.meters import Meters
from vilbench.serve.protocol import (
    ErrorAnswer,
    Health,
    ModelEntry,
    ModelList,
    ScoreAnswer,
    ServedModel,
)
from vilbench.serve.reading import Pictures
from vilbench.serve.service import Served, Service, service
from vilbench.serve.upstream import Upstream
from vilbench.serve.waiting import ScoringQueue
from vilbench.validation import dotted, foremost, in_words, place_of
from vilbench.web.guard import Access

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    code: {"model": ErrorAnswer, "description": told}
    for code, told in {
        400: "The request cannot be used.",
        401: "A token is needed.",
        403: "Another site asks through a browser.",
        404: "There is no such model, or nothing at this address.",
        405: "This address takes no such method.",
        408: "The request did not come in time.",
        413: "The request is too large.",
        415: "The request is compressed.",
        421: "The request names another server.",
        422: "Nothing of it can be scored.",
        429: "Too many requests; Retry-After tells when to come again.",
        500: "The server failed.",
        502: "Another server failed.",
        503: "The server stops.",
        504: "It took too long.",
    }.items()
}
_PLAIN_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    code: {
        "description": one["description"],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
    }
    for code, one in _ERRORS.items()
}
"""The same, for a route whose own answers are no JSON."""


@dataclass(frozen=True)
class Application:
    """A server to be run.

    Attributes:
        app: The ASGI app, guard outermost.
        service: Its state.
    """

    app: Door
    service: Service


def application(
    served: Served,
    *,
    upstream: Upstream | None = None,
    access: Access | None = None,
    limits: Limits = DEFAULT_LIMITS,
    fetcher: Fetcher | None = None,
) -> Application:
    """The server as an ASGI app.

    Args:
        served: The scorer.
        upstream: Who draws candidates; None leaves the proxy out.
        access: Who may ask; programs on the same machine by default.
        limits: Bounds of requests.
        fetcher: Fetches images at addresses; None refuses them.
    """
    queue = ScoringQueue(
        served.scorer, waiting=limits.waiting, budget=limits.batch_tokens, width=served.width
    )
    state = Service(served, limits, queue, Pictures(limits, fetcher), upstream)
    meters = Meters(queue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            async with queue:
                yield
        finally:
            if fetcher is not None:
                fetcher.close()
            if upstream is not None:
                await upstream.aclose()

    access = access or Access()
    # The door asks for the token; here it is only told of.
    told = [] if access.token is None else [Security(HTTPBearer(auto_error=False))]
    app = FastAPI(
        title="vilbench",
        version=__version__,
        description="Step scores of solutions, and the best of n candidates.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=told,
        exception_handlers={
            Refusal: _refused,
            HTTPException: _http,
            RequestValidationError: _invalid,
            Exception: _failed,
        },
        redirect_slashes=False,
    )
    app.state.service = state
    app.state.meters = meters
    app.post(
        "/v1/score",
        response_model=ScoreAnswer,
        responses={**_ERRORS, 200: {"content": {"application/x-ndjson": {}}}},
        tags=["scores"],
    )(scoring.score)
    app.post(
        "/v1/chat/completions",
        response_model=ChatAnswer,
        responses={**_ERRORS, 200: {"content": {"text/event-stream": {}}}},
        tags=["best of n"],
    )(proxy.complete)
    app.get("/v1/models", responses=_ERRORS, tags=["server"])(models)
    app.get("/v1/models/{name:path}", responses=_ERRORS, tags=["server"])(model)
    app.get("/health", responses=_ERRORS, tags=["server"])(health)
    app.get("/metrics", response_class=PlainTextResponse, responses=_PLAIN_ERRORS, tags=["server"])(
        metrics
    )
    return Application(Door(Desk(app, state, meters), access), state)


async def models(request: Request) -> ModelList:
    """The scorer, and the proxy under all its names where there is one."""
    state = service(request)
    served = state.served
    scale = served.plan.scale
    about = ServedModel(
        role="scorer",
        granularity=served.scorer.granularity,
        fingerprint=served.scorer.fingerprint,
        low=None if scale is None else scale.low,
        high=None if scale is None else scale.high,
        format=served.format.name,
        aggregations=served.aggregations,
    )
    found = [ModelEntry(id=served.scorer.name, vilbench=about)]
    if state.upstream is not None:
        chosen = f"{served.scorer.fingerprint}/{state.upstream.fingerprint}"
        best = about.model_copy(update={"role": "best-of-n", "fingerprint": chosen})
        found += [ModelEntry(id=name, vilbench=best) for name in proxy.names(state.upstream)]
    return ModelList(data=tuple(found))


async def model(name: str, request: Request) -> ModelEntry:
    """One of them."""
    listed = (await models(request)).data
    for one in listed:
        if one.id == name:
            return one
    raise no_model([one.id for one in listed], "name")


async def health(request: Request) -> Health:
    """Whether requests are taken."""
    return Health(status="stopping" if service(request).stopping else "ok")


async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    meters: Meters = request.app.state.meters
    return Response(meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - what the table above says
    return error.response()


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what the table above says
    codes = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "invalid_request")
    told = {404: "there is nothing at this address", 405: "this address takes no such method"}
    message = told.get(error.status_code, "the request cannot be read")
    return Refusal(error.status_code, code, message, headers=dict(error.headers or {})).response()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what the table above says
    data = {"body": error.body}
    first = foremost(error.errors(), data)
    if first["type"] == "json_invalid":
        return Refusal(400, "invalid_json", "the body is not valid JSON").response()
    message = public(in_words(first))
    param = public(dotted(place_of(first, data)[1:]) or "") or None
    return Refusal(400, "invalid_value", message, param=param).response()


async def _failed(_: Request, error: Exception) -> Response:
    return Refusal(500, "internal_error", "the server failed").response()
