"""What a download tells while it runs, how it is given room, and how it is told to stop."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


class Cancelled(Exception):
    """The manifest no longer needs the artifact."""


def _boundless(_: int) -> None:
    return


@dataclass
class Transfer:
    """The link between the fetcher's loop and one download on its own thread.

    make_room: called with the bytes that are to come before they do; raises SourceError where they don't fit.
    """

    make_room: Callable[[int], None] = _boundless
    total_bytes: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def expect(self, total_bytes: int) -> None:
        """Take in how large the whole artifact is."""
        self.make_room(total_bytes)
        self.total_bytes = total_bytes

    def check(self) -> None:
        """Raise Cancelled once the download isn't wanted any more."""
        if self.cancelled.is_set():
            raise Cancelled
