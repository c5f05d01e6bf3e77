"""The artifact cache on disk: partial folders, published artifacts, progress files."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reranker_worker.artifacts import (
    COMPLETE,
    ArtifactPhase,
    ArtifactStatus,
    Completion,
    FileRecord,
    Progress,
    artifact_key,
    completion_json,
    is_served,
    parse_completion,
    parse_progress,
    progress_json,
)
from reranker_worker.errors import SourceError
from reranker_worker.manifest import Source

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ArtifactCache:
    """Where artifacts live (`root`) and where the fetcher tells its progress (`run`)."""

    root: Path
    run: Path

    def artifact(self, source: Source) -> Path:
        """Return the folder of a published artifact."""
        return self.root / "artifacts" / artifact_key(source)

    def partial(self, source: Source) -> Path:
        """Return the folder that a download goes to."""
        return self.root / "partial" / artifact_key(source)

    def completion(self, source: Source) -> Completion | None:
        """Return the artifact's COMPLETE record, or None while there is none."""
        try:
            return parse_completion((self.artifact(source) / COMPLETE).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def status(self, source: Source) -> ArtifactStatus:
        """Return what is known of an artifact: COMPLETE decides, the fetcher's progress only informs."""
        if (completion := self.completion(source)) is not None:
            return ArtifactStatus(ArtifactPhase.COMPLETE, digest=completion.digest, size=completion.size)
        progress = self._progress(source)
        match progress.phase if progress else None:
            case ArtifactPhase.FAILED if progress:
                return ArtifactStatus(ArtifactPhase.FAILED, reason=progress.reason, message=progress.message)
            case ArtifactPhase.DOWNLOADING if progress:
                message = f"{progress.bytes} of {progress.total_bytes or 'unknown'} bytes"
                return ArtifactStatus(ArtifactPhase.DOWNLOADING, message=message)
            case _:
                return ArtifactStatus()

    def publish(self, source: Source, completion: Completion) -> None:
        """Make the partial folder the artifact: everything on disk first, COMPLETE last, then one rename."""
        partial, artifact = self.partial(source), self.artifact(source)
        for path in completion.files:
            _fsync(partial / path)
        _write_atomically(partial / COMPLETE, completion_json(completion))
        artifact.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(artifact, ignore_errors=True)  # only ever a folder whose COMPLETE can't be read
        partial.rename(artifact)
        _fsync(artifact.parent)

    def discard_partial(self, source: Source) -> None:
        """Forget what a download left behind."""
        shutil.rmtree(self.partial(source), ignore_errors=True)

    def partial_bytes(self, source: Source) -> int:
        """Return how many bytes the download of an artifact has on disk."""
        total = 0
        for folder, _, names in os.walk(self.partial(source)):
            for name in names:
                try:
                    total += (Path(folder) / name).lstat().st_size
                except FileNotFoundError:  # renamed by the download between listing and asking
                    continue
        return total

    def tell(self, source: Source, progress: Progress) -> None:
        """Write the artifact's progress file."""
        path = self._progress_path(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, progress_json(progress), durable=False)

    def _progress(self, source: Source) -> Progress | None:
        try:
            return parse_progress(self._progress_path(source).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _progress_path(self, source: Source) -> Path:
        return self.run / "fetcher" / f"{artifact_key(source)}.json"


def file_record(path: Path) -> FileRecord:
    """Hash one file."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
            size += len(chunk)
    return FileRecord(size, sha256.hexdigest())


def served_files(folder: Path) -> dict[str, FileRecord]:
    """Hash the served files of a folder."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and is_served(path.name))
    return {name: file_record(folder / name) for name in names}


@contextmanager
def disk_errors(uri: str) -> Iterator[None]:
    """Turn a full disk into the reason that the operator shows."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        message = f"{uri}: the cache volume is full; it needs room for this artifact beside those in use (cache.size)"
        raise SourceError("DiskFull", message) from error


def _write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    if durable:
        _fsync(draft)
    draft.replace(path)
    if durable:
        _fsync(path.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
