"""Images of a few files, written as archives by hand, such as the pods' pause image."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VERSION = "2"
PAUSE_IMAGE = f"localhost/pause:{VERSION}"
FOLDERS = {"bin": 0o755, "etc": 0o755, "tmp": 0o1777}
FOREVER = ["/bin/busybox", "sleep", "2147483647"]


def write_pause_image(busybox: Path, archive: Path) -> None:
    """Write an archive with the image of the process that holds a pod's namespaces."""
    archive.write_bytes(docker_archive(layer_of({"bin/busybox": busybox.read_bytes()}), PAUSE_IMAGE, FOREVER))


def layer_of(executables: Mapping[str, bytes]) -> bytes:
    """Return a layer with these files; the same for the same content."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for path, mode in FOLDERS.items():
            folder = tarfile.TarInfo(path)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        for path, content in executables.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def docker_archive(layer: bytes, reference: str, entrypoint: Sequence[str]) -> bytes:
    """Return a docker-archive of an image of one layer."""
    digest = hashlib.sha256(layer).hexdigest()
    config = _json(image_config(digest, entrypoint))
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]
    files = {f"{digest}.tar": layer, name: config}
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for path, content in {**files, "manifest.json": _json(manifest)}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def image_config(layer_digest: str, entrypoint: Sequence[str]) -> dict[str, Any]:
    """Return an image's configuration."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
