"""How much is asked of this worker, by what it can do: measured on itself, over the last half minute."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 30.0
_SLOT_S = 1.0


@dataclass(slots=True)
class _Slot:
    """What happened in a second: pairs that clients asked for, pairs that were scored, and the device's time."""

    began_s: float
    asked: int = 0
    scored: int = 0
    busy_s: float = 0.0


class LoadMeter:
    """Counts pairs on the event loop and on the device thread; any thread may read the ratio."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_s = clock()
        self._lock = threading.Lock()
        self._slots: deque[_Slot] = deque()
        self._seconds_per_pair = 0.0

    def asked(self, pairs: int) -> None:
        """Count what a client asked for, whether it is admitted or not: refused load is load."""
        with self._lock:
            self._slot().asked += pairs

    def scored(self, pairs: int, busy_s: float) -> None:
        """Count a batch; what a pair takes is remembered while nothing is scored."""
        with self._lock:
            slot = self._slot()
            slot.scored += pairs
            slot.busy_s += busy_s
            self._seconds_per_pair = sum(each.busy_s for each in self._slots) / sum(each.scored for each in self._slots)

    def ratio(self) -> float:
        """Return the pairs asked for in a second by those that the device scores in a second of work.

        1 is all that this worker can do; more is asked of one that refuses. Batches fill as load grows, so below 1 the
        ratio is rather too high than too low.
        """
        with self._lock:
            self._forget()
            seen_s = max(_SLOT_S, min(WINDOW_S, self._clock() - self._began_s))
            return sum(slot.asked for slot in self._slots) / seen_s * self._seconds_per_pair

    def _slot(self) -> _Slot:
        now = self._clock()
        if not self._slots or now - self._slots[-1].began_s >= _SLOT_S:
            self._forget()
            self._slots.append(_Slot(now))
        return self._slots[-1]

    def _forget(self) -> None:
        oldest = self._clock() - WINDOW_S
        while self._slots and self._slots[0].began_s < oldest:
            self._slots.popleft()
