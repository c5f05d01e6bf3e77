"""Where things are kept: software in the cache, what runs in the state folder; both follow the XDG variables."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = "reranker-operator"


def cache_home() -> Path:
    """Return the folder that survives `down`: built software, packages and images."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PROJECT


def state_home() -> Path:
    """Return the folder that holds one folder for each cluster that is up."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / PROJECT


def build_log(name: str) -> Path:
    """Return where the output of building `name` goes."""
    return cache_home() / "logs" / f"{name}.log"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, across processes; it ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Return `folder`, filled through a temporary sibling and a rename, so a folder that exists is complete."""
    if folder.is_dir():
        return folder
    with locked(folder.parent / f".{folder.name}.lock"):
        if not folder.is_dir():
            scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                scratch.chmod(0o755)
                fill(scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder
