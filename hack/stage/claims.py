"""Model folders on their way into the claim that the workers' fetchers read."""

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.progress import StepError, step
from hack.stage import objects
from hack.stage.kubectl import Kubectl
from hack.stage.objects import CLAIM, CONTENTS, LOADER, MODELS_PATH

READY_S = 300
UNPACK = f"""
import sys, tarfile
archive = tarfile.open(fileobj=sys.stdin.buffer, mode="r|")
archive.extractall("{MODELS_PATH}")
print(len(archive.getmembers()))
"""


@dataclass(frozen=True)
class Artifact:
    """A folder as it will stand in the claim, and the digest that a RerankerModel names."""

    name: str
    folder: Path
    digest: str


def fill_claim(kubectl: Kubectl, image: str, artifacts: Sequence[Artifact]) -> None:
    """Copy the model folders into the claim, unless it holds them already."""
    kubectl.apply(objects.namespace(kubectl.namespace))
    kubectl.apply(objects.claim())
    contents = hashlib.sha256("".join(artifact.digest for artifact in artifacts).encode()).hexdigest()[:16]
    annotations = kubectl.get(f"pvc/{CLAIM}")["metadata"].get("annotations", {})
    if annotations.get(CONTENTS) == contents:
        return
    with step(f"{len(artifacts)} model folders copied into the claim {CLAIM}"):
        kubectl.apply(objects.loader_pod(image))
        kubectl.wait("Ready", f"pod/{LOADER}", READY_S)
        _stream(kubectl, archive(artifacts), files=sum(1 for a in artifacts for _ in a.folder.iterdir()))
        # A ReadWriteOnce claim is mounted on one node; on several nodes the model's pods have to go there.
        node = kubectl.get(f"pod/{LOADER}")["spec"]["nodeName"]
        kubectl("annotate", "--overwrite", f"pvc/{CLAIM}", f"{CONTENTS}={contents}", f"{objects.NODE}={node}")
        kubectl.remove(f"pod/{LOADER}")


def archive(artifacts: Sequence[Artifact]) -> bytes:
    """Return the folders as one tar file whose entries any user can read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for artifact in artifacts:
            for path in sorted(artifact.folder.iterdir()):
                entry = tarfile.TarInfo(f"{artifact.name}/{path.name}")
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    tar.addfile(entry, file)
    return buffer.getvalue()


def _stream(kubectl: Kubectl, content: bytes, files: int) -> None:
    argv = kubectl.argv("exec", "--stdin", LOADER, "--", "python3", "-c", UNPACK)
    result = subprocess.run(argv, input=content, capture_output=True, env=kubectl.environment, check=False)
    # kubectl has been seen to exit with 0 after the command in the pod had failed: only its own count is believed.
    if result.returncode or result.stdout.decode().strip() != str(files):
        raise StepError(f"copying the models into the claim failed: {result.stderr.decode().strip()}")
