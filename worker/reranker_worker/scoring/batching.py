"""Which waiting pairs make the next batch. No I/O, no clock, no torch."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol


class WaitingPair(NamedTuple):
    """A pair that no batch has taken: its tokens, and its position in its request."""

    tokens: int
    position: int


class Waiting(Protocol):
    """What a choice needs to know of a request: its model, and its pairs that still wait."""

    @property
    def model_key(self) -> int:
        """Return what tells its model from another one."""

    @property
    def waiting(self) -> Sequence[WaitingPair]:
        """Return its pairs that wait, the shortest first."""

    @property
    def shared(self) -> int:
        """Return the tokens that its pairs share: computed once in each batch that holds one of them."""


def take_batch(requests: Sequence[Waiting], max_tokens: int) -> list[list[int]]:
    """Return the places in its `waiting`, descending, of the pairs that the next batch takes from each request.

    Requests come in the order in which they are to be served. The first one's model decides; requests of other models
    wait for a batch of their own. Of a request's pairs the longest that still fits is always next, so that short ones
    are left to fill a batch up, and those of a batch are of like length. A pair over `max_tokens` goes by itself.
    """
    taken: list[list[int]] = [[] for _ in requests]
    free = max_tokens
    for request, places in zip(requests, taken, strict=True):
        if request.model_key != requests[0].model_key:
            continue
        waiting, place = request.waiting, len(request.waiting)
        if free == max_tokens and waiting[0].tokens + request.shared > free:
            places.append(0)
            return taken
        free -= request.shared
        # What is longer than the last one that fitted doesn't fit now.
        while place := bisect_right(waiting, free, hi=place, key=attrgetter("tokens")):
            place -= 1
            places.append(place)
            free -= waiting[place].tokens
        if len(places) < len(waiting):
            return taken
    return taken
