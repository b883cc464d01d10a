"""Connections that do not wait for ever for a request to come."""

from __future__ import annotations

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from vilbench.serve.faults import wrong


def connections(seconds: float) -> type[asyncio.Protocol]:
    """A protocol whose clients have so many seconds for the head of a request.

    The web server itself bounds only the time between requests: who sends half of a head, or
    nothing at all, would keep a connection for as long as he likes.
    """

    class Connection(H11Protocol):
        """A connection; the clock runs from its beginning, or from a head's first byte."""

        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._clock = self.loop.call_later(seconds, self._late)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._clock is None and not self.transport.is_closing():
                self._clock = self.loop.call_later(seconds, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """An answer to what is not HTTP, in the shape of the others."""
            said = json.dumps(wrong("is no valid HTTP request").document()).encode()
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(said))),
                ("connection", "close"),
            ]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=said), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _late(self) -> None:
            self._clock = None
            if self.conn.their_state is h11.IDLE:
                self.transport.close()

    return Connection
