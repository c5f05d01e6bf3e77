"""The load's history as plain data, and the figures that tell it. No I/O."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request of the load as it went."""

    sent: float  # seconds of the Unix clock
    phase: str
    asked: str  # name of the adapter that was asked for; empty: the base
    latency_s: float
    status: int
    revision: str
    adapter: str
    error: str
    scores: tuple[float, ...]  # [documents]
    connection: str  # `new`, or `kept` from former requests

    @classmethod
    def parse(cls, line: str) -> "Request":
        """Read a line that `load.py` printed."""
        row: dict[str, Any] = json.loads(line)
        sent, scores = row.pop("time"), tuple(row.pop("scores"))
        names = ("phase", "asked", "latency_s", "status", "revision", "adapter", "error", "connection")
        return cls(sent=sent, scores=scores, **{name: row[name] for name in names})

    @property
    def failed(self) -> bool:
        """Tell whether the client got no scores."""
        return bool(self.error)

    @property
    def done(self) -> float:
        """Return when its answer was there, by the Unix clock."""
        return self.sent + self.latency_s


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values don't exceed; NaN of no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def milliseconds(seconds: float) -> str:
    """Return a latency as a table shows it."""
    return "-" if math.isnan(seconds) else f"{seconds * 1000:.0f} ms"
