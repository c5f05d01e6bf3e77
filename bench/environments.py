"""Virtual environments of the peers, each of its own, kept in the user's cache folder by a hash of what they hold."""

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from bench.models import cache_folder
from hack.clients.environments import find_python

_REQUIREMENTS = Path("bench/peers")
# Where a folder with the CPU build of torch lies beside the clone, it saves the download of the CUDA build.
_WHEELS = Path("../shared/wheels")
_COMPLETE = "installed"


class NotInstalled(Exception):
    """A peer can't be installed on this machine; the message says why."""


def interpreter(name: str, version: str | None = None) -> Path:
    """Return the Python that has a peer's requirements, installing them where that hasn't been done yet.

    `version` is the one of Python that the peer wants; without it the one that runs this is taken.
    """
    requirements, unwanted = _REQUIREMENTS / f"{name}.txt", _REQUIREMENTS / f"{name}-without.txt"
    content = b"".join(file.read_bytes() for file in (requirements, unwanted) if file.is_file())
    content += f"{version or sys.version_info[:2]} {platform.machine()}".encode()
    folder = cache_folder() / "environments" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not (folder / _COMPLETE).is_file():
        _install(_base(version), requirements, unwanted, folder)
    return folder / "bin" / "python"


def _base(version: str | None) -> Path:
    if version is None:
        return Path(sys.base_prefix) / "bin" / "python3"  # not this environment's: its packages aren't the peer's
    found = find_python(version)
    if found is None:
        raise NotInstalled(f"it wants Python {version}, which is neither on PATH nor one that pyenv keeps")
    return found


def _install(base: Path, requirements: Path, unwanted: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([base, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    wheels = [f"--find-links={_WHEELS}"] if _WHEELS.is_dir() else []
    command = [*pip, "install", "--quiet", *wheels, f"--requirement={requirements}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = next((line for line in reversed(result.stderr.splitlines()) if line.strip()), "pip failed")
        raise NotInstalled(f"pip can't install {requirements}: {last.strip()}")
    if unwanted.is_file():
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", f"--requirement={unwanted}"], check=True)
    (folder / _COMPLETE).touch()
