"""The container's share of the machine is read from control groups of both versions."""

from pathlib import Path

import pytest

from reranker_worker import cgroup

V2 = {
    "cpu.max": "150000 100000",
    "memory.max": "1000",
    "memory.current": "700",
    "memory.stat": "anon 500\ninactive_file 200\nactive_file 0",
}
V1 = {
    "cpu/cpu.cfs_quota_us": "150000",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": "1000",
    "memory/memory.usage_in_bytes": "700",
    "memory/memory.stat": "cache 300\ninactive_file 1\ntotal_inactive_file 200",
}


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "cpus", "free"),
    [
        pytest.param(V2, 1.5, 500, id="version 2"),
        pytest.param(V1, 1.5, 500, id="version 1"),
        pytest.param({**V2, "cpu.max": "max 100000", "memory.max": "max"}, None, None, id="version 2 without limits"),
        pytest.param({**V1, "cpu/cpu.cfs_quota_us": "-1"}, None, 500, id="version 1 without a quota"),
        pytest.param({}, None, None, id="no control group in sight"),
    ],
)
def test_limits_are_read(tmp_path: Path, files: dict[str, str], cpus: float | None, free: int | None) -> None:
    root = written(tmp_path, files)
    assert cgroup.cpu_quota(root) == cpus
    assert cgroup.free_memory(root) == free
