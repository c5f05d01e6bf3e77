"""A share of what clients ask, kept for a moment while a candidate is compared on it.

It stays in memory, is bounded, is logged nowhere, and goes when the manifest no longer asks for it.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from reranker_worker.serving import ScoreResult

MOST_SAMPLES = 64
#: Of a sample, and of all of them together; a request beyond that isn't taken.
MOST_CHARACTERS = 1_000_000
#: Fewer documents have no order.
LEAST_DOCUMENTS = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that was answered, and its scores in the order of its documents."""

    number: int
    revision: str
    adapter: str | None
    query: str
    documents: Sequence[str]
    scores: Sequence[float]

    @property
    def characters(self) -> int:
        """Return how much room its texts take."""
        return len(self.query) + sum(map(len, self.documents))


def samples_document(kept: Sequence[Sample]) -> bytes:
    """Return samples as the internal port tells them."""
    return orjson.dumps({"samples": kept})


@dataclass
class Samples:
    """The newest samples, written by the clients' side and read by the operator's."""

    draw: Callable[[], float] = random.random
    _percent: int = 0
    _number: int = 0
    _characters: int = 0
    _kept: deque[Sample] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask_for(self, percent: int) -> None:
        """Take so many of 100 requests from now on; 0 also forgets those that were taken."""
        with self._lock:
            self._percent = percent
            if not percent:
                self._kept.clear()
                self._characters = 0

    def offer(self, query: str, documents: Sequence[str], adapter: str | None, result: ScoreResult) -> None:
        """Keep an answered request, or not, as chance has it; it costs the request nothing but that."""
        if len(documents) < LEAST_DOCUMENTS or self.draw() * 100 >= self._percent:
            return
        with self._lock:
            sample = Sample(self._number + 1, result.revision, adapter, query, documents, result.scores)
            if not self._percent or sample.characters > MOST_CHARACTERS:
                return
            self._number = sample.number
            self._kept.append(sample)
            self._characters += sample.characters
            while len(self._kept) > MOST_SAMPLES or self._characters > MOST_CHARACTERS:
                self._characters -= self._kept.popleft().characters

    def after(self, number: int) -> list[Sample]:
        """Return the samples beyond a number, the oldest first."""
        with self._lock:
            return [sample for sample in self._kept if sample.number > number]
