"""The served files of an image's layer: what lies in its root or in /models, as files only."""

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from reranker_worker.artifacts import IMAGE_FOLDERS, is_served
from reranker_worker.errors import SourceError
from reranker_worker.fetching.transfer import Transfer

_ARCHIVES = (".tar", ".tar+gzip", ".tar.gzip")


def is_archive(media_type: str) -> bool:
    """Tell whether a layer of this media type is an archive that can be unpacked."""
    return media_type.endswith(_ARCHIVES)


def unpack(uri: str, archive: Path, folder: Path, transfer: Transfer) -> None:
    """Put an archive's served files into a folder in the archive's place; links and deeper folders aren't followed."""
    try:
        with tarfile.open(archive) as members:
            for member in members:
                transfer.check()
                name = _served_name(member)
                content = members.extractfile(member) if name else None
                if content is not None:
                    with content, (folder / name).open("wb") as target:
                        shutil.copyfileobj(content, target, 1 << 20)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise SourceError("SourceNotFound", f"{uri}: a layer can't be unpacked as an archive ({error})") from error
    archive.unlink()


def _served_name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath("/", member.name).relative_to("/")
    top = "" if path.parent == PurePosixPath() else str(path.parent)
    return path.name if member.isfile() and top in IMAGE_FOLDERS and is_served(path.name) else ""
