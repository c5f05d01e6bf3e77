"""What a node changes on the machine outside its own folder, remembered before and put back after."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .configs import NODE_IP, masquerade_rules
from .progress import output_of

# Written by the kubelet (which insists on these values) and for routing between pods.
SYSCTLS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
# Folders whose place is fixed in the kubelet, containerd's shims and the CNI plugins.
FOLDERS = (
    "/run/containerd",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
)
CONTROLLERS = Path("/sys/fs/cgroup")
NFT_TABLE = "reranker-operator"
NFT_TABLES = (f"ip {NFT_TABLE}", "ip kube-proxy", "ip6 kube-proxy")


def remember(file: Path) -> None:
    """Write down the settings and folders that are there before the node; a later call changes nothing."""
    if not file.exists():
        settings = {name: _sysctl(name).read_text().strip() for name in SYSCTLS if _sysctl(name).exists()}
        absent = [folder for folder in FOLDERS if not Path(folder).exists()]
        file.write_text(json.dumps({"sysctls": settings, "absent_folders": absent}, indent=2))


def set_up_network(nft: Path, environment: dict[str, str]) -> None:
    """Give the machine the node's address, forward packets, and translate the pods' addresses."""
    output_of("giving lo the node's address", ["ip", "address", "replace", f"{NODE_IP}/32", "dev", "lo"])
    _sysctl("net/ipv4/ip_forward").write_text("1")
    rules = masquerade_rules(NFT_TABLE)
    output_of("writing the address translation", [nft, "-f", "-"], env=environment, text=rules)


def restore(file: Path, nft: Path, environment: dict[str, str]) -> None:
    """Take back what `set_up_network` and the node did; each part is skipped when it is gone already."""
    for table in NFT_TABLES:
        _run(nft, "delete", "table", *table.split(), env=environment)
    _run("ip", "address", "delete", f"{NODE_IP}/32", "dev", "lo")
    remove_cgroups(CONTROLLERS.glob("**/kubepods"))
    if file.exists():
        before = json.loads(file.read_text())
        for name, value in before["sysctls"].items():
            _sysctl(name).write_text(value)
        unmount(Path(folder) for folder in before["absent_folders"])
        for folder in before["absent_folders"]:
            shutil.rmtree(folder, ignore_errors=True)


def unmount(folders: Iterable[Path]) -> None:
    """Unmount everything at and below these folders, the last mounted first."""
    roots = tuple(str(folder) for folder in folders)
    for point in reversed(mount_points(Path("/proc/self/mountinfo").read_text())):
        if any(point == root or point.startswith(f"{root}/") for root in roots):
            output_of(f"unmounting {point}", ["umount", "--lazy", point])


def mount_points(mountinfo: str) -> list[str]:
    """Return the mount points in the kernel's mountinfo, in the order of mounting."""
    return [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines()]


def remove_cgroups(roots: Iterable[Path]) -> None:
    """Remove empty control groups, the innermost first."""
    for root in list(roots):
        for folder in sorted((path for path in root.glob("**/") if path.is_dir()), reverse=True):
            folder.rmdir()


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _run(*argv: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a command that may fail because there is nothing left to take back."""
    subprocess.run(argv, env=env, capture_output=True, check=False)
