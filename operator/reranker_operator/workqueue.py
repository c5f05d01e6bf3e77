"""A queue of keys: each once, never two at a time, failed ones again after a backoff.

As client-go's: `dirty` keys wait or changed while being worked on, `processing` ones are being worked on. A key that is
added while it is processed is handed out again when it is done, so no change is missed and none is done twice at once.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 300.0


class WorkQueue(Generic[K]):
    """Keys that are due now, and keys that will be; belongs to one event loop."""

    def __init__(self, clock: Callable[[], float], rng: random.Random | None = None) -> None:
        self._clock = clock
        self._random = rng or random.Random()  # noqa: S311  (spreads retries)
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._due: dict[K, float] = {}
        self._timetable: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._dirty)

    def add(self, key: K) -> None:
        """Make a key due now; what it was due for later is done with it."""
        self._due.pop(key, None)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._changed.set()

    def add_after(self, key: K, delay_s: float) -> None:
        """Make a key due in a while, unless it is due earlier."""
        due = self._clock() + delay_s
        if key in self._dirty or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._timetable, (due, next(self._order), key))
        self._changed.set()

    def retry(self, key: K) -> float:
        """Make a failed key due after its backoff, which doubles with each failure; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(BACKOFF_FIRST_S * 2.0 ** min(failures, 32), BACKOFF_MAX_S)
        delay = backoff * self._random.uniform(0.5, 1.0)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Begin the next backoff of a key from the start: it succeeded."""
        self._failures.pop(key, None)

    def take(self) -> K | None:
        """The next key that is due, now being processed; None when there is none."""
        self._expire()
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """End the processing of a key; it is due at once if it was added meanwhile."""
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._changed.set()

    def due_in(self) -> float | None:
        """Seconds until the next delayed key is due; None when no key is delayed."""
        while self._timetable and self._due.get(self._timetable[0][2]) != self._timetable[0][0]:
            heapq.heappop(self._timetable)
        return max(0.0, self._timetable[0][0] - self._clock()) if self._timetable else None

    def _expire(self) -> None:
        while self.due_in() == 0.0:
            self.add(heapq.heappop(self._timetable)[2])

    async def get(self) -> K:
        """Wait for a key that is due; the caller must call `done` for it."""
        while (key := self.take()) is None:
            self._changed.clear()
            try:
                async with asyncio.timeout(self.due_in()):
                    await self._changed.wait()
            except TimeoutError:
                continue
        if self._ready:
            self._changed.set()  # for the next worker that waits
        return key
