"""Numbers to int8 rows and int8 products back to numbers, each in one pass over memory on a CPU."""

import ctypes
from typing import NamedTuple

import torch
from torch.nn import functional

from reranker_worker.kernels.library import ROW_MULTIPLE, function, row_functions

ZERO_POINT, GELU_ZERO_POINT = 128, 0
"""ZERO_POINT and GELU_ZERO_POINT in int8_rows.c."""
_MOST_NUMBERS = 32768
"""Of a row; MOST_NUMBERS in int8_rows.c."""
_FUNCTIONS = row_functions("int8_rows")


class Int8Rows(NamedTuple):
    """Rows of bytes, each with steps of its own: a number is (byte - zero_point) * scale + offset.

    bytes: uint8 [.., width]. scales, offsets: float32 [.., 1]; a scale isn't finite where a number of the row isn't.
    """

    bytes: torch.Tensor
    scales: torch.Tensor
    offsets: torch.Tensor
    zero_point: int


class _Request(ctypes.Structure):
    """Request in int8_rows.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "scales", "offsets", "sums", "bias", "output")),
        *((name, ctypes.c_void_p) for name in ("bytes", "byte_scales", "byte_offsets")),
        *((name, ctypes.c_int64) for name in ("rows", "width")),
        ("is_gelu", ctypes.c_int32),
    )


class Product(NamedTuple):
    """What a layer's product of int8 rows lacks before it is the layer's output.

    of_bytes: [.., out], the sums over bytes less their zero point times weights. sums: float32 [out], of each output's
    weights. bias: [out].
    """

    of_bytes: torch.Tensor
    rows: Int8Rows
    sums: torch.Tensor
    bias: torch.Tensor | None


def to_int8(numbers: torch.Tensor) -> Int8Rows:
    """Return the nearest int8 rows of numbers, [.., width]: a row's steps go from its lowest to its highest."""
    rows = _empty(numbers, ZERO_POINT)
    return rows if _ran(numbers, None, rows=rows) else _nearest(numbers.float(), ZERO_POINT)


def from_product(product: Product) -> torch.Tensor:
    """Return the numbers that a product stands for, [.., out]."""
    numbers = torch.empty_like(product.of_bytes)
    if not _ran(product.of_bytes, product, numbers=numbers):
        numbers.copy_(_whole(product))
    return numbers


def gelu_to_int8(product: Product) -> Int8Rows:
    """Return GELU of the numbers that a product stands for as int8 rows, for the next product."""
    rows = _empty(product.of_bytes, GELU_ZERO_POINT)
    if _ran(product.of_bytes, product, rows=rows, gelu=True):
        return rows
    return _nearest(functional.gelu(_whole(product)), GELU_ZERO_POINT)


def _empty(numbers: torch.Tensor, zero_point: int) -> Int8Rows:
    scales, offsets = (numbers.new_empty((*numbers.shape[:-1], 1), dtype=torch.float32) for _ in range(2))
    return Int8Rows(numbers.new_empty(numbers.shape, dtype=torch.uint8), scales, offsets, zero_point)


def _whole(product: Product) -> torch.Tensor:
    numbers = product.of_bytes.float() * product.rows.scales + product.sums * product.rows.offsets
    return numbers if product.bias is None else numbers + product.bias


def _nearest(numbers: torch.Tensor, zero_point: int) -> Int8Rows:
    lowest, highest = numbers.aminmax(dim=-1, keepdim=True)
    scales = (highest - lowest) / (255 if zero_point == GELU_ZERO_POINT else 254)
    offsets = lowest if zero_point == GELU_ZERO_POINT else (lowest + highest) / 2
    steps = ((numbers - offsets) * torch.where(scales > 0, 1 / scales, 0)).round() + zero_point
    return Int8Rows(steps.nan_to_num().to(torch.uint8), scales + 0 * numbers.sum(-1, keepdim=True), offsets, zero_point)


def _ran(
    input: torch.Tensor,  # noqa: A002 - its name in the request
    product: Product | None,
    *,
    numbers: torch.Tensor | None = None,
    rows: Int8Rows | None = None,
    gelu: bool = False,
) -> bool:
    """Let the C code fill `numbers` or `rows`, and tell whether it could."""
    bias = None if product is None else product.bias
    compiled = function(input.dtype, _FUNCTIONS) if _is_covered(input, bias) else None
    if compiled is None:
        return False
    width = input.shape[-1]
    before = (None, None, None) if product is None else (product.rows.scales, product.rows.offsets, product.sums)
    after = (None, None, None) if rows is None else (rows.bytes, rows.scales, rows.offsets)
    addresses = (None if each is None else each.data_ptr() for each in (input, *before, bias, numbers, *after))
    failure = compiled(_Request(*addresses, input.numel() // width, width, gelu))
    if failure:
        raise RuntimeError(f"rows can't be turned into int8 or back ({failure})")
    return True


def _is_covered(input: torch.Tensor, bias: torch.Tensor | None) -> bool:  # noqa: A002
    width = input.shape[-1]
    return (
        input.device.type == "cpu"
        and width % ROW_MULTIPLE == 0
        and width <= _MOST_NUMBERS
        and input.is_contiguous()
        and (bias is None or (bias.dtype is input.dtype and bias.is_contiguous()))
    )
