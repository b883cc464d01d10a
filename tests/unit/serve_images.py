"""A real server of images on loopback that gives what its paths say, and some that misbehave."""

from __future__ import annotations

import contextlib
import ssl
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from vilbench.testing import tiny_png

SOUND = tiny_png("teal", (64, 64))


def bomb(width: int, height: int) -> bytes:
    """A header of any size before next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + end


class ImageServer:
    """Gives images, until it is left.

    Args:
        host: Address to listen on.
        port: 0 takes one that is free.
        certificate: File of certificate and key; None for plain HTTP.

    Attributes:
        asked: Paths so far.
        shown: Headers of the last request.
        sent: Bytes of bodies that have been taken off its hands.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, certificate: str | None = None
    ) -> None:
        self.asked: list[str] = []
        self.shown: dict[str, str] = {}
        self.sent = 0
        self.left = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.shown = dict(self.headers.items())
                with contextlib.suppress(OSError):
                    outer.answer(self)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Keeps quiet."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.left.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        """Answers as the path says."""
        name, _, what = to.path.partition("?")[0].removeprefix("/").partition("/")
        if name == "sound":
            _give(to, SOUND, {"Content-Type": "image/png"})
        elif name == "large":
            _give(to, SOUND + b"\0" * int(what), {})
        elif name == "typed":
            _give(to, SOUND, {"Content-Type": "text/html"})
        elif name == "untyped":
            _give(to, b"<script>alert(1)</script>", {"Content-Type": "image/png"})
        elif name == "svg":
            _give(to, b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"Content-Type": "image/png"})
        elif name == "bomb":
            _give(to, bomb(50_000, 50_000), {"Content-Type": "image/png"})
        elif name == "packed":
            _give(to, SOUND, {"Content-Encoding": "gzip"})
        elif name == "status":
            _give(to, SOUND, {"Location": "/sound"}, int(what))
        elif name == "cut":
            _give(to, SOUND[:40], {"Content-Length": "1000"})
        elif name == "announced":
            _give(to, b"", {"Content-Length": str(1 << 40)})
            self.left.wait(5)
        elif name == "silent":
            self.left.wait(5)
        elif name == "noise":
            to.wfile.write(b"\0\xff what is this\n\n" * 100)
        elif name == "headers":
            to.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for k in range(100_000):
                to.wfile.write(b"X-%d: %s\r\n" % (k, b"x" * 100))
        elif name in ("endless", "drip"):
            to.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            part = b"x" * (65536 if name == "endless" else 1)
            while not self.left.wait(0 if name == "endless" else 0.02):
                to.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.sent += len(part)


def _give(
    to: BaseHTTPRequestHandler, data: bytes, headers: dict[str, str], status: int = 200
) -> None:
    to.send_response(status)
    for name, value in {"Content-Length": str(len(data)), **headers}.items():
        to.send_header(name, value)
    to.end_headers()
    to.wfile.write(data)
