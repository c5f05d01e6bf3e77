"""Reads what safetensors files say they hold, and checks it against their size before anything is mapped or allocated.

No torch: only the header is read here.
"""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import EllipsisType

from reranker_worker.errors import WorkerError

_MAX_HEADER_BYTES = 32 << 20
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor is and what it is."""

    file: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """Return how many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a parameter's numbers are: a file's tensor, or some of its rows."""

    name: str
    info: TensorInfo
    rows: slice | EllipsisType = ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the parameter's shape."""
        if isinstance(self.rows, slice):
            return (self.rows.stop - self.rows.start, *self.info.shape[1:])
        return self.info.shape

    def split(self, parts: int) -> "list[Stored]":
        """Return the parameters whose rows lie one behind the other in this one; rows too many are the last one's."""
        if parts == 1:
            return [self]
        rows = (self.info.shape or (0,))[0]
        edges = [i * (rows // parts) for i in range(parts)] + [rows]
        return [Stored(self.name, self.info, slice(start, end)) for start, end in pairwise(edges)]


def read_header(path: Path, refuse: Callable[[str], WorkerError]) -> dict[str, TensorInfo]:
    """Return a file's tensors by name; raises what `refuse` makes of a message."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
            raise refuse(f"{path.name} is truncated or no safetensors file: its header can't be {length} bytes long")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise refuse(f"{path.name} has a header that isn't JSON") from error
    if not isinstance(header, dict):
        raise refuse(f"{path.name} has a header that isn't a JSON object")
    header.pop("__metadata__", None)
    spans: list[tuple[int, int]] = []
    tensors: dict[str, TensorInfo] = {}
    for name, entry in header.items():
        tensors[name], span = _tensor(path, name, entry, refuse)
        spans.append(span)
    _check_spans(path, spans, size - 8 - length, refuse)
    return tensors


def _tensor(
    path: Path, name: str, entry: object, refuse: Callable[[str], WorkerError]
) -> tuple[TensorInfo, tuple[int, int]]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
            dtype in _ITEM_BYTES and all(isinstance(size, int) and size >= 0 for size in shape)
        ):
            info = TensorInfo(path, tuple(shape), dtype)
        case _:
            raise refuse(f"{path.name} describes tensor {name[:200]!r} in a way that isn't understood")
    if end - begin != info.elements * _ITEM_BYTES[dtype]:
        raise refuse(
            f"{path.name}: tensor {name[:200]!r} of shape {shape} and type {dtype} can't fill {end - begin} bytes"
        )
    return info, (begin, end)


def _check_spans(
    path: Path, spans: list[tuple[int, int]], data_bytes: int, refuse: Callable[[str], WorkerError]
) -> None:
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise refuse(f"{path.name} has a gap or an overlap at byte {position} of its data")
        position = end
    if position != data_bytes:
        raise refuse(f"{path.name} should hold {position} bytes of data and holds {data_bytes}: truncated or overlong")


def read_json(path: Path, refuse: Callable[[str], WorkerError]) -> dict[str, object]:
    """Return a small JSON object from a file."""
    if not path.is_file():
        raise refuse(f"{path.name} is missing")
    if path.stat().st_size > _MAX_HEADER_BYTES:
        raise refuse(f"{path.name} is larger than {_MAX_HEADER_BYTES} bytes")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise refuse(f"{path.name} isn't JSON") from error
    if not isinstance(value, dict):
        raise refuse(f"{path.name} isn't a JSON object")
    return value
