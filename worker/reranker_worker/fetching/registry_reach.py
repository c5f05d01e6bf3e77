"""Where a registry may send its clients on to: to nothing that only insiders reach, unless it is one of them.

Token servers and redirects are a registry's own words. Without a bound they would have the fetcher ask what no outsider
can ask, and hand the token that it found there to the registry. What a redirect brings is held to its digest and goes
nowhere else, and a cloud's buckets may have private addresses for those within: so a redirect's bound is wider.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.request import getproxies

import httpx2

from reranker_worker.errors import SourceError
from reranker_worker.fetching.registry_auth import FOR_A_TOKEN

Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
#: Of Azure, AWS by IPv6 and Alibaba Cloud; those of the others are link-local.
_METADATA = frozenset(map(ip_address, ("168.63.129.16", "fd00:ec2::254", "100.100.100.200")))


class Zone(IntEnum):
    """From where an address can be reached, the widest first."""

    PUBLIC = 0
    PRIVATE = 1
    MACHINE = 2
    LINK = 3  # clouds' metadata, above all


@dataclass(frozen=True)
class Reach:
    """The bound for one registry's downloads, by what its hooks see; `at` begins the messages."""

    at: str
    registry: httpx2.URL
    _registry_peers: list[Address] = field(init=False, default_factory=list)

    def check_request(self, request: httpx2.Request) -> None:
        """Refuse to ask a host of the registry's choice that it may not name; raises SourceError."""
        if request.url.host != self.registry.host:
            self._check(request, addresses(request.url.host))

    def check_answer(self, answer: httpx2.Response) -> None:
        """Refuse an answer before it is read: whoever owns a name may change what it stands for after a lookup."""
        peers = [] if getproxies() else peer(answer)  # a proxy's address says nothing of whom it asked
        if answer.request.url.host == self.registry.host:
            self._registry_peers.extend(peers)
        else:
            self._check(answer.request, peers)

    def _check(self, request: httpx2.Request, target: list[Address]) -> None:
        always = Zone.PUBLIC if request.extensions.get(FOR_A_TOKEN) else Zone.PRIVATE
        refused = forbidden(target, self._registry_peers or addresses(self.registry.host), always)
        if refused is not None:
            message = (
                f"{self.at}: the registry sends its clients on to {request.url.host}, whose address {refused} isn't "
                "public; only a registry that has such an address itself may do so, and none may name link-local or "
                "metadata addresses"
            )
            raise SourceError("SourceUnreachable", message)


def forbidden(target: Iterable[Address], registry: Iterable[Address], always: Zone) -> Address | None:
    """Return the first of a target's addresses that a registry of these addresses may not name; None without one.

    always: the narrowest zone that any registry may name.
    """
    # A registry that has a public address, too, or none that is known, is no insider.
    inside = max(always, min(map(zone, registry), default=Zone.PUBLIC))
    return next((each for each in target if zone(each) > min(inside, Zone.MACHINE)), None)


def zone(address: Address) -> Zone:
    """Return from where an address can be reached; of an IPv6 one that leads to an IPv4 one, this one's."""
    if isinstance(address, IPv6Address) and (inner := _inner(address)) is not None:
        address = inner
    if address.is_link_local or address in _METADATA:
        return Zone.LINK
    if address.is_loopback or address.is_unspecified:
        return Zone.MACHINE
    return Zone.PUBLIC if address.is_global else Zone.PRIVATE


def _inner(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped


def peer(answer: httpx2.Response) -> list[Address]:
    """Return the address that an answer comes from."""
    try:
        at = answer.extensions["network_stream"].get_extra_info("server_addr")
    except OSError as error:
        raise httpx2.ReadError("the connection broke off") from error
    return [ip_address(at[0])]


def addresses(host: str) -> list[Address]:
    """Look a host up; none where that fails: then nothing is reached, or a proxy's lookups decide."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ip_address(at[0]) for *_, at in found]
