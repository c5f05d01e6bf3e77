"""Reads the manifest's files as they change and remembers the newest document."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reranker_worker.errors import ManifestError
from reranker_worker.manifest import Manifest, newest, parse_manifest


@dataclass(frozen=True)
class Reading:
    """What the manifest's files say now.

    observed: the newest document that was read, whatever templates it knows.
    effective: the newest one that knows this worker's template; the worker follows it.
    problem: why a file is ignored, "" while none is.
    """

    observed: Manifest | None = None
    effective: Manifest | None = None
    problem: str = ""


class ManifestReader(Protocol):
    """Where a reconciler or fetcher gets its manifest from."""

    def read(self) -> Reading:
        """Return the newest reading; cheap enough to call at every tick."""
        ...


class StaticManifest:
    """A manifest that never changes: the one that `serve --model` writes for itself."""

    def __init__(self, manifest: Manifest) -> None:
        self._reading = Reading(observed=manifest, effective=manifest)

    def read(self) -> Reading:
        """Return the one reading."""
        return self._reading


@dataclass
class _WatchedFile:
    path: Path
    signature: tuple[int, int, int] | None = None
    manifest: Manifest | None = None
    problem: str = ""


@dataclass
class ManifestFiles:
    """The mounted files that carry the manifest; a generation that was read once is never left for a lower one."""

    paths: Sequence[Path]
    template: str
    _files: list[_WatchedFile] = field(init=False)
    _reading: Reading = field(init=False, default_factory=Reading)

    def __post_init__(self) -> None:
        """Start with no file read."""
        self._files = [_WatchedFile(path) for path in self.paths]

    def read(self) -> Reading:
        """Read the files that changed and return the newest reading."""
        changed = [_refresh(file) for file in self._files]
        if any(changed):
            self._reading = self._next_reading()
        return self._reading

    def _next_reading(self) -> Reading:
        manifests = [file.manifest for file in self._files if file.manifest is not None]
        known = [manifest for manifest in manifests if manifest.target(self.template) is not None]
        return Reading(
            observed=newest(_present(self._reading.observed, manifests)),
            effective=newest(_present(self._reading.effective, known)),
            problem="; ".join(file.problem for file in self._files if file.problem),
        )


def _present(before: Manifest | None, now: Sequence[Manifest]) -> Sequence[Manifest]:
    return now if before is None else [before, *now]


def _refresh(file: _WatchedFile) -> bool:
    """Read one file again if it changed; tell whether it did."""
    signature = _signature(file.path)
    if signature == file.signature:
        return False
    file.signature, file.manifest, file.problem = signature, None, ""
    try:
        # The downward API writes an empty file while the pod has no such annotation.
        if signature is not None and (text := file.path.read_text(encoding="utf-8")).strip():
            file.manifest = parse_manifest(text)
    except FileNotFoundError:
        file.signature = None
    except (OSError, UnicodeDecodeError) as error:
        file.problem = f"{file.path.name}: can't be read: {type(error).__name__}"
    except ManifestError as error:
        file.problem = f"{file.path.name}: {error.message}"
    return True


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when the kubelet swaps the volume's files, or None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
