"""Servers of HTTP in a thread of this process, whose answers a test writes."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Self

JSON = MappingProxyType({"Content-Type": "application/json"})
NOTHING: Mapping[str, str] = MappingProxyType({})


class Handler(BaseHTTPRequestHandler):
    """What a server does with a request: `answer`, in classes below it."""

    def answer(self) -> None:
        raise NotImplementedError

    def body(self) -> bytes:
        """What was sent."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def give(self, data: bytes, headers: Mapping[str, str] = NOTHING, status: int = 200) -> None:
        """Answers; a length among `headers` takes the place of the true one."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""


class Loopback:
    """A server, until it is left.

    Args:
        handler: What it does with requests.
        host: Address to listen on.
        port: 0 takes one that is free.
        certificate: File of certificate and key; None for plain HTTP.

    Attributes:
        port: Where it listens.
    """

    def __init__(
        self,
        handler: type[Handler],
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: str | None = None,
    ) -> None:
        self._server = ThreadingHTTPServer((host, port), handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Lets the port go; nothing is answered from then on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
