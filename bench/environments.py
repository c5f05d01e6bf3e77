"""Virtual environments of the peers, each of its own, kept in the user's cache folder by a hash of what they hold."""

import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

from bench.models import cache_folder

_REQUIREMENTS = Path("bench/peers")
# Where a folder with the CPU build of torch lies beside the clone, it saves the download of the CUDA build.
_WHEELS = Path("../shared/wheels")
_COMPLETE = "installed"


class NotInstalled(Exception):
    """A peer can't be installed on this machine; the message says why."""


def interpreter(name: str, python: str = "python3") -> Path:
    """Return the Python that has a peer's requirements, installing them where that hasn't been done yet."""
    requirements = _REQUIREMENTS / f"{name}.txt"
    command = shutil.which(python)
    if command is None:
        raise NotInstalled(f"it needs {python}, which isn't on this machine")
    content = requirements.read_bytes() + python.encode() + platform.machine().encode()
    folder = cache_folder() / "environments" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not (folder / _COMPLETE).is_file():
        _install(requirements, folder, command)
    return folder / "bin" / "python"


def _install(requirements: Path, folder: Path, python: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    wheels = [f"--find-links={_WHEELS}"] if _WHEELS.is_dir() else []
    command = [*pip, "install", "--quiet", *wheels, f"--requirement={requirements}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = next((line for line in reversed(result.stderr.splitlines()) if line.strip()), "pip failed")
        raise NotInstalled(f"pip can't install {requirements}: {last.strip()}")
    (folder / _COMPLETE).touch()
