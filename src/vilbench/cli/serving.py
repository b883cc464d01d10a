"""What `vilbench serve` does: checks who could reach it, loads the models, then serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from vilbench.config.serving import Serving, build_served, engine_maker
from vilbench.errors import InputError
from vilbench.web.listening import address, bound, check_reach, served_names


class Place(NamedTuple):
    """Where to listen.

    Attributes:
        host: Address.
        port: 0 takes one that is free.
        token: What clients must show; None on loopback only.
        names: Further names of the server.
    """

    host: str
    port: int
    token: str | None
    names: frozenset[str]


class Bounds(NamedTuple):
    """What may wait, and for how long.

    Attributes:
        waiting: Requests.
        batch_tokens: Estimated tokens of a batch.
        seconds: Of a request.
        image_hosts: Hosts that images may be fetched from.
    """

    waiting: int
    batch_tokens: int
    seconds: float
    image_hosts: tuple[str, ...]


def serve(asked: Serving, place: Place, bounds: Bounds, say: Callable[[str], None]) -> None:
    """Serves until it is stopped.

    Raises:
        InputError: The web server is not installed, the address cannot be used or can be
            reached from elsewhere without a token, or a model cannot be loaded.
    """
    try:
        from vilbench.serve.addresses import AllowList
        from vilbench.serve.app import application
        from vilbench.serve.fetching import Fetcher
        from vilbench.serve.limits import DEFAULT_LIMITS
        from vilbench.serve.renewal import LastingScorer
        from vilbench.serve.running import run
        from vilbench.serve.service import Served
        from vilbench.serve.upstream import Upstream
        from vilbench.web.guard import Access
    except ModuleNotFoundError as error:
        raise InputError(f"'serve' needs {error.name}: pip install 'vilbench[serve]'") from error
    check_reach(place.host, place.token)
    allowed = AllowList(bounds.image_hosts)
    limits = replace(
        DEFAULT_LIMITS,
        waiting=bounds.waiting,
        batch_tokens=bounds.batch_tokens,
        seconds=bounds.seconds,
    )
    with bound(place.host, place.port) as listener:
        say("loading the models ...")
        built = build_served(asked)
        scorer, engines = built.scorer, built.engines
        lasting = LastingScorer(built, lambda: build_served(asked)) if built.behind_server else None
        if lasting is not None:
            scorer, engines = lasting, (lasting,)
        served = Served(scorer, built.plan, asked.format, built.behind_server, built.width)
        upstream = None if asked.upstream is None else Upstream(engine_maker(asked.upstream))
        access = Access(served_names(place.host, place.names), place.token)
        fetcher = Fetcher(allowed, limits) if bounds.image_hosts else None
        made = application(served, upstream=upstream, access=access, limits=limits, fetcher=fetcher)
        url = f"http://{address(listener)}/v1"
        say(f"scores: {scorer.name} at {url}/score")
        if upstream is not None:
            say(f"best of n: {upstream.name} at {url}/chat/completions")
        say(f"serving {url}  (Ctrl-C lets what is running end, twice stops at once)")
        try:
            run(made, listener)
        finally:
            for engine in engines:
                close = getattr(engine, "aclose", None)
                if close is not None:
                    asyncio.run(close())
