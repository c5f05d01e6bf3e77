"""Describes the machine that was measured on. `described` knows no I/O."""

import os
from pathlib import Path

import torch

from reranker_worker.device import available_cpus, cpu_flags, has_bf16_units, resolve_dtype

_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}
_IDLE_LOAD = 0.5
"""What a machine that waits for a benchmark may have to do besides."""


def machine() -> str:
    """Describe this one, as it is now."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return described(name, available_cpus(), cpu_flags(), os.getloadavg()[0])


def fastest_dtype() -> str:
    """Return the precision that this processor computes fastest, as --dtype takes it."""
    return str(resolve_dtype("auto", torch.device("cpu"))).removeprefix("torch.")


def described(name: str, cpus: int, flags: frozenset[str], load: float) -> str:
    """Return a line that says what figures of this machine can be compared with."""
    widest = next((names for flag, names in _VECTORS.items() if flag in flags), "no AVX2")
    units = "with bf16 units" if has_bf16_units(flags) else "no bf16 units"
    idle = "idle before" if load <= _IDLE_LOAD else f"not idle before: load {load:.1f}"
    return f"{name}, {cpus} CPUs, {widest}, {units}; {idle}"
