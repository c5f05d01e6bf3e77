"""The base image where no registry is at hand: Debian with Python, made by debootstrap."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hack.cluster import debian
from hack.cluster.paths import build_log, build_once, cache_home
from hack.cluster.progress import output_of, run_logged, step

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
# What a running image never reads.
DROPPED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists", "var/log")
RECIPE = hashlib.sha256(repr((SUITE, PACKAGES, DROPPED)).encode()).hexdigest()[:10]
REFERENCE = f"localhost/python-base:{RECIPE}"


def root_file_system() -> Path:
    """Return an archive of the base's root file system, made once."""
    folder = cache_home() / f"python-base-{RECIPE}"
    if not folder.is_dir():
        with step("base image's root file system made", doing=f"making a root file system of Debian {SUITE}"):
            build_once(folder, _bootstrap)
    return folder / "rootfs.tar"


def _bootstrap(folder: Path) -> None:
    tools = debian.unpacked(debian.IMAGES)
    root = folder / "rootfs"
    run_logged(
        f"debootstrap of {SUITE}",
        [
            tools / "usr/sbin/debootstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            root,
            mirror(),
        ],
        log=build_log("debootstrap"),
        env={**os.environ, **debian.environment(tools), "DEBOOTSTRAP_DIR": str(tools / "usr/share/debootstrap")},
    )
    for dropped in DROPPED:
        shutil.rmtree(root / dropped, ignore_errors=True)
        (root / dropped).mkdir(parents=True)
    archive = folder / "rootfs.tar"
    output_of("archiving it", ["tar", "--create", "--numeric-owner", f"--file={archive}", f"--directory={root}", "."])
    shutil.rmtree(root)


def mirror() -> str:
    """Return the Debian mirror that this machine's apt uses."""
    listed = output_of(
        "asking apt for its mirror",
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages", "Component: main"],
    )
    return mirror_of(SUITE, listed.splitlines())


def mirror_of(suite: str, lines: Iterable[str]) -> str:
    """Return the first address that serves exactly `suite` in lines of "codename address"."""
    for line in lines:
        codename, _, address = line.partition(" ")
        if codename == suite and address.startswith(("http://", "https://")):
            return address.rstrip("/")
    return DEFAULT_MIRROR
