"""What an artifact is: its key, the files of it that are served, its digest and its COMPLETE record. No I/O."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as Bounded

from reranker_worker.canonical_json import canonical_json
from reranker_worker.errors import SourceError
from reranker_worker.manifest import Source

SERVED_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "generation_config.json",
)
PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
COMPLETE = "COMPLETE"
#: Where an image has its files.
IMAGE_FOLDERS = ("", "models")


@dataclass(frozen=True)
class FileRecord:
    """One served file of an artifact."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Completion:
    """The COMPLETE record: where a published artifact came from and what it holds."""

    uri: str
    revision: str | None
    digest: str
    files: Mapping[str, FileRecord]

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files.values())


class ArtifactPhase(StrEnum):
    """How far the fetcher is with an artifact."""

    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class Download:
    """How far a download is; `total_bytes` is 0 until the source has told it."""

    bytes: int
    total_bytes: int
    bytes_per_second: int

    def document(self) -> dict[str, int]:
        """Return the JSON document of the contract."""
        return {"bytes": self.bytes, "totalBytes": self.total_bytes, "bytesPerSecond": self.bytes_per_second}


@dataclass(frozen=True)
class ArtifactStatus:
    """What is known of an artifact on this pod; `digest` is "" and `size` (bytes) 0 until it is complete."""

    phase: ArtifactPhase = ArtifactPhase.PENDING
    digest: str = ""
    reason: str = ""
    message: str = ""
    size: int = 0
    download: Download | None = None


@dataclass(frozen=True)
class Progress:
    """What the fetcher tells about one artifact under way."""

    phase: Literal[ArtifactPhase.DOWNLOADING, ArtifactPhase.COMPLETE, ArtifactPhase.FAILED]
    reason: str = ""
    message: str = ""
    bytes: int = 0
    total_bytes: int = 0
    bytes_per_second: int = 0


def artifact_key(source: Source) -> str:
    """Return the artifact's folder name: 32 hex digits of sha256 over the source's canonical JSON."""
    members = {"uri": source.uri, "revision": source.revision, "digest": source.digest}
    return hashlib.sha256(canonical_json(members).encode()).hexdigest()[:32]


def is_served(path: str) -> bool:
    """Tell whether a source's file belongs to the artifact; only the top folder counts."""
    return "/" not in path and any(fnmatchcase(path, pattern) for pattern in SERVED_PATTERNS)


def is_pickled(path: str) -> bool:
    """Tell whether a file holds weights in a format that runs code when it is opened."""
    return path.endswith(PICKLED_SUFFIXES)


def artifact_digest(files: Mapping[str, FileRecord]) -> str:
    """Return the digest of `sha256sum`'s output for the files, sorted bytewise by path."""
    lines = [f"{files[path].sha256}  {path}\n" for path in sorted(files, key=str.encode)]
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def require_weights(uri: str, paths: Iterable[str]) -> None:
    """Refuse a source without safetensors weights: by name where all that it has is pickled."""
    paths = list(paths)
    if any(is_served(path) and path.endswith(".safetensors") for path in paths):
        return
    pickled = sorted(path for path in paths if is_pickled(path))
    if pickled:
        found = ", ".join(pickled[:3])
        message = (
            f"{uri}: the weights are pickled ({found}), which runs code when opened; only *.safetensors are served"
        )
        raise SourceError("PickledWeights", message)
    raise SourceError("SourceNotFound", f"{uri}: no *.safetensors in its top folder")


def completion_json(completion: Completion) -> str:
    """Return COMPLETE's text."""
    return canonical_json(
        {
            "uri": completion.uri,
            "revision": completion.revision,
            "digest": completion.digest,
            "files": {path: {"size": file.size, "sha256": file.sha256} for path, file in completion.files.items()},
        }
    )


def parse_completion(text: str | bytes) -> Completion:
    """Parse COMPLETE; raises ValueError if it isn't one."""
    return _CompletionDocument.model_validate_json(text).completion()


def progress_json(progress: Progress) -> str:
    """Return a progress file's text."""
    return canonical_json(
        {
            "phase": str(progress.phase),
            "reason": progress.reason,
            "message": progress.message,
            "bytes": progress.bytes,
            "totalBytes": progress.total_bytes,
            "bytesPerSecond": progress.bytes_per_second,
        }
    )


def parse_progress(text: str | bytes) -> Progress | None:
    """Parse a progress file, or return None where it can't be understood: it only ever informs."""
    try:
        document = _ProgressDocument.model_validate_json(text)
    except ValidationError:
        return None
    return Progress(**document.model_dump())


class _FileDocument(BaseModel):
    size: int
    sha256: str


class _CompletionDocument(BaseModel):
    uri: str
    revision: str | None = None
    digest: str
    files: dict[str, _FileDocument]

    def completion(self) -> Completion:
        files = {path: FileRecord(file.size, file.sha256) for path, file in self.files.items()}
        return Completion(self.uri, self.revision, self.digest, files)


class _ProgressDocument(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    phase: Literal[ArtifactPhase.DOWNLOADING, ArtifactPhase.COMPLETE, ArtifactPhase.FAILED]
    reason: str = ""
    message: str = ""
    bytes: int = 0
    total_bytes: int = Bounded(default=0, alias="totalBytes")
    bytes_per_second: int = Bounded(default=0, alias="bytesPerSecond")
