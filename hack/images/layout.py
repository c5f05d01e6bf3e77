"""OCI image layouts: of an image that was built again, only what the cluster lacks is archived."""

import io
import json
import tarfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

REFERENCE = "org.opencontainers.image.ref.name"


def write_missing(layout: Path, reference: str, present: Container[str], archive: Path) -> None:
    """Archive one image of a layout without the blobs in `present`."""
    index = json.loads((layout / "index.json").read_text())
    index["manifests"] = [m for m in index["manifests"] if m.get("annotations", {}).get(REFERENCE) == reference]
    (manifest,) = index["manifests"]
    with tarfile.open(archive, "w") as tar:
        tar.add(layout / "oci-layout", "oci-layout")
        content = json.dumps(index).encode()
        entry = tarfile.TarInfo("index.json")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
        for digest in blobs(layout, manifest["digest"]):
            if digest not in present:
                tar.add(blob(layout, digest), f"blobs/{digest.replace(':', '/')}")


def blobs(layout: Path, manifest: str) -> Iterator[str]:
    """Yield the digests of an image's manifest, configuration and layers."""
    described: dict[str, Any] = json.loads(blob(layout, manifest).read_text())
    yield manifest
    yield described["config"]["digest"]
    yield from dict.fromkeys(layer["digest"] for layer in described["layers"])


def blob(layout: Path, digest: str) -> Path:
    """Return a blob's file."""
    return layout / "blobs" / digest.replace(":", "/")
