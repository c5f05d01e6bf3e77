"""A residual added to a layer's output and normed, in one pass over memory on a CPU."""

import ctypes

import torch
from torch import nn

from reranker_worker.kernels.library import ROW_MULTIPLE, function, row_functions

_MOST_NUMBERS = 8192
"""Of a row; MOST_NUMBERS in residual_norm.c."""
_FUNCTIONS = row_functions("residual_norm")


class _Request(ctypes.Structure):
    """Request in residual_norm.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("states", "residual", "weight", "bias", "output")),
        *((name, ctypes.c_int64) for name in ("rows", "width")),
        ("eps", ctypes.c_float),
    )


def residual_norm(states: torch.Tensor, residual: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Return the norm of the sum: both [.., width] → [.., width], in their precision, summed in fp32 where compiled."""
    compiled = function(states.dtype, _FUNCTIONS) if _is_covered(states, residual, norm) else None
    if compiled is None:
        normed: torch.Tensor = norm(states + residual)
        return normed
    output = torch.empty_like(states)
    width = states.shape[-1]
    tensors = (states, residual, norm.weight, norm.bias, output)
    failure = compiled(_Request(*(each.data_ptr() for each in tensors), states.numel() // width, width, norm.eps))
    if failure:
        raise RuntimeError(f"a residual can't be added and normed ({failure})")
    return output


def _is_covered(states: torch.Tensor, residual: torch.Tensor, norm: nn.LayerNorm) -> bool:
    width = states.shape[-1]
    tensors = (states, residual, norm.weight, norm.bias)
    return (
        states.device.type == "cpu"
        and states.shape == residual.shape
        and width % ROW_MULTIPLE == 0
        and width <= _MOST_NUMBERS
        and all(each.dtype is states.dtype and each.is_contiguous() for each in tensors)
    )
