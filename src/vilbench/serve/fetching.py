"""Fetching images: one request to one checked address, with bounds on time and bytes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import h11

from vilbench import __version__
from vilbench.serve.addresses import IP, AddressError, AllowList, Target
from vilbench.serve.faults import Refusal, wrong
from vilbench.serve.limits import Limits
from vilbench.serve.memory import Holding

Resolve = Callable[[str, int], Sequence[str]]
"""IP addresses of a name; it may block."""

_AT_ONCE = 32
_RESOLVERS = 4
_TRIED = 4
"""Most addresses of a name that are tried."""

_PART = 64 << 10


def resolved(host: str, port: int) -> list[str]:
    """IP addresses of a name, as the system tells them.

    Raises:
        OSError: It tells none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Fetcher:
    """Fetches images from the hosts of a list.

    A name is resolved once, every address that it has must be a permitted one, and the
    connection goes to such an address and not to the name: what the name says a moment later
    plays no part. Redirects are not followed, nothing of the client's request is passed on,
    and the environment's proxies are not used.

    Args:
        allowed: Where images may be.
        limits: Bytes of an image, and seconds for all of it.
        resolve: Tells the addresses of a name.
    """

    def __init__(self, allowed: AllowList, limits: Limits, resolve: Resolve = resolved) -> None:
        self._allowed = allowed
        self._limits = limits
        self._resolve = resolve
        self._context = ssl.create_default_context()
        self._context.set_alpn_protocols(["http/1.1"])
        self._gate = asyncio.Semaphore(_AT_ONCE)
        # A resolver that hangs must not hold the threads that decode.
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")

    async def fetch(self, url: str, param: str, holding: Holding) -> bytes:
        """The bytes at an address; whether they are an image is not looked at.

        Args:
            url: The address.
            param: Field of the request that has it.
            holding: Where the bytes are counted as they come.

        Raises:
            Refusal: The address may not be fetched from, or the image did not come.
        """
        try:
            target = self._allowed.target(url)
            async with self._gate, asyncio.timeout(self._limits.fetch_seconds):
                addresses = await self._addresses(target)
                async with self._connected(target, addresses) as (reader, writer):
                    return await self._exchanged(target, param, holding, reader, writer)
        except AddressError as error:
            raise wrong(f"the image's address {error}", param, "image_address") from None
        except TimeoutError:
            seconds = self._limits.fetch_seconds
            told = f"the image did not come within {seconds:g} seconds"
            raise Refusal(504, "image_timeout", told, param=param) from None
        except (OSError, h11.RemoteProtocolError):
            told = "the image's server did not give it"
            raise Refusal(502, "image_failed", told, param=param) from None

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, target: Target) -> list[IP]:
        """Where the target is.

        Raises:
            AddressError: One of its addresses is not permitted.
            OSError: There is none.
        """
        literal = target.literal
        if literal is not None:
            found: list[IP] = [literal]
        else:
            loop = asyncio.get_running_loop()
            told = await loop.run_in_executor(
                self._threads, self._resolve, target.host, target.port
            )
            found = [ipaddress.ip_address(one.partition("%")[0]) for one in told]
        for address in found:
            self._allowed.check(target, address)
        if not found:
            raise OSError("no address")
        return found[:_TRIED]

    @asynccontextmanager
    async def _connected(
        self, target: Target, addresses: Sequence[IP]
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to the first of the addresses that takes one.

        Raises:
            OSError: None does.
        """
        for place, address in enumerate(addresses):
            try:
                async with asyncio.timeout(self._limits.fetch_seconds / len(addresses)):
                    reader, writer = await asyncio.open_connection(
                        str(address),
                        target.port,
                        ssl=self._context if target.tls else None,
                        server_hostname=target.host if target.tls else None,
                    )
                break
            except OSError:  # a timeout is one, too
                if place == len(addresses) - 1:
                    raise
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _exchanged(
        self,
        target: Target,
        param: str,
        holding: Holding,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bytes:
        """Asks for the target and reads what comes.

        Raises:
            Refusal: It is not given, or is too long.
            h11.RemoteProtocolError: The answer is not HTTP, or ends early.
        """
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PART)
        asked = h11.Request(
            method="GET",
            target=target.path,
            headers=[
                ("Host", target.origin),
                ("User-Agent", f"vilbench/{__version__}"),
                ("Accept", "image/*"),
                ("Accept-Encoding", "identity"),
                ("Connection", "close"),
            ],
        )
        writer.write((wire.send(asked) or b"") + (wire.send(h11.EndOfMessage()) or b""))
        most = self._limits.image_bytes
        data = bytearray()
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await reader.read(_PART))
            elif isinstance(event, h11.Response):
                size_told = _checked(event, param)
                if size_told > most:
                    raise _too_large(most, param)
            elif isinstance(event, h11.Data):
                holding.take(len(event.data))
                data += event.data
                if len(data) > most:
                    raise _too_large(most, param)
            elif isinstance(event, h11.EndOfMessage):
                return bytes(data)
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the answer ended early")


def _checked(answer: h11.Response, param: str) -> int:
    """The length that an answer announces, 0 where it does not.

    Raises:
        Refusal: The image does not come with it.
    """
    status = answer.status_code
    if 300 <= status < 400:
        told = "the image's address leads elsewhere: give the one where it is"
        raise wrong(told, param, "image_redirect")
    if 400 <= status < 500:
        raise wrong(f"the image's server answers {status}", param, "image_failed")
    if status != 200:
        told = f"the image's server answers {status}"
        raise Refusal(502, "image_failed", told, param=param)
    headers = dict(answer.headers)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        told = "the image's server compresses its answer, which was not asked for"
        raise Refusal(502, "image_failed", told, param=param)
    return int(headers.get(b"content-length", b"0"))


def _too_large(most: int, param: str) -> Refusal:
    return Refusal(413, "too_large", f"an image of more than {most:,} bytes", param=param)
