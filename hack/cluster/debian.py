"""Debian packages that are used without being installed: downloaded by apt, unpacked into the cache."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from .paths import build_log, build_once, cache_home, locked
from .progress import StepError, output_of, run_logged, step

CONTROL_PLANE = ("etcd-server",)
NODE = ("containerd", "runc", "containernetworking-plugins", "nftables", "busybox-static")
IMAGES = ("buildah", "debootstrap")

APT_LISTS = Path("/var/lib/apt/lists")
APT_LOCK_TIMEOUT_S = 300  # a fresh machine may be at its own upgrades


def packages_folder(packages: Sequence[str]) -> Path:
    """Return where these packages are, or will be, unpacked; keyed by their names and the Debian release."""
    key = hashlib.sha256(f"{_release()} {' '.join(packages)}".encode()).hexdigest()[:10]
    return cache_home() / f"debian-{key}"


def unpacked(packages: Sequence[str]) -> Path:
    """Return a folder with the packages and what they need beyond this machine's, as in a root file system."""
    folder = packages_folder(packages)
    if not folder.is_dir():
        with step(f"Debian packages unpacked: {', '.join(packages)}"):
            build_once(folder, lambda scratch: _download_and_unpack(packages, scratch))
    return folder


def environment(root: Path) -> dict[str, str]:
    """Return the environment in which the unpacked programs find each other and their libraries."""
    libraries = root / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    programs = [root / place for place in ("usr/sbin", "usr/bin", "sbin", "bin")]
    return {
        "PATH": ":".join([*map(str, programs), os.environ.get("PATH", os.defpath)]),
        "LD_LIBRARY_PATH": str(libraries),
    }


def _download_and_unpack(packages: Sequence[str], folder: Path) -> None:
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    with locked(cache_home() / "locks" / "apt"):  # apt itself fails where another one of it runs
        _download(packages, archives, build_log(folder.name.lstrip(".")))
    for archive in sorted(archives.glob("*.deb")):
        output_of(f"unpacking {archive.name}", ["dpkg-deb", "--extract", archive, folder])
        archive.unlink()


def _download(packages: Sequence[str], archives: Path, log: Path) -> None:
    if not any(APT_LISTS.glob("*_Packages*")):
        run_logged("apt-get update", ["apt-get", "update"], log=log)
    download = ["apt-get", "install", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]
    # As root, apt would fetch as the user _apt, who may not enter this folder.
    options = [
        *("-o", f"Dir::Cache::archives={archives}"),
        *("-o", "APT::Sandbox::User=root"),
        *("-o", f"DPkg::Lock::Timeout={APT_LOCK_TIMEOUT_S}"),
    ]
    run_logged(f"downloading {', '.join(packages)}", [*download, *options, *packages], log=log)
    if not any(archives.glob("*.deb")):
        raise StepError(f"apt-get downloaded none of {', '.join(packages)}; its log is {log}")


def _release() -> str:
    fields = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return f"{fields.get('ID', '')}-{fields.get('VERSION_ID', '')}".replace('"', "")
