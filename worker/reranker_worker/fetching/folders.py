"""Sources that are folders: a mounted volume claim (`pvc://claim/path`) or, on a laptop, a folder of this machine."""

import os
import re
import stat
from pathlib import Path, PurePosixPath

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import is_served, require_weights
from reranker_worker.fetching.transfer import Transfer

_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_CHUNK_BYTES = 1 << 20


def copy_claim(uri: str, rest: str, claims: Path, partial: Path, transfer: Transfer) -> None:
    """Copy the served files of `<claim>/<path>`; nothing outside the claim is ever read, through links neither."""
    claim, _, path = rest.partition("/")
    steps = PurePosixPath(path).parts
    if _CLAIM.fullmatch(claim) is None or ".." in steps or path.startswith("/"):
        raise SourceError("SourceNotFound", f"{uri}: not of the form pvc://<claim>/<path inside of it>")
    root = claims / claim
    if not root.is_dir():
        raise SourceError("SourceNotFound", f"{uri}: the claim {claim} isn't mounted in this pod")
    _copy_served_files(uri, root.joinpath(*steps), root.resolve(), partial, transfer)


def copy_folder(uri: str, folder: Path, partial: Path, transfer: Transfer) -> None:
    """Copy the served files of a folder that the user of this machine named; links lead where the user put them."""
    _copy_served_files(uri, folder, Path(folder.anchor), partial, transfer)


def _copy_served_files(uri: str, folder: Path, boundary: Path, partial: Path, transfer: Transfer) -> None:
    folder = _inside(uri, folder, boundary)
    if not folder.is_dir():
        raise SourceError("SourceNotFound", f"{uri}: there is no such folder")
    names = sorted(path.name for path in folder.iterdir())
    require_weights(uri, names)
    files = {name: _inside(uri, folder / name, boundary) for name in names if is_served(name)}
    for path in files.values():
        _require_file(uri, path, path.stat().st_mode)
    for leftover in partial.iterdir():  # of a copy that broke off; the source may have changed since
        leftover.unlink()
    transfer.expect(sum(path.stat().st_size for path in files.values()))
    for name, path in files.items():
        _copy_file(uri, path, partial / name, transfer)


def _inside(uri: str, path: Path, boundary: Path) -> Path:
    """Resolve links, and refuse a path that leaves the boundary by them."""
    resolved = path.resolve()
    if not resolved.is_relative_to(boundary):
        raise SourceError("SourceNotFound", f"{uri}: {path.name} is a link out of the claim, which isn't followed")
    return resolved


def _require_file(uri: str, path: Path, mode: int) -> None:
    """Refuse a pipe, a socket, a device or a folder by the name of a file: a pipe would keep its reader for ever."""
    if not stat.S_ISREG(mode):
        raise SourceError("SourceNotFound", f"{uri}: {path.name} isn't a regular file, and only those are copied")


def _copy_file(uri: str, source: Path, target: Path, transfer: Transfer) -> None:
    # The path is resolved: a link here was put in its place since, so it isn't followed; nor is a pipe waited for.
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as reader, target.open("wb") as writer:
        _require_file(uri, source, os.fstat(descriptor).st_mode)
        while chunk := reader.read(_CHUNK_BYTES):
            transfer.check()
            writer.write(chunk)
