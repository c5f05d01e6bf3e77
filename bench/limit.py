"""What the processor could do at best: the speed of its matrix products, and how many a pair needs."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

# As many rows as a batch has tokens.
_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Dimensions:
    """An encoder's sizes."""

    layers: int
    hidden: int
    intermediate: int

    @classmethod
    def of(cls, model: Path) -> Self:
        """Read a model folder's config.json."""
        config = json.loads((model / "config.json").read_text())
        return cls(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])

    def pair_flop(self, tokens: float) -> float:
        """Return the operations of a pair in all layers, whatever an engine may leave out of the last one."""
        linear = 2 * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)
        return self.layers * tokens * (linear + 4 * tokens * self.hidden)


class GemmPeak:
    """Measures matrix products at a model's shapes, a little at a time between whatever else is measured."""

    def __init__(self, dimensions: Dimensions, dtype: torch.dtype) -> None:
        hidden, inner = dimensions.hidden, dimensions.intermediate
        shapes = ((hidden, hidden), (hidden, inner), (inner, hidden))
        self._products = [(_matrix(_ROWS, k, dtype), _matrix(k, n, dtype)) for k, n in shapes]
        self._multiply = torch._int_mm if dtype is torch.int8 else torch.mm  # noqa: SLF001
        self._flop = sum(2 * _ROWS * k * n for k, n in shapes)
        self._seconds: list[float] = []

    def measure(self, times: int = 5) -> None:
        """Time each shape's product once a turn."""
        with torch.inference_mode():
            for _ in range(times):
                started = time.perf_counter()
                for left, right in self._products:
                    self._multiply(left, right)
                self._seconds.append(time.perf_counter() - started)

    @property
    def flop_per_s(self) -> float:
        """Return the best speed seen: what comes between only makes it slower."""
        return self._flop / min(self._seconds)


def _matrix(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    numbers = torch.randn(rows, columns)
    return (numbers * 32).clamp(-127, 127).to(dtype) if dtype is torch.int8 else numbers.to(dtype)


def limit_fraction(pairs_per_s: float, lengths: Sequence[int], dimensions: Dimensions, peak: GemmPeak) -> float:
    """Return which share of the peak so many pairs of such lengths are."""
    flop = sum(dimensions.pair_flop(length) for length in lengths) / len(lengths)
    return pairs_per_s * flop / peak.flop_per_s
