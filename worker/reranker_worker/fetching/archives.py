"""The served files of an image's layer: what lies in its root or in /models, as files only."""

import re
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import IMAGE_FOLDERS, is_served
from reranker_worker.fetching.cache import folder_bytes
from reranker_worker.fetching.transfer import Transfer

_ARCHIVES = (".tar", ".tar+gzip", ".tar.gzip")
_ANY_ARCHIVE = re.compile(r"\.tar([+.]|$)")
_CHUNK_BYTES = 1 << 20


def is_archive(media_type: str) -> bool:
    """Tell whether a layer of this media type is an archive that can be unpacked."""
    return media_type.endswith(_ARCHIVES)


def is_closed_archive(media_type: str) -> bool:
    """Tell whether a layer of this media type is an archive that can't be unpacked: compressed in another way."""
    return _ANY_ARCHIVE.search(media_type) is not None and not is_archive(media_type)


def unpack(uri: str, archive: Path, folder: Path, transfer: Transfer) -> None:
    """Put an archive's served files into a folder in the archive's place; links and deeper folders aren't followed."""
    try:
        with tarfile.open(archive) as members:
            for member in members:
                transfer.check()
                name = _served_name(member)
                content = members.extractfile(member) if name else None
                if content is not None:
                    _write(content, member.size, folder / name, transfer)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise SourceError("SourceNotFound", f"{uri}: a layer can't be unpacked as an archive ({error})") from error
    archive.unlink()
    transfer.expect(folder_bytes(folder))


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
