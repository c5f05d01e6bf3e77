"""How fast a download goes, from what was on disk at what time. No I/O."""

from collections import deque
from dataclasses import dataclass, field

_WINDOW_S = 10.0


@dataclass
class Pace:
    """The bytes of the last ten seconds; what an earlier process brought doesn't count."""

    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def bytes_per_second(self, now_s: float, done_bytes: int) -> int:
        """Take in how much there is by now; return the rate, 0 while nothing came."""
        if self._samples and done_bytes < self._samples[-1][1]:  # the source has changed, and it began anew
            self._samples.clear()
        self._samples.append((now_s, done_bytes))
        while len(self._samples) > 2 and now_s - self._samples[1][0] >= _WINDOW_S:
            self._samples.popleft()
        since_s, before = self._samples[0]
        return int((done_bytes - before) / (now_s - since_s)) if now_s > since_s else 0
