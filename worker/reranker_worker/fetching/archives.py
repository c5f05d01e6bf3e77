"""The served files of an image's layer: what lies in its root or in /models, as files only."""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import IMAGE_FOLDERS, is_served
from reranker_worker.fetching.cache import folder_bytes
from reranker_worker.fetching.transfer import Transfer

_ARCHIVES = (".tar", ".tar+gzip", ".tar.gzip")
_ANY_ARCHIVE = re.compile(r"\.tar([+.]|$)")
_CHUNK_BYTES = 1 << 20
_LONGEST_HEADERS = 1 << 20
_GZIP = b"\x1f\x8b"
_BROKEN = (tarfile.TarError, EOFError, UnicodeError, RecursionError, zlib.error, gzip.BadGzipFile)


def is_archive(media_type: str) -> bool:
    """Tell whether a layer of this media type is an archive that can be unpacked."""
    return media_type.endswith(_ARCHIVES)


def is_closed_archive(media_type: str) -> bool:
    """Tell whether a layer of this media type is an archive that can't be unpacked: compressed in another way."""
    return _ANY_ARCHIVE.search(media_type) is not None and not is_archive(media_type)


def unpack(uri: str, archive: Path, folder: Path, transfer: Transfer) -> None:
    """Put an archive's served files into a folder in the archive's place; links and deeper folders aren't followed."""
    try:
        with _opened(archive) as stream, tarfile.TarFile(fileobj=stream) as members:
            for member in _members(members):
                transfer.check()
                name = _served_name(member)
                content = members.extractfile(member) if name else None
                if content is not None:
                    stream.may_bring(member.size)
                    _write(content, member.size, folder / name, transfer)
                stream.may_bring(0)
    except _BROKEN as error:
        raise SourceError("SourceNotFound", f"{uri}: a layer can't be unpacked as an archive ({error})") from error
    archive.unlink()
    transfer.expect(folder_bytes(folder))


class _Bounded(io.BufferedReader):
    """An archive's bytes, of which headers get a few: whatever extends them, tarfile takes into memory."""

    _left = _LONGEST_HEADERS

    def may_bring(self, content_bytes: int) -> None:
        """Allow what follows: a file's content, and the next one's headers."""
        self._left = content_bytes + _LONGEST_HEADERS

    def read(self, size: int | None = -1, /) -> bytes:
        """Return as many bytes as are asked for; raises ReadError where they are more than what may come."""
        self._left -= size if size is not None and size >= 0 else self._left + 1
        if self._left < 0:
            raise tarfile.ReadError(f"the headers of a file have more than {_LONGEST_HEADERS} bytes")
        return super().read(size)


def _opened(archive: Path) -> _Bounded:
    with archive.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    # A GzipFile reads as files without a buffer do, whatever its type says.
    return _Bounded(cast("io.RawIOBase", gzip.open(archive)) if packed else archive.open("rb", buffering=0))


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield an archive's members, and let go of what tarfile keeps of each: a small layer may have many."""
    while (member := archive.next()) is not None:
        yield member
        archive.members.clear()  # type: ignore[attr-defined]
        archive.pax_headers = {}


def _served_name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath("/", member.name).relative_to("/")
    top = "" if path.parent == PurePosixPath() else str(path.parent)
    return path.name if member.isfile() and top in IMAGE_FOLDERS and is_served(path.name) else ""


def _write(content: IO[bytes], size: int, target: Path, transfer: Transfer) -> None:
    """Write a member, once there is room for it beside all archives: how large it is, no manifest tells."""
    target.unlink(missing_ok=True)  # of an earlier layer, which this one replaces
    transfer.expect(folder_bytes(target.parent) + size)
    with content, target.open("wb") as writer:
        while chunk := content.read(_CHUNK_BYTES):
            transfer.check()
            writer.write(chunk)
