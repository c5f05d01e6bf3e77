"""Files on their way, as they lie on disk: bytes that came stay, across breaks and restarts, and versions never mix.

The disk holds a file's beginning, and parts that are ahead of it; each is joined to it once all before it are there.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NOTES = ".*.whole"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source; `version` tells its content from what lay under the same name before."""

    name: str
    size: int
    version: str


@dataclass(frozen=True)
class Span:
    """The bytes from `start` up to `end` of a file that has `size`."""

    start: int
    end: int
    size: int

    @property
    def is_whole(self) -> bool:
        """Tell whether these are all bytes of the file."""
        return (self.start, self.end) == (0, self.size)


@dataclass(frozen=True)
class Part:
    """Bytes of a file that are to come: to the end of what lies at `path`, whose first byte is the file's `start`th."""

    path: Path
    start: int
    end: int


@dataclass(frozen=True)
class Draft:
    """A file under way: it gets its name once it is whole, and an empty note beside it says of which version it is."""

    file: RemoteFile
    folder: Path
    part_bytes: int

    def kept(self) -> tuple[Path, ...]:
        """Return what an earlier try may have left that is still of use."""
        if self.is_settled():
            return (self._note, self._target)
        return (self._beginning, *(self._ahead(start) for start in self._starts()))

    def is_settled(self) -> bool:
        """Tell whether the file is there, whole and under its name."""
        if not (self._note.exists() and self._target.is_file()):
            return False
        return self._target.stat().st_size == self.file.size  # a node that broke down may have lost its end

    def missing(self) -> Iterator[Part]:
        """Yield what is still to come, in order; to be asked after `join`."""
        came = _size(self._beginning)
        for start in self._starts(came):
            ahead = self._ahead(start)
            if start <= came and not ahead.exists():
                yield Part(self._beginning, 0, self._end(start))
            elif _size(ahead) < self._end(start) - start:
                yield Part(ahead, start, self._end(start))

    def join(self) -> None:
        """Add the parts that are next to the file's beginning; give the file its name once it is whole."""
        if self.is_settled():
            return
        with self._beginning.open("ab") as beginning:
            for start in self._starts(beginning.tell()):
                ahead, came = self._ahead(start), beginning.tell()
                if came < start or _size(ahead) < self._end(start) - start:
                    break
                with ahead.open("rb") as part:
                    part.seek(came - start)  # a fetcher may have been killed while it was adding it
                    shutil.copyfileobj(part, beginning)
                beginning.flush()
                ahead.unlink()
            whole = beginning.tell() == self.file.size
        if whole:
            self._note.touch()  # first: without it nobody could tell the file's version
            self._beginning.rename(self._target)

    def _starts(self, came: int = 0) -> range:
        """Return where the parts begin that aren't whole among the first bytes."""
        return range(came - came % self.part_bytes, self.file.size, self.part_bytes)

    def _end(self, start: int) -> int:
        return min(start + self.part_bytes, self.file.size)

    def _ahead(self, start: int) -> Path:
        return self.folder / f".{self._version_hash()}.{start}-{self._end(start)}.draft"

    @property
    def _beginning(self) -> Path:
        return self.folder / f".{self._version_hash()}.draft"

    @property
    def _note(self) -> Path:
        return self.folder / f".{self._version_hash()}.whole"

    @property
    def _target(self) -> Path:
        return self.folder / self.file.name

    def _version_hash(self) -> str:
        return hashlib.sha256(f"{self.file.name} {self.file.version}".encode()).hexdigest()[:16]


def remove_notes(folder: Path) -> None:
    """Forget which versions came whole: nothing goes on from here any more."""
    for note in folder.glob(_NOTES):
        note.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
