"""Names, labels and hashes that operator and worker agree on, as docs/contract.md lists them. No I/O."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: A JSON object as the API server and the manifest have it.
Document = dict[str, Any]


@dataclass(frozen=True, order=True)
class Key:
    """What the workqueue holds: one RerankerModel."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


#: Field manager, `managed-by` label and reporting controller of Events: one name for all that the operator writes.
MANAGER = "reranker-operator"

MODEL_LABEL = "reranker.dev/model"
TEMPLATE_LABEL = "reranker.dev/template"
FLEET_LABEL = "reranker.dev/fleet"
MANIFEST_ANNOTATION = "reranker.dev/serving-manifest"
REVISION_ANNOTATION = "reranker.dev/revision"
INPUTS_ANNOTATION = "reranker.dev/template-inputs"
FLIP_ANNOTATION = "reranker.dev/flip"
APPLIED_ANNOTATION = "reranker.dev/applied"
GENERATION_ANNOTATION = "reranker.dev/model-generation"

MANIFEST_KEY = "manifest.json"
SERVER = "server"
CLIENT_PORT = 8080
INTERNAL_PORT = 8081


def canonical(document: Any) -> str:
    """The one JSON text of a document: sorted keys, no spaces, members that are None left out."""
    return json.dumps(without_none(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def without_none(value: Any) -> Any:
    """The value with every member left out that is None, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_none(member) for key, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [without_none(member) for member in value]
    return value


def hash8(document: Any) -> str:
    return hashlib.sha256(canonical(document).encode()).hexdigest()[:8]


def model_revision(model: str, source: Document, engine: Document) -> str:
    """Name of what makes the scores: source {uri, revision, digest} and engine {dtype, maxLength, scores}."""
    return f"{model}-{hash8({'source': source, 'engine': engine})}"


def adapter_revision(adapter: str, source: Document) -> str:
    """Name of an adapter's content: source {uri, revision, digest}."""
    return f"{adapter}-{hash8(source)}"


def template_key(inputs: str, revision: str, turn: int = 0) -> str:
    """Key of a pod template, by the hash of all that it is made of but the key, and the revision that it is made for.

    `turn` tells a later template from an earlier one that was made of the same.
    """
    return f"t-{hash8({'inputs': inputs, 'revision': revision, 'turn': turn or None})}"


def serving_configmap(model: str) -> str:
    return f"{model}-serving"


def green_deployment(model: str) -> str:
    """The Deployment of the second fleet; the first one's has the model's name."""
    return f"{model}-green"


def internal_service(model: str) -> str:
    """The Service by which an autoscaler finds the pods that answer."""
    return f"{model}-internal"


def headless_service(model: str) -> str:
    """The Service whose name resolves to the addresses of the pods that answer."""
    return f"{model}-headless"


def labels(model: str) -> dict[str, str]:
    """Labels on everything that a model owns."""
    return {
        "app.kubernetes.io/name": "reranker-worker",
        "app.kubernetes.io/instance": model,
        "app.kubernetes.io/managed-by": MANAGER,
        MODEL_LABEL: model,
    }


def selector(model: str) -> str:
    """Label selector of a model's pods."""
    return f"{MODEL_LABEL}={model}"


def fleet_labels(model: str, fleet: str) -> dict[str, str]:
    """What the Service and a Deployment select: the pods of one of a model's fleets."""
    return {MODEL_LABEL: model, FLEET_LABEL: str(fleet)}


def fleet_selector(model: str, fleet: str) -> str:
    """Label selector of the pods of one of a model's fleets."""
    return f"{selector(model)},{FLEET_LABEL}={fleet}"


def endpoint(namespace: str, model: str) -> str:
    """URL that clients in the cluster use."""
    return f"http://{model}.{namespace}.svc:{CLIENT_PORT}"
