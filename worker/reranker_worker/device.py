"""The device that scores: which one, in which precision, with how many threads, and how much memory is free."""

import os
from pathlib import Path

import torch

from reranker_worker.serving import DType

_CGROUP = Path("/sys/fs/cgroup")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the device by its name; `auto` is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def resolve_dtype(name: DType, device: torch.device) -> torch.dtype:
    """Return the precision to score in; `auto` is the fastest that the device computes natively."""
    if name != "auto":
        return _DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if _cpu_has_bf16_units() else torch.float32


def use_available_cpus() -> None:
    """Let torch use the CPUs that this container may use; by default it counts the node's."""
    torch.set_num_threads(available_cpus())


def available_cpus() -> int:
    """Return the CPUs of the affinity mask, or fewer where the cgroup's quota is smaller."""
    cpus = len(os.sched_getaffinity(0))
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cpus = min(cpus, max(1, round(int(quota) / int(period))))
    return cpus


def free_bytes(device: torch.device) -> int:
    """Return the memory that can still be allocated on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = [_meminfo_available()]
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit.isdigit() and used.isdigit():
        available.append(int(limit) - int(used) + _reclaimable())
    return max(0, min(available))


def _cpu_has_bf16_units() -> bool:
    # Without them bf16 is emulated, slower than fp32.
    flags = next((line for line in _read(Path("/proc/cpuinfo")).splitlines() if line.startswith("flags")), "").split()
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _meminfo_available() -> int:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _reclaimable() -> int:
    # The page cache of files just read counts as used and is given back on demand.
    for line in _read(_CGROUP / "memory.stat").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
