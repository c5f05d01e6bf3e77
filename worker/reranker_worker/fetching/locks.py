"""Locks between the fetchers that share a cache; a lock ends with the process that holds it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reranker_worker.fetching.transfer import Transfer

_RETRY_S = 0.2  # a file lock wakes nobody


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock, for a short while only: others wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def held_in_turn(path: Path, transfer: Transfer) -> Iterator[None]:
    """Hold a lock for as long as a download takes; while another has it, wait, unless the download is given up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        while not _taken(file.fileno()):
            transfer.check()
            transfer.cancelled.wait(_RETRY_S)
        yield


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock if nobody else does, and tell whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        yield _taken(file.fileno())


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
