"""The device that scores: which one, in which precision, with how many threads, and how much memory is free."""

import ctypes
import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from reranker_worker import cgroup
from reranker_worker.errors import CheckpointError, DeviceFault
from reranker_worker.serving import DType

_T = TypeVar("_T")

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_INTEL = "GenuineIntel"  # as /proc/cpuinfo's vendor_id has it

_LARGEST_KEPT_BYTES = 64 << 20
"""More than the largest tensor of a batch: 2,048 tokens of 4,096 numbers in fp32."""
_KEPT_BYTES = 128 << 20
"""Twice that, as glibc itself relates the two."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""mallopt's names, from glibc's malloc.h."""


def resolve_device(name: str) -> torch.device:
    """Return the device by its name; `auto` is CUDA where there is one. Raises DeviceFault for one that isn't there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise DeviceFault("DeviceUnavailable", f"--device={name}: {_lacking_cuda()}")
    return device


def resolve_dtype(name: DType, device: torch.device) -> torch.dtype:
    """Return the precision to score in; `auto` is the fastest that the device computes natively.

    With int8 it is that of all that isn't a linear layer, where half the bytes count for more than products do; raises
    CheckpointError where int8 isn't computed.
    """
    if name == "int8" and device.type != "cpu":
        accepted = ", ".join(("auto", *_DTYPES))
        raise CheckpointError("UnsupportedDtype", f"int8 is computed on CPUs alone; accepted on {device}: {accepted}")
    if name in _DTYPES:
        return _DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    flags = cpu_flags()
    fast = has_bf16_units(flags) if name == "int8" else is_faster_in_bf16(flags)
    return torch.bfloat16 if fast else torch.float32


def use_available_cpus() -> None:
    """Let torch use the CPUs that this container may use; by default it counts the node's."""
    torch.set_num_threads(available_cpus())


def on_passing_thread(work: Callable[[], _T]) -> _T:
    """Do work that isn't a batch but may use all CPUs, as loading does, on a thread that then ends.

    OpenMP gives each thread that computes in parallel others of its own, for as long as it lives. Once they are more
    than the CPUs, libgomp has a thread that waits for the others sleep at once, and a batch waits a hundred times: in
    int8 that made it a fifth slower. So the device thread is to be the only one that has them.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="passing") as passing:
        return passing.submit(work).result()


def keep_batch_memory() -> None:
    """Let malloc keep what one batch frees for the next one, where it is glibc's.

    By default it gives most of it back to the kernel and gets it again page by page: ten thousand faults a request.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def available_cpus() -> int:
    """Return the CPUs of the affinity mask, or fewer where the cgroup's quota is smaller."""
    cpus, quota = len(os.sched_getaffinity(0)), cgroup.cpu_quota()
    return cpus if quota is None else min(cpus, max(1, round(quota)))


def copied(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the CPU's on a device; the copy to a GPU waits for none of the GPU's work."""
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def free_bytes(device: torch.device) -> int:
    """Return the memory that can still be allocated on the device."""
    if device.type == "cuda":
        # What a dropped model held stays with torch, and counts as used, until torch is told to give it back.
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    within, machine = cgroup.free_memory(), _meminfo_available()
    return machine if within is None else max(0, min(within, machine))


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the first CPU's vendor and what it says that it can do; nothing where the kernel lists neither (ARM)."""
    lines = cpuinfo.read_text().splitlines()
    found = (next((line for line in lines if line.startswith(name)), "") for name in ("vendor_id", "flags"))
    return frozenset(word for line in found for word in line.partition(":")[2].split())


def has_bf16_units(flags: AbstractSet[str]) -> bool:
    """Tell whether a CPU computes bf16 itself; one that doesn't emulates it, slower than it computes fp32."""
    return not flags.isdisjoint({"amx_bf16", "avx512_bf16"})


def is_faster_in_bf16(flags: AbstractSet[str]) -> bool:
    """Tell whether a CPU's products are faster in bf16 than in fp32, by what it is and not by a try that may mislead.

    Intel's cores with units for fp16 are made to compute bf16 by AMX: where a hypervisor hides it, what is left of them
    for bf16, AVX512-BF16, was seen to take 1.8 times as long as fp32. AMD's take a half to a quarter.
    """
    without_amx = _INTEL in flags and "avx512_fp16" in flags and "amx_bf16" not in flags
    return has_bf16_units(flags) and not without_amx


def has_int8_units(flags: AbstractSet[str]) -> bool:
    """Tell whether a CPU sums products of bytes itself; without that oneDNN's sums of them overflow."""
    return not flags.isdisjoint({"avx512_vnni", "avx_vnni", "amx_int8"})


def _lacking_cuda() -> str:
    built = torch.version.cuda
    if built is None:
        return f"torch {torch.__version__} is built without CUDA; use the worker's image for GPUs"
    return (
        f"there is no such CUDA device; check that the node's driver is new enough for CUDA {built}, which this torch "
        f"is built for, and that its device plugin gives the container a GPU; CUDA sees {torch.cuda.device_count()}"
    )


def _meminfo_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
