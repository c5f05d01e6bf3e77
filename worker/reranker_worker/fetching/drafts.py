"""Files on their way from a remote source: bytes that came stay, across breaks and restarts, and versions never mix."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reranker_worker.errors import SourceError
from reranker_worker.fetching.transfer import Transfer

_NOTES = ".*.whole"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source; `version` tells its content from what lay under the same name before."""

    name: str
    size: int
    version: str


#: Yields a file's bytes from an offset on.
Read = Callable[[RemoteFile, int], Iterable[bytes]]


def bring(uri: str, files: Sequence[RemoteFile], partial: Path, transfer: Transfer, read: Read) -> None:
    """Complete the files in the partial folder, each from where an earlier try left it; what came whole stays."""
    drafts = [_Draft(file, partial) for file in files]
    kept = {path for draft in drafts for path in draft.kept()}
    for leftover in partial.iterdir():  # of another version, or made of the files since
        if leftover not in kept:
            _remove(leftover)
    transfer.expect(sum(file.size for file in files))
    for draft in drafts:
        if not draft.is_settled():
            _complete(uri, draft, transfer, read)
            draft.settle()


def _remove(leftover: Path) -> None:
    if leftover.is_dir() and not leftover.is_symlink():  # an earlier build's fetchers left some, too
        shutil.rmtree(leftover)
    else:
        leftover.unlink()


def remove_notes(folder: Path) -> None:
    """Forget which versions came whole: nothing goes on from here any more."""
    for note in folder.glob(_NOTES):
        note.unlink()


@dataclass(frozen=True)
class _Draft:
    """A file under way: it gets its name once it is whole, and an empty note beside it says of which version it is."""

    file: RemoteFile
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f".{self._version_hash()}.draft"

    def kept(self) -> tuple[Path, ...]:
        """Return what an earlier try may have left that is still of use."""
        return (self.path, self._note, self._target) if self.is_settled() else (self.path,)

    def is_settled(self) -> bool:
        if not (self._note.exists() and self._target.is_file()):
            return False
        return self._target.stat().st_size == self.file.size  # a node that broke down may have lost its end

    def settle(self) -> None:
        """Give the whole file its name; the note comes first: without it nobody could tell the file's version."""
        self._note.touch()
        self.path.rename(self._target)

    @property
    def _note(self) -> Path:
        return self.folder / f".{self._version_hash()}.whole"

    @property
    def _target(self) -> Path:
        return self.folder / self.file.name

    def _version_hash(self) -> str:
        return hashlib.sha256(f"{self.file.name} {self.file.version}".encode()).hexdigest()[:16]


def _complete(uri: str, draft: _Draft, transfer: Transfer, read: Read) -> None:
    file = draft.file
    with draft.path.open("ab") as writer:
        transfer.check()
        for chunk in read(file, writer.tell()) if writer.tell() < file.size else ():
            transfer.check()
            if writer.tell() + len(chunk) > file.size:
                draft.path.unlink()  # nothing could be added to it
                message = f"{uri}: {file.name} goes on beyond the {file.size} bytes that its source says"
                raise SourceError("DigestMismatch", message)
            writer.write(chunk)
        came = writer.tell()
    if came < file.size:
        message = f"{uri}: {came} bytes of {file.name} came, and its source says {file.size}"
        raise SourceError("SourceUnreachable", message)
