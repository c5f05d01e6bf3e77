"""Attention of packed segments on a CPU by C code of our own, faster than torch's for texts as short as pairs.

`python -m bench.attention` says by how much. It is compiled when the worker is installed, where there is a C compiler;
without it torch's attention takes its place. Tensors stay torch's, and so do the threads: the C code is given torch's
own parallel_for.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

_WIDTH_MULTIPLE = 32
"""Of a head's width; KEYS_STEP in request.h."""
_MOST_KEYS_FP32 = 2048
"""Where a head has more of them, they no longer fit the cache, and torch's attention is faster; in bf16 it never is."""
_FUNCTIONS: Sequence[tuple[torch.dtype, str, frozenset[str]]] = (
    (torch.bfloat16, "attention_bf16_avx512", frozenset({"avx512_f", "avx512_bw", "avx512_vl", "avx512_bf16"})),
    (torch.float32, "attention_f32_avx512", frozenset({"avx512_f"})),
    (torch.float32, "attention_f32_avx2", frozenset({"avx2", "fma3"})),
    (torch.float32, "attention_f32_plain", frozenset()),  # compiled for other architectures than x86-64
)
"""What kernel.c has, the fastest first, and what the processor must have for it, by torch's names."""


class _States(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("token_stride", ctypes.c_int64), ("head_stride", ctypes.c_int64))


class _Request(ctypes.Structure):
    """Request in request.h."""

    _fields_ = (
        *((name, _States) for name in ("query", "key", "value", "output")),
        *((name, ctypes.c_void_p) for name in ("query_bounds", "key_bounds")),
        *((name, ctypes.c_int64) for name in ("segments", "heads", "width", "group", "longest", "reach")),
        ("causal", ctypes.c_int32),
        ("scaling", ctypes.c_float),
    )


def is_compiled() -> bool:
    """Tell whether the C code was compiled when the worker was installed."""
    return _library() is not None


def covers(*states: torch.Tensor, longest: int) -> bool:
    """Tell whether queries, keys and values, [1, heads, tokens, width], with so many keys at most are best off here."""
    first = states[0]
    return (
        first.device.type == "cpu"
        and first.shape[-1] % _WIDTH_MULTIPLE == 0
        and all(each.stride(-1) == 1 for each in states)
        and (longest <= _MOST_KEYS_FP32 or first.dtype is not torch.float32)
        and _function(first.dtype) is not None
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
    function = _function(query.dtype)
    if function is None:
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
    failure = function(ctypes.byref(request), torch.get_num_threads(), _parallel_for())
    if failure:
        raise RuntimeError(f"attention can't allocate memory for {longest} keys ({failure})")
    return output


def _strides(states: torch.Tensor) -> tuple[int, int]:
    return states.stride(2) * states.itemsize, states.stride(1) * states.itemsize


@cache
def _function(dtype: torch.dtype) -> Callable[..., int] | None:
    library, capabilities = _library(), torch.cpu.get_capabilities()
    for precision, name, needed in _FUNCTIONS:
        if precision is dtype and hasattr(library, name) and all(capabilities.get(each) for each in needed):
            function: Callable[..., int] = getattr(library, name)
            return function
    return None


@cache
def _library() -> ctypes.CDLL | None:
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_kernel{suffix}")
        if path.is_file():
            library = ctypes.CDLL(str(path))
            for _, name, _ in _FUNCTIONS:
                if hasattr(library, name):
                    getattr(library, name).argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
            return library
    return None


@cache
def _parallel_for() -> ctypes.c_void_p:
    folder = Path(torch.__file__).with_name("lib")
    path = next(path for name in ("libtorch_cpu.so", "libtorch_cpu.dylib") if (path := folder / name).is_file())
    return ctypes.cast(ctypes.CDLL(str(path)).torch_parallel_for, ctypes.c_void_p)
