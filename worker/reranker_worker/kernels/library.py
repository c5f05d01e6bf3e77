"""The C code of this package: whether it was compiled, what of it the processor can run, and torch's threads for it.

It is compiled when the worker is installed, where there is a C compiler. Tensors stay torch's, and so do the threads:
the C code is given torch's own parallel_for.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

import torch

AVX512 = frozenset({"avx512_f", "avx512_bw", "avx512_vl"})
AVX512_BF16 = AVX512 | {"avx512_bf16"}
AVX2 = frozenset({"avx2", "fma3"})
ANY = frozenset[str]()
"""What a processor must have, by torch's names; compiled for `ANY` is only what other architectures than x86-64 run."""

ROW_MULTIPLE = 16
"""Numbers of the longest vector: what passes over rows in C asks of a row's width."""


class Compiled(NamedTuple):
    """A function of the C code."""

    dtype: torch.dtype
    name: str
    needs: frozenset[str]


def row_functions(name: str) -> tuple[Compiled, ...]:
    """Return what row_sets.h makes of the functions of that name, for each precision the fastest first."""
    return tuple(
        Compiled(dtype, f"{name}_{precision}_{instructions}", needs)
        for dtype, precision in ((torch.bfloat16, "bf16"), (torch.float32, "f32"))
        for instructions, needs in (("avx512", AVX512), ("avx2", AVX2), ("plain", ANY))
    )


def is_compiled() -> bool:
    """Tell whether the C code was compiled when the worker was installed."""
    return _library() is not None


@cache
def function(dtype: torch.dtype, candidates: tuple[Compiled, ...]) -> Callable[[ctypes.Structure], int] | None:
    """Return the first of the candidates in that precision which the processor can run.

    It takes what is asked of it, lets torch's threads work at it, and returns other than 0 where it failed.
    """
    library, capabilities = _library(), torch.cpu.get_capabilities()
    for candidate in candidates:
        able = all(capabilities.get(each) for each in candidate.needs)
        if candidate.dtype is dtype and able and hasattr(library, candidate.name):
            compiled = getattr(library, candidate.name)
            compiled.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
            return lambda asked: compiled(ctypes.byref(asked), torch.get_num_threads(), _parallel_for())
    return None


@cache
def _library() -> ctypes.CDLL | None:
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_kernels{suffix}")
        if path.is_file():
            return ctypes.CDLL(str(path))
    return None


@cache
def _parallel_for() -> ctypes.c_void_p:
    folder = Path(torch.__file__).with_name("lib")
    path = next(path for name in ("libtorch_cpu.so", "libtorch_cpu.dylib") if (path := folder / name).is_file())
    return ctypes.cast(ctypes.CDLL(str(path)).torch_parallel_for, ctypes.c_void_p)
