"""Numbers to int8 rows and int8 products back to numbers, each in one pass over memory on a CPU."""

import ctypes
from typing import NamedTuple

import torch
from torch.nn import functional

from reranker_worker.kernels.library import ANY, AVX2, AVX512, Compiled, function

ZERO_POINT = 128
"""The byte that stands for 0; ZERO_POINT in int8_rows.c."""
LARGEST = 127
_WIDTH_MULTIPLE = 16
_MOST_NUMBERS = 32768
"""Of a row; MOST_NUMBERS in int8_rows.c."""
_FUNCTIONS = tuple(
    Compiled(dtype, f"int8_rows_{name}_{instructions}", needs)
    for dtype, name in ((torch.bfloat16, "bf16"), (torch.float32, "f32"))
    for instructions, needs in (("avx512", AVX512), ("avx2", AVX2), ("plain", ANY))
)
"""What int8_rows.c has, the fastest first."""


class Int8Rows(NamedTuple):
    """Rows of bytes, each with a scale of its own: a number is (byte - ZERO_POINT) * scale.

    bytes: uint8 [.., width]. scales: float32 [.., 1]; not finite where a number of the row isn't.
    """

    bytes: torch.Tensor
    scales: torch.Tensor


class _Request(ctypes.Structure):
    """Request in int8_rows.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "scales", "bias", "output", "bytes", "byte_scales")),
        *((name, ctypes.c_int64) for name in ("rows", "width")),
        ("is_gelu", ctypes.c_int32),
    )


def from_product(product: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return a product of int8 rows as the numbers that it stands for: [.., width] times [.., 1] plus [width]."""
    numbers = torch.empty_like(product)
    if not _ran(product, scales, bias, numbers=numbers):
        numbers.copy_(_scaled(product, scales, bias))
    return numbers


def to_int8(numbers: torch.Tensor) -> Int8Rows:
    """Return the nearest int8 rows of numbers, [.., width]: the largest of a row is 127 times its scale."""
    rows = _empty(numbers)
    return rows if _ran(numbers, None, None, rows=rows) else _nearest(numbers.float())


def gelu_to_int8(product: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> Int8Rows:
    """Return GELU of the numbers that a product stands for as int8 rows, for the next product."""
    rows = _empty(product)
    if _ran(product, scales, bias, rows=rows, gelu=True):
        return rows
    return _nearest(functional.gelu(_scaled(product, scales, bias)))


def _empty(numbers: torch.Tensor) -> Int8Rows:
    bytes_ = torch.empty(numbers.shape, dtype=torch.uint8, device=numbers.device)
    return Int8Rows(bytes_, torch.empty((*numbers.shape[:-1], 1), dtype=torch.float32, device=numbers.device))


def _scaled(product: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return product.float() * scales + (0 if bias is None else bias)


def _nearest(numbers: torch.Tensor) -> Int8Rows:
    largest = numbers.abs().amax(-1, keepdim=True)
    rounded = (numbers * torch.where(largest > 0, LARGEST / largest, 0)).round() + ZERO_POINT
    return Int8Rows(rounded.nan_to_num().to(torch.uint8), largest / LARGEST)


def _ran(
    input: torch.Tensor,  # noqa: A002 - its name in the request
    scales: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    numbers: torch.Tensor | None = None,
    rows: Int8Rows | None = None,
    gelu: bool = False,
) -> bool:
    """Let the C code fill `numbers` or `rows`, and tell whether it could."""
    compiled = function(input.dtype, _FUNCTIONS) if _is_covered(input, scales, bias) else None
    if compiled is None:
        return False
    width = input.shape[-1]
    tensors = (input, scales, bias, numbers, *(rows or (None, None)))
    addresses = (None if each is None else each.data_ptr() for each in tensors)
    failure = compiled(_Request(*addresses, input.numel() // width, width, gelu))
    if failure:
        raise RuntimeError(f"rows can't be turned into int8 or back ({failure})")
    return True


def _is_covered(input: torch.Tensor, scales: torch.Tensor | None, bias: torch.Tensor | None) -> bool:  # noqa: A002
    width = input.shape[-1]
    return (
        input.device.type == "cpu"
        and width % _WIDTH_MULTIPLE == 0
        and width <= _MOST_NUMBERS
        and input.is_contiguous()
        and (scales is None or scales.is_contiguous())
        and (bias is None or (bias.dtype is input.dtype and bias.is_contiguous()))
    )
