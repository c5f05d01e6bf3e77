"""How fast requests may follow one another: at a rate, after a burst that is free. No I/O.

As client-go's limiter: who asks is given a token at once, perhaps one that is still to come, and waits for it. So all
get theirs in the order in which they asked.
"""

from collections.abc import Callable


class TokenBucket:
    """Tokens that come at `rate` a second and are kept up to `burst`; belongs to one event loop."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._counted_at = clock()

    def take(self) -> float:
        """Take a token; returns the seconds until it is there."""
        now = self._clock()
        come = (now - self._counted_at) * self._rate
        self._tokens = min(self._tokens + come, self._burst) - 1
        self._counted_at = now
        return max(-self._tokens / self._rate, 0.0)
