"""Files on their way, as they lie on disk: bytes that came stay, across breaks and restarts, and versions never mix.

A file's parts are written where they belong, in any order; a record beside it says how much of each came.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DRAFT, _RECORD, _NOTE = ".draft", ".came", ".whole"
_COUNT_BYTES = 8  # of the record, for each part
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source; `version` tells its content from what lay under the same name before."""

    name: str
    size: int
    version: str


@dataclass(frozen=True)
class Part:
    """The bytes of a file from `start` up to `end`, of which so many came."""

    number: int
    start: int
    end: int
    came: int

    @property
    def is_complete(self) -> bool:
        """Tell whether all of it is there."""
        return self.start + self.came == self.end


@dataclass(frozen=True)
class Draft:
    """A file under way: it gets its name once it is whole, and an empty note beside it says of which version it is."""

    file: RemoteFile
    folder: Path
    part_bytes: int

    def kept(self) -> tuple[Path, ...]:
        """Return what an earlier try may have left that is still of use."""
        return (self._note, self._target) if self.is_settled() else (self.path, self.record)

    def is_settled(self) -> bool:
        """Tell whether the file is there, whole and under its name."""
        if not (self._note.exists() and self._target.is_file()):
            return False
        return self._target.stat().st_size == self.file.size  # a node that broke down may have lost its end

    def parts(self) -> Iterator[Part]:
        """Yield the file's parts in order, as far as they came."""
        with self.record.open("rb") as record:
            for number, start in enumerate(range(0, self.file.size, self.part_bytes)):
                end = min(start + self.part_bytes, self.file.size)
                came = int.from_bytes(record.read(_COUNT_BYTES))
                yield Part(number, start, end, came if came <= end - start else 0)

    def begin(self) -> None:
        """Make the file of its whole size, without content yet, and the record; what is there of both stays."""
        if not self.path.exists():
            self.record.unlink(missing_ok=True)  # of a file that somebody removed
        self.record.touch()  # first: whoever counts what came takes a file without one for whole
        with self.path.open("ab") as draft:
            draft.truncate(self.file.size)

    def settle(self) -> None:
        """Give the whole file its name."""
        with self.path.open("rb") as draft:
            os.fsync(draft.fileno())  # nobody looks at the record any more, which is of no use after a power failure
        self._note.touch()  # first: without it nobody could tell the file's version
        self.path.rename(self._target)
        self.record.unlink()

    @property
    def path(self) -> Path:
        """Return where the file lies until it is whole."""
        return self.folder / f".{self._version_hash()}{_DRAFT}"

    @property
    def record(self) -> Path:
        """Return where it is noted how much of each part came.

        After a power failure the disk may have the record and not the bytes, so it counts until the next boot alone.
        """
        return self.folder / f".{self._version_hash()}.{self.part_bytes}.{_boot()}{_RECORD}"

    @property
    def _note(self) -> Path:
        return self.folder / f".{self._version_hash()}{_NOTE}"

    @property
    def _target(self) -> Path:
        return self.folder / self.file.name

    def _version_hash(self) -> str:
        return hashlib.sha256(f"{self.file.name} {self.file.version}".encode()).hexdigest()[:16]


def note_came(record: int, part: Part, came: int) -> None:
    """Note in an open record that so many bytes of a part are there."""
    os.pwrite(record, came.to_bytes(_COUNT_BYTES), part.number * _COUNT_BYTES)


def unfilled_bytes(folder: Path) -> int:
    """Return how many bytes of a folder's files aren't content, by their sizes: what drafts lack, and the records."""
    unfilled = 0
    for path in folder.glob(f".*{_RECORD}"):
        version = path.name.removeprefix(".").partition(".")[0]
        try:
            counts, size = path.read_bytes(), (folder / f".{version}{_DRAFT}").stat().st_size
        except FileNotFoundError:  # settled between listing and asking
            continue
        came = (counts[at : at + _COUNT_BYTES] for at in range(0, len(counts), _COUNT_BYTES))
        unfilled += size - sum(map(int.from_bytes, came)) + len(counts)
    return unfilled


def remove_notes(folder: Path) -> None:
    """Forget which versions came whole: nothing goes on from here any more."""
    for note in folder.glob(f".*{_NOTE}"):
        note.unlink()


@cache
def _boot() -> str:
    """Return what tells this run of the node's kernel from all others; a laptop may have nothing that does."""
    return _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""
