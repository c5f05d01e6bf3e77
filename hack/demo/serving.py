"""The demo's RerankerModel: applied, and what it says of itself."""

import json

from hack.cluster.progress import step
from hack.demo import manifests
from hack.repository import ROOT
from hack.stage.kubectl import Kubectl
from hack.stage.objects import CLAIM, NODE
from hack.stage.serving import wait_ready

MODEL_FILE = ROOT / "examples" / "debian-search" / "model.yaml"
MODEL = "debian-search"
RESOURCE = f"rerankermodel/{MODEL}"


def apply_model(kubectl: Kubectl) -> None:
    """Apply the example's RerankerModel and wait until it is ready."""
    with step(f"{RESOURCE} is Ready", doing=f"kubectl apply -f {MODEL_FILE.relative_to(ROOT)}"):
        if len(kubectl.get("nodes")["items"]) == 1:
            kubectl("apply", f"--filename={MODEL_FILE}")
        else:
            model = json.loads(kubectl("create", "--dry-run=client", f"--filename={MODEL_FILE}", "--output=json"))
            node = kubectl.get(f"pvc/{CLAIM}")["metadata"]["annotations"][NODE]
            kubectl.apply(manifests.pinned(model, node))
        wait_ready(kubectl, RESOURCE)


def serving_revision(kubectl: Kubectl) -> str:
    """Return the revision that the model's status says is serving."""
    return str(kubectl.get(RESOURCE)["status"]["revisions"]["serving"]["name"])
