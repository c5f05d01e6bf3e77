"""The artifact cache on disk: partial folders, published artifacts, progress files."""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import (
    COMPLETE,
    ArtifactPhase,
    ArtifactStatus,
    Completion,
    Download,
    FileRecord,
    Progress,
    artifact_key,
    completion_json,
    is_served,
    parse_completion,
    parse_progress,
    progress_json,
)
from reranker_worker.fetching.drafts import unfilled_bytes
from reranker_worker.manifest import Source

_CHUNK_BYTES = 1 << 20
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class ArtifactCache:
    """Where artifacts live (`root`) and where the fetcher tells its progress (`run`).

    What is read only is filled by others; only the progress is written then.
    """

    root: Path
    run: Path
    read_only: bool = False

    @property
    def artifacts(self) -> Path:
        """Return the folder of all published artifacts."""
        return self.root / "artifacts"

    @property
    def partials(self) -> Path:
        """Return the folder of all downloads under way."""
        return self.root / "partial"

    def artifact(self, source: Source) -> Path:
        """Return the folder of a published artifact."""
        return self.artifacts / artifact_key(source)

    def partial(self, source: Source) -> Path:
        """Return the folder that a download goes to."""
        return self.partials / artifact_key(source)

    def lock(self, name: str) -> Path:
        """Return the file by which fetchers lock an artifact, by its key, or something of the whole cache."""
        return self.root / "locks" / name

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
                download = Download(progress.bytes, progress.total_bytes, progress.bytes_per_second)
                return ArtifactStatus(ArtifactPhase.DOWNLOADING, message=message, download=download)
            case _:
                return ArtifactStatus()

    def publish(self, source: Source, completion: Completion) -> None:
        """Make the partial folder the artifact: everything on disk first, COMPLETE last, then one rename."""
        partial, artifact = self.partial(source), self.artifact(source)
        for path in completion.files:
            _fsync(partial / path)
        write_atomically(partial / COMPLETE, completion_json(completion))
        artifact.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(artifact, ignore_errors=True)  # only ever a folder whose COMPLETE can't be read
        partial.rename(artifact)
        _fsync(artifact.parent)
        self._reservation(artifact_key(source)).unlink(missing_ok=True)

    def discard_partial(self, source: Source) -> None:
        """Forget what a download left behind."""
        shutil.rmtree(self.partial(source), ignore_errors=True)
        self._reservation(artifact_key(source)).unlink(missing_ok=True)

    def partial_bytes(self, source: Source) -> int:
        """Return how many bytes the download of an artifact has on disk."""
        return max(0, folder_bytes(self.partial(source)) - unfilled_bytes(self.partial(source)))

    def held_keys(self) -> set[str]:
        """Return the keys of all artifacts that take room here, published or under way."""
        folders = (self.artifacts, self.partials)
        found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
        return {name for name in found if _KEY.fullmatch(name)}

    def reserve(self, key: str, total_bytes: int) -> None:
        """Note how large the artifact that is under way will be."""
        self.partials.mkdir(parents=True, exist_ok=True)
        write_atomically(self._reservation(key), str(total_bytes), durable=False)

    def reserved(self, key: str) -> int:
        """Return how large an artifact under way will be; 0 while that isn't known, or not any more."""
        try:
            return int(self._reservation(key).read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):  # a node that lost its power may leave anything in it
            return 0

    def remove(self, key: str) -> None:
        """Free an artifact's room; COMPLETE goes first, so what a crash leaves behind is taken for nothing."""
        (self.artifacts / key / COMPLETE).unlink(missing_ok=True)
        for folder in (self.artifacts, self.partials):
            shutil.rmtree(folder / key, ignore_errors=True)
        self._reservation(key).unlink(missing_ok=True)

    def tell(self, source: Source, progress: Progress) -> None:
        """Write the artifact's progress file."""
        path = self._progress_path(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, progress_json(progress), durable=False)

    def _reservation(self, key: str) -> Path:
        return self.partials / f"{key}.bytes"

    def _progress(self, source: Source) -> Progress | None:
        try:
            return parse_progress(self._progress_path(source).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _progress_path(self, source: Source) -> Path:
        return self.run / "fetcher" / f"{artifact_key(source)}.json"


def folder_bytes(folder: Path) -> int:
    """Return how many bytes a folder's files have; 0 where there is none."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:  # renamed or removed between listing and asking
                continue
    return total


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


def on_any_disk(tick: Callable[[], None], log: FilteringBoundLogger) -> Callable[[], None]:
    """Return a loop's turn that outlives a cache which can't be used: a network's disk may be away for a moment."""
    trouble = ""

    def turn() -> None:
        nonlocal trouble
        before, trouble = trouble, ""
        try:
            tick()
        except OSError as error:
            trouble = str(error)
            if trouble != before:
                log.warning("the cache can't be used", error=trouble)

    return turn


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a file whole, on disk before the old one goes if it has to be durable."""
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
