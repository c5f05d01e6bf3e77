"""Ports that nothing listens on."""

import socket
from random import SystemRandom

#: Below those that the kernel gives to outgoing connections, and those that Kubernetes gives to Services.
FIRST, LAST = 20000, 29999


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of this address that nothing listens on now; 0.0.0.0 stands for all addresses."""
    return free_ports(1, address)[0]


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return so many of them, in order."""
    found: set[int] = set()
    while len(found) < count:
        port = SystemRandom().randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            found.add(port)
    return sorted(found)
