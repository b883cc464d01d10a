"""Addresses that images are fetched from: what is allowed, and what a name may resolve to.

A server that fetches what strangers name can be made to ask its own network for them. So an
address is read by one strict expression and by nothing else, its host must be in a list, and
where the host leads is checked as an IP address, which is then the one that is connected to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from vilbench.errors import InputError

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 2048
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,20}}|\[[0-9a-f:.]{{2,45}}\]"
_PORT = r"[1-9][0-9]{0,4}"
_ENTRY = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>{_PORT}))?", re.I | re.A)
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>{_PORT}))?"
    r"(?P<path>/[A-Za-z0-9\-._~%!$&'()*+,;=:@/]*)?(?P<query>\?[A-Za-z0-9\-._~%!$&'()*+,;=:@/?]*)?",
    re.I | re.A,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*given: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, given))


_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_NEVER = _networks(  # where clouds keep the keys of a machine
    "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128"
)
_NOT_PUBLIC = _networks(
    *("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "fec0::/10"),
    # IPv4 in other clothes
    *("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "::ffff:0:0/96", "::/96"),
)


class AddressError(ValueError):
    """An address that nothing is fetched from; the message is for clients."""


class Target(NamedTuple):
    """Where an image is.

    Attributes:
        tls: Whether the server must show a certificate for the host.
        host: A name, or an IP address, in lower case.
        port: From 1 to 65535.
        path: With the query.
        exact: Whether the list has the host with this very port.
    """

    tls: bool
    host: str
    port: int
    path: str
    exact: bool

    @property
    def literal(self) -> IP | None:
        """The host where it is an IP address."""
        return _literal(self.host)

    @property
    def origin(self) -> str:
        """Host and port as they stand in a `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class AllowList:
    """Hosts that images may be fetched from.

    `HOST` allows https at port 443 of a host on the public network. `HOST:PORT` allows https
    and http at this port, on a private network too. Loopback and link-local addresses must be
    listed as what they are, `127.0.0.1:8080` or `localhost:8080`: no name leads there.

    Args:
        given: Entries.

    Raises:
        InputError: One is no host, is spelt in an odd way, or lacks the port that it needs.
    """

    def __init__(self, given: Iterable[str]) -> None:
        self._hosts: set[str] = set()
        self._places: set[tuple[str, int]] = set()
        for entry in given:
            found = _ENTRY.fullmatch(entry)
            if found is None or not _well_spelt(found["host"]):
                raise InputError(
                    f"'{entry}' is no host: example.org, or example.org:8443, names of other "
                    "scripts as xn--..., IP addresses in their usual form",
                    field="--allow-image-host",
                )
            host = _bare(found["host"])
            if found["port"] is None:
                literal = _literal(host)
                if host == "localhost" or (literal is not None and not _is_public(literal)):
                    told = f"'{entry}' is not on the public network: name its port, too"
                    raise InputError(told, field="--allow-image-host")
                self._hosts.add(host)
            else:
                self._places.add((host, int(found["port"])))

    def target(self, url: str) -> Target:
        """Reads an address.

        Raises:
            AddressError: It is no plain http(s) address, or is not in the list.
        """
        found = _URL.fullmatch(url) if len(url) <= _LONGEST else None
        if found is None:
            raise AddressError("is no plain https address")
        if not _well_spelt(found["host"]):
            raise AddressError("has a host in an odd form")
        host = _bare(found["host"])
        tls = found["scheme"].lower() == "https"
        port = int(found["port"] or (443 if tls else 80))
        exact = (host, port) in self._places
        if not exact and not (tls and port == 443 and host in self._hosts):
            raise AddressError("is at no host that this server fetches images from")
        path = (found["path"] or "/") + (found["query"] or "")
        return Target(tls, host, port, path, exact)

    def check(self, target: Target, address: IP) -> None:
        """Whether a target may be at an address that its name resolves to.

        Raises:
            AddressError: It may not.
        """
        if address == target.literal:
            return
        if not _within(address, _NEVER):
            at_home = target.host == "localhost" and address.is_loopback
            if _is_public(address) or (target.exact and (at_home or _within(address, _PRIVATE))):
                return
        raise AddressError("is at a place in the network that nothing is fetched from")


def _bare(host: str) -> str:
    return host.lower().removeprefix("[").removesuffix("]")


def _literal(host: str) -> IP | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _well_spelt(host: str) -> bool:
    """Whether it is a name that no resolver takes for a number, or an IP address as usual."""
    address = _literal(_bare(host))
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped is None and f"[{address}]" == host.lower()
    if address is not None:
        return str(address) == host
    last = host.rpartition(".")[2]
    return "[" not in host and re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last, re.I) is None


def _is_public(address: IP) -> bool:
    strange = address.is_multicast or address.is_reserved or _within(address, _NOT_PUBLIC)
    return address.is_global and not strange


def _within(address: IP, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
