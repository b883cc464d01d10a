"""Running the app until it is told to stop; what is under way ends first."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

import uvicorn

from vilbench.serve.app import Application
from vilbench.serve.connections import connections

_CONNECTIONS = 4096


def settings(made: Application) -> uvicorn.Config:
    """How the web server is run."""
    return uvicorn.Config(
        made.app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        http=connections(made.service.limits.body_seconds),
        h11_max_incomplete_event_size=64 << 10,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
    )


class Server(uvicorn.Server):
    """A web server whose first signal refuses new requests and waits for those under way."""

    def __init__(self, made: Application) -> None:
        super().__init__(settings(made))
        self._made = made
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it has stopped."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets what is running end; the second gives it up."""
        service = self._made.service
        if self._loop is None:
            super().handle_exit(sig, frame)
        elif service.stopping:
            self._loop.call_soon_threadsafe(service.halted.set)
        else:
            service.stopping = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._draining = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        await self._made.service.drained()
        self.should_exit = True


def run(made: Application, listener: socket.socket) -> None:
    """Serves on a socket until a signal ends it."""
    Server(made).run(sockets=[listener])
