"""What a download tells while it runs, and how it is told to stop."""

import threading
from dataclasses import dataclass, field


class Cancelled(Exception):
    """The manifest no longer needs the artifact."""


@dataclass
class Transfer:
    """The link between the fetcher's loop and one download on its own thread."""

    total_bytes: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise Cancelled once the download isn't wanted any more."""
        if self.cancelled.is_set():
            raise Cancelled
