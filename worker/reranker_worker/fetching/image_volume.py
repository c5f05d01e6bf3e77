"""An image that the node mounted into the pod: its files are served from where they are.

The node has checked each layer against the image's digest, keeps it for other pods, and pulls with its own credentials.
"""

import re
from pathlib import Path

from reranker_worker.fetching.artifacts import IMAGE_FOLDERS, is_served, require_weights
from reranker_worker.manifest import Source

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def mounted_image(source: Source, images: Path) -> Path | None:
    """Return where the image of a source is mounted; None where the node mounts none of that digest."""
    digest = _DIGEST.fullmatch(source.revision or "")
    folder = images / digest[1] if digest else None
    return folder if folder is not None and folder.is_dir() else None


def link_image(uri: str, image: Path, partial: Path) -> None:
    """Fill a partial folder with links to an image's served files; links in it aren't followed."""
    folders = [folder for name in IMAGE_FOLDERS if (folder := image / name).is_dir() and not folder.is_symlink()]
    files = {path.name: path for folder in folders for path in sorted(folder.iterdir()) if _is_file(path)}
    require_weights(uri, files)
    for leftover in partial.iterdir():  # of a start that broke off
        leftover.unlink()
    for name, path in files.items():
        if is_served(name):
            (partial / name).symlink_to(path)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
