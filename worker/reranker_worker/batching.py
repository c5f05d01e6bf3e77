"""Which waiting pairs make the next batch. No I/O, no clock, no torch."""

from collections.abc import Sequence
from itertools import islice
from typing import Protocol


class Waiting(Protocol):
    """What a choice needs to know of a request: its model, its pairs' lengths in tokens, and how many are taken."""

    @property
    def model_key(self) -> int:
        """Return what tells its model from another one."""

    @property
    def lengths(self) -> Sequence[int]:
        """Return the tokens of each of its pairs, in order."""

    @property
    def shared(self) -> int:
        """Return the tokens that its pairs share: computed once in each batch that holds one of them."""

    @property
    def taken(self) -> int:
        """Return how many of its pairs earlier batches took."""


def take_batch(requests: Sequence[Waiting], max_tokens: int) -> list[int]:
    """Return how many further pairs the next batch takes from each request.

    Requests come in the order in which they are to be served. The first one's model decides; requests of other models
    wait for a batch of their own. A pair longer than `max_tokens` goes by itself.
    """
    counts = [0] * len(requests)
    free = max_tokens
    for i, request in enumerate(requests):
        if request.model_key != requests[0].model_key:
            continue
        for length in islice(request.lengths, request.taken, None):
            needed = length + (0 if counts[i] else request.shared)
            if needed > free and free < max_tokens:
                return counts
            counts[i] += 1
            free -= needed
    return counts
