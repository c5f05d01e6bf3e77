"""What the container may use of the machine, as its control group says: version 2 and, on older nodes, version 1."""

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return the CPUs that the container may use at once; None without a quota."""
    quota, _, period = _read(root / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(root / "cpu/cpu.cfs_quota_us"), _read(root / "cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def free_memory(root: Path = ROOT) -> int | None:
    """Return the bytes below the container's limit; None without a limit.

    The page cache of files that were just read counts as used, and is given back on demand: it counts as free here.
    """
    limit, used = _read(root / "memory.max"), _read(root / "memory.current")
    statistics, reclaimable = _read(root / "memory.stat"), "inactive_file"
    if not limit:
        limit = _read(root / "memory/memory.limit_in_bytes")  # without a limit a number beyond any machine's memory
        used = _read(root / "memory/memory.usage_in_bytes")
        statistics, reclaimable = _read(root / "memory/memory.stat"), "total_inactive_file"
    if not (limit.isdigit() and used.isdigit()):
        return None
    values = dict(line.split(" ", 1) for line in statistics.splitlines())
    return int(limit) - int(used) + int(values.get(reclaimable, 0))


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
