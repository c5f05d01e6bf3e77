"""Getting a model to serve: the operator's release, the claim with the model folders, the RerankerModel."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from hack.cluster import golang
from hack.cluster.progress import StepError, output_of, step
from hack.demo import manifests
from hack.demo.cluster import OPERATOR_NAMESPACE, RELEASE
from hack.demo.kubectl import Kubectl
from hack.demo.manifests import CLAIM, CONTENTS, LOADER, MODELS_PATH
from hack.demo.models import REPOSITORY, Artifact

CHART = REPOSITORY / "charts" / "reranker-operator"
MODEL_FILE = REPOSITORY / "examples" / "debian-search" / "model.yaml"
MODEL = "debian-search"
RESOURCE = f"rerankermodel/{MODEL}"
READY_S = 300
UNPACK = f"""
import sys, tarfile
archive = tarfile.open(fileobj=sys.stdin.buffer, mode="r|")
archive.extractall("{MODELS_PATH}")
print(len(archive.getmembers()))
"""


def image_values(prefix: str, reference: str) -> list[str]:
    """Return helm's arguments that set an image, from a reference with a tag or a digest."""
    part, separator = ("digest", "@") if "@" in reference else ("tag", ":")
    repository, _, version = reference.rpartition(separator)
    return [f"--set-string={prefix}.repository={repository}", f"--set-string={prefix}.{part}={version}"]


def install_operator(kubectl: Kubectl, operator_image: str, worker_image: str) -> None:
    """Install or upgrade the chart and wait until the operator is ready."""
    argv: list[str | Path] = [golang.find_or_build(golang.HELM), "upgrade", "--install", RELEASE, CHART]
    argv += [f"--namespace={OPERATOR_NAMESPACE}", "--create-namespace", "--wait", "--timeout=180s"]
    argv += [*image_values("image", operator_image), *image_values("worker.image", worker_image)]
    with step(f"helm installed {RELEASE} into {OPERATOR_NAMESPACE}"):
        output_of("helm upgrade --install", argv, env=kubectl.environment)


def fill_claim(kubectl: Kubectl, image: str, artifacts: Sequence[Artifact]) -> None:
    """Copy the model folders into the claim, unless it holds them already."""
    kubectl.apply(manifests.namespace(), manifests.claim())
    contents = hashlib.sha256("".join(artifact.digest for artifact in artifacts).encode()).hexdigest()[:16]
    annotations = kubectl.get(f"pvc/{CLAIM}")["metadata"].get("annotations", {})
    if annotations.get(CONTENTS) == contents:
        return
    with step(f"{len(artifacts)} model folders copied into the claim {CLAIM}"):
        kubectl.apply(manifests.loader_pod(image))
        kubectl.wait("Ready", f"pod/{LOADER}", READY_S)
        _stream(kubectl, archive(artifacts), files=sum(1 for a in artifacts for _ in a.folder.iterdir()))
        # A ReadWriteOnce claim is mounted on one node; on several nodes the model's pods have to go there.
        node = kubectl.get(f"pod/{LOADER}")["spec"]["nodeName"]
        kubectl("annotate", "--overwrite", f"pvc/{CLAIM}", f"{CONTENTS}={contents}", f"{manifests.NODE}={node}")
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


def apply_model(kubectl: Kubectl) -> None:
    """Apply the example's RerankerModel and wait until it is ready."""
    with step(f"{RESOURCE} is Ready", doing=f"kubectl apply -f {MODEL_FILE.relative_to(REPOSITORY)}"):
        if len(kubectl.get("nodes")["items"]) == 1:
            kubectl("apply", f"--filename={MODEL_FILE}")
        else:
            model = json.loads(kubectl("create", "--dry-run=client", f"--filename={MODEL_FILE}", "--output=json"))
            node = kubectl.get(f"pvc/{CLAIM}")["metadata"]["annotations"][manifests.NODE]
            kubectl.apply(manifests.pinned(model, node))
        wait_ready(kubectl)


def wait_ready(kubectl: Kubectl) -> None:
    """Wait until the model's newest generation serves everywhere; say what its conditions say when it does not."""
    try:
        kubectl.wait("Ready", RESOURCE, READY_S)
    except StepError as error:
        conditions = kubectl.get(RESOURCE)["status"].get("conditions", [])
        told = "\n".join(f"    {c['type']}={c['status']} {c['reason']}: {c['message']}" for c in conditions)
        raise StepError(f"{RESOURCE} was not Ready after {READY_S} s; its conditions:\n{told}") from error


def serving_revision(kubectl: Kubectl) -> str:
    """Return the revision that the model's status says is serving."""
    return str(kubectl.get(RESOURCE)["status"]["revisions"]["serving"]["name"])


def save_diagnosis(kubectl: Kubectl, log: Path) -> None:
    """Write what helps to find out why a step failed: objects, events and the logs of all containers."""
    commands = (
        ("get", "rerankermodel,pods,pvc", "--output=wide"),
        ("describe", "rerankermodel,pods"),
        ("logs", "--selector=reranker.dev/model", "--all-containers", "--prefix", "--tail=200"),
        ("logs", f"--namespace={OPERATOR_NAMESPACE}", f"--selector=app.kubernetes.io/instance={RELEASE}", "--tail=400"),
    )
    parts = [f"$ kubectl {' '.join(command)}\n{kubectl.attempt(*command)}\n" for command in commands]
    log.write_text("\n".join(parts))
