"""Where a server listens, under which names, and who could reach it there."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final

from vilbench.errors import InputError

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names under which a program on the same machine asks."""

LEAST: Final = 16
"""Fewest characters of a token."""


def check_reach(host: str, token: str | None) -> None:
    """Whether a server may listen at an address.

    Raises:
        InputError: It can be reached from elsewhere and no token guards it, or the token is
            too short.
    """
    if token is not None and len(token) < LEAST:
        raise InputError(f"a token has {LEAST} characters or more", field="--token")
    if token is None and not is_loopback(host):
        raise InputError(
            f"{host} can be reached from elsewhere: give --token, or stay on 127.0.0.1",
            field="--host",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def served_names(host: str, names: frozenset[str]) -> frozenset[str]:
    """Names that a client may ask the server by."""
    given = {host.lower(), *(one.lower() for one in names)}
    if host in ("0.0.0.0", "::"):  # noqa: S104 - told apart, not bound
        given |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return LOOPBACK | given


def bound(host: str, port: int) -> socket.socket:
    """A socket that holds the address.

    Raises:
        InputError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        field = "--port" if taken else "--host"
        told = f"cannot listen on {host}:{port}: {error.strerror}"
        raise InputError(
            f"{told}; --port 0 takes a free one" if taken else told, field=field
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    """The socket's address as it stands in a URL: host and port."""
    at = listener.getsockname()
    shown = f"[{at[0]}]" if ":" in at[0] else at[0]
    return f"{shown}:{at[1]}"
