"""Images of a few files, written as archives by hand: the pods' pause image, and busybox for tests."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VERSION = "1"
PAUSE_IMAGE = f"localhost/pause:{VERSION}"
BUSYBOX_IMAGE = f"localhost/busybox:{VERSION}"
IMAGES = (PAUSE_IMAGE, BUSYBOX_IMAGE)
FOLDERS = {"bin": 0o755, "etc": 0o755, "tmp": 0o1777}
FOREVER = ["/bin/busybox", "sleep", "2147483647"]


def write_busybox_images(busybox: Path, applets: Sequence[str], archive: Path) -> None:
    """Write an archive with both images; they share their one layer."""
    links = {f"bin/{name}": "busybox" for name in applets if name != "busybox"}
    layer = layer_of({"bin/busybox": busybox.read_bytes()}, links)
    commands = {PAUSE_IMAGE: FOREVER, BUSYBOX_IMAGE: ["/bin/sh"]}
    archive.write_bytes(docker_archive(layer, commands))


def layer_of(executables: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """Return a layer with these files and symbolic links; the same for the same content."""
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
        for path, target in links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return output.getvalue()


def docker_archive(layer: bytes, commands: Mapping[str, Sequence[str]]) -> bytes:
    """Return a docker-archive of images that have one layer and differ in their command."""
    digest = hashlib.sha256(layer).hexdigest()
    files = {f"{digest}.tar": layer}
    manifest = []
    for reference, command in commands.items():
        config = _json(image_config(digest, command))
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        files[name] = config
        manifest.append({"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]})
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for path, content in {**files, "manifest.json": _json(manifest)}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def image_config(layer_digest: str, command: Sequence[str]) -> dict[str, Any]:
    """Return an image's configuration."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
