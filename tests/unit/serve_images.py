"""A real server of images on loopback that gives what its paths say, and some that misbehave."""

from __future__ import annotations

import contextlib
import struct
import threading
import zlib

from loopback import Handler, Loopback

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


class ImageServer(Loopback):
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

        class Giving(Handler):
            def answer(self) -> None:
                outer.asked.append(self.path)
                outer.shown = dict(self.headers.items())
                with contextlib.suppress(OSError):
                    outer.answer(self)
                self.close_connection = True

        super().__init__(Giving, host, port, certificate)

    def stop(self) -> None:
        self.left.set()
        super().stop()

    def answer(self, to: Handler) -> None:
        """Answers as the path says."""
        name, _, what = to.path.partition("?")[0].removeprefix("/").partition("/")
        if name == "sound":
            to.give(SOUND, {"Content-Type": "image/png"})
        elif name == "large":
            to.give(SOUND + b"\0" * int(what))
        elif name == "typed":
            to.give(SOUND, {"Content-Type": "text/html"})
        elif name == "untyped":
            to.give(b"<script>alert(1)</script>", {"Content-Type": "image/png"})
        elif name == "svg":
            to.give(b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"Content-Type": "image/png"})
        elif name == "bomb":
            to.give(bomb(50_000, 50_000), {"Content-Type": "image/png"})
        elif name == "packed":
            to.give(SOUND, {"Content-Encoding": "gzip"})
        elif name == "status":
            to.give(SOUND, {"Location": "/sound"}, int(what))
        elif name == "cut":
            to.give(SOUND[:40], {"Content-Length": "1000"})
        elif name == "announced":
            to.give(b"", {"Content-Length": str(1 << 40)})
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
