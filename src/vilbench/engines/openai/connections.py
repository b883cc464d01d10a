"""The official client, with pools that stay quick at a thousand connections.

A pool of the HTTP library looks at all of its connections for every request, so that a
request costs the more the more there are. Here they are spread over pools of 32.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import openai

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.faults import unreadable

OPENAI_URL = "https://api.openai.com/v1"
_IN_POOL = 32
_LONGEST_ANSWER = 64 << 20
_NO_KEY = "none"


def client(
    base_url: str | None, api_key: str | None, concurrency: int, patience: Patience
) -> openai.AsyncOpenAI:
    """A client that never asks again by itself, follows no redirect and unpacks nothing.

    Args:
        base_url: Up to and with `/v1`; None is OpenAI's own.
        api_key: None sends a word that is no key.
        concurrency: Most connections.
        patience: Time limits.
    """
    url = base_url or OPENAI_URL
    timeout = httpx2.Timeout(
        patience.first_byte_s, connect=patience.connect_s, write=patience.call_s, pool=None
    )
    return openai.AsyncOpenAI(
        api_key=api_key or _NO_KEY,
        base_url=url,
        max_retries=0,
        timeout=timeout,
        default_headers={"Accept-Encoding": "identity"},
        http_client=httpx2.AsyncClient(
            transport=Pools(url, concurrency), timeout=timeout, follow_redirects=False
        ),
    )


class Pools(httpx2.AsyncBaseTransport):
    """Connections to one server, spread over small pools.

    Args:
        url: The server; proxies of the environment are used where they are meant for it.
        concurrency: Most connections.
    """

    def __init__(self, url: str, concurrency: int) -> None:
        context = httpx2.create_ssl_context()
        proxy = _proxy(url)
        limits = httpx2.Limits(
            max_connections=_IN_POOL, max_keepalive_connections=_IN_POOL, keepalive_expiry=60.0
        )
        count = -(-concurrency // _IN_POOL)
        self._pools = [
            httpx2.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
            for _ in range(count)
        ]
        self._busy = [0] * count

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer by the pool with the fewest requests under way."""
        place = self._busy.index(min(self._busy))
        self._busy[place] += 1
        try:
            response = await self._pools[place].handle_async_request(request)
        except BaseException:
            self._busy[place] -= 1
            raise
        stream = cast("httpx2.AsyncByteStream", response.stream)
        response.stream = _Counted(stream, self._busy, place)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise unreadable("the answer is compressed, which was not asked for", "compressed")
        return response

    async def aclose(self) -> None:
        """Closes all pools."""
        for pool in self._pools:
            await pool.aclose()


class _Counted(httpx2.AsyncByteStream):
    """The body of an answer: bounded, and a place given back when it is closed."""

    def __init__(self, stream: httpx2.AsyncByteStream, busy: list[int], place: int) -> None:
        self._stream = stream
        self._busy = busy
        self._place = place
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > _LONGEST_ANSWER:
                told = f"the answer is longer than {_LONGEST_ANSWER:,} bytes"
                raise unreadable(told, "too-long")
            yield chunk

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._busy[self._place] -= 1
        await self._stream.aclose()


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
