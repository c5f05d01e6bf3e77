"""Attention of packed segments on a CPU, faster than torch's for texts as short as pairs.

`python -m bench.attention` says by how much.
"""

import ctypes

import torch

from reranker_worker.kernels.library import ANY, AVX2, AVX512, AVX512_BF16, Compiled, function

_WIDTH_MULTIPLE = 32
"""Of a head's width; KEYS_STEP in attention.h."""
_MOST_KEYS_FP32 = 2048
"""With more of them a head no longer fits the cache, and with AVX2 torch's attention is faster; in bf16 it never is."""
_FUNCTIONS = (
    Compiled(torch.bfloat16, "attention_bf16_avx512", AVX512_BF16),
    Compiled(torch.float32, "attention_f32_avx512", AVX512),
    Compiled(torch.float32, "attention_f32_avx2", AVX2),
    Compiled(torch.float32, "attention_f32_plain", ANY),
)
"""What attention.c has, the fastest first."""


class _States(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("token_stride", ctypes.c_int64), ("head_stride", ctypes.c_int64))


class _Request(ctypes.Structure):
    """Request in attention.h."""

    _fields_ = (
        *((name, _States) for name in ("query", "key", "value", "output")),
        *((name, ctypes.c_void_p) for name in ("query_bounds", "key_bounds")),
        *((name, ctypes.c_int64) for name in ("segments", "heads", "width", "group", "longest", "reach")),
        ("causal", ctypes.c_int32),
        ("scaling", ctypes.c_float),
    )


def covers(*states: torch.Tensor, longest: int) -> bool:
    """Tell whether queries, keys and values, [1, heads, tokens, width], with so many keys at most are best off here."""
    first = states[0]
    return (
        first.device.type == "cpu"
        and first.shape[-1] % _WIDTH_MULTIPLE == 0
        and all(each.stride(-1) == 1 for each in states)
        and (longest <= _MOST_KEYS_FP32 or first.dtype is not torch.float32)
        and function(first.dtype, _FUNCTIONS) is not None
    )


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cumulative_queries: torch.Tensor,
    cumulative_keys: torch.Tensor,
    *,
    longest: int,
    scaling: float,
    reach: int = -1,
    causal: bool = False,
) -> torch.Tensor:
    """Let each segment's queries attend to its keys.

    query: [1, heads, tokens, width]; key, value: [1, key heads, tokens, width] → [1, tokens, heads, width], zeros for
    tokens behind the last segment. cumulative_queries, cumulative_keys: int32 [segments + 1], from 0 on, where each one
    begins and ends.
    longest: the most keys of a segment. With a `reach` from 0 on, a query sees the keys that are at most so far away;
    where it is `causal`, the last query sees all keys, and each one before it one key less. Raises RuntimeError, in
    the words of torch's allocator, where memory lacks.
    """
    compiled = function(query.dtype, _FUNCTIONS)
    if compiled is None:
        raise RuntimeError(f"no attention in {query.dtype} was compiled that this processor computes")
    _, heads, tokens, width = query.shape
    output = query.new_empty(1, tokens, heads, width)
    output[:, cumulative_queries[-1] :].zero_()
    request = _Request(
        *(_States(each.data_ptr(), *_strides(each)) for each in (query, key, value, output.transpose(1, 2))),
        cumulative_queries.data_ptr(),
        cumulative_keys.data_ptr(),
        len(cumulative_keys) - 1,
        heads,
        width,
        heads // key.shape[1],
        longest,
        reach,
        causal,
        scaling,
    )
    failure = compiled(request)
    if failure:
        raise RuntimeError(f"attention can't allocate memory for {longest} keys ({failure})")
    return output


def _strides(states: torch.Tensor) -> tuple[int, int]:
    return states.stride(2) * states.itemsize, states.stride(1) * states.itemsize
