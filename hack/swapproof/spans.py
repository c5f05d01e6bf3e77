"""What may answer when: before, during and after each step. No I/O."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hack.stage.history import Request
from hack.swapproof.record import Step
from hack.swapproof.wanted import Serves


@dataclass(frozen=True)
class Span:
    """A time in which each of some states may answer."""

    start: float
    end: float
    states: tuple[Serves, ...]
    never: tuple[str, ...] = ()

    @property
    def steady(self) -> bool:
        """Tell whether no step is under way."""
        return len(self.states) == 1

    def touches(self, request: Request) -> bool:
        """Tell whether a request was under way in it."""
        return self.start <= request.done and request.sent <= self.end


def spans(steps: Sequence[Step]) -> list[Span]:
    """Return the whole time as spans in order; a step that was seen Ready is over."""
    return list(_spans(steps))


def _spans(steps: Sequence[Step]) -> Iterator[Span]:
    if not steps:
        return
    yield Span(-math.inf, steps[0].began, (steps[0].before,))
    for step, following in pairwise((*steps, None)):
        if step is None:
            return
        yield Span(step.began, step.ready, (step.before, step.after), step.never)
        yield Span(step.ready, following.began if following else math.inf, (step.after,))
