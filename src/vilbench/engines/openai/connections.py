"""The official client, over connections that stay quick where there are a thousand of them.

A pool of the HTTP library looks at all of its connections for every request, so that a
request costs the more the more there are. Here each connection is a pool of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import openai

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.faults import unreadable

OPENAI_URL = "https://api.openai.com/v1"
_LONGEST_ANSWER = 64 << 20
_ONE = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60.0)
_NO_KEY = "none"


def client(base_url: str | None, api_key: str | None, patience: Patience) -> openai.AsyncOpenAI:
    """A client that never asks again by itself, follows no redirect and unpacks nothing.

    Args:
        base_url: Up to and with `/v1`; None is OpenAI's own.
        api_key: None sends a word that is no key.
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
            transport=Connections(url), timeout=timeout, follow_redirects=False
        ),
    )


class Connections(httpx2.AsyncBaseTransport):
    """Connections to one server, opened as they are needed and kept.

    Args:
        url: The server; proxies of the environment are used where they are meant for it.
    """

    def __init__(self, url: str) -> None:
        self._context = httpx2.create_ssl_context()
        self._proxy = _proxy(url)
        self._all: list[httpx2.AsyncHTTPTransport] = []
        self._free: list[httpx2.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, over the connection that was in use last."""
        connection = self._free.pop() if self._free else self._new()
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._free.append(connection)
            raise
        stream = cast("httpx2.AsyncByteStream", response.stream)
        response.stream = _Bounded(stream, lambda: self._free.append(connection))
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise unreadable("the answer is compressed, which was not asked for", "compressed")
        return response

    async def aclose(self) -> None:
        """Closes all connections."""
        for connection in self._all:
            await connection.aclose()

    def _new(self) -> httpx2.AsyncHTTPTransport:
        connection = httpx2.AsyncHTTPTransport(verify=self._context, limits=_ONE, proxy=self._proxy)
        self._all.append(connection)
        return connection


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer, of a bounded length.

    Args:
        stream: The body.
        done: Called once, when it is closed.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, done: Callable[[], None]) -> None:
        self._stream = stream
        self._done: Callable[[], None] | None = done

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > _LONGEST_ANSWER:
                told = f"the answer is longer than {_LONGEST_ANSWER:,} bytes"
                raise unreadable(told, "too-long")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
        done, self._done = self._done, None
        if done is not None:
            done()


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
