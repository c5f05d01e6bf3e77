"""What the proof asks of its RerankerModel, and by which revisions it has to be answered. No I/O.

The revisions' names are worked out here from docs/contract.md; the operator is not asked for them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hack.stage import objects
from hack.stage.objects import Object

ROLL, IN_PLACE, BLUE_GREEN = "RollingUpdate", "InPlace", "BlueGreen"
MODEL = "proof"
RESOURCE = f"rerankermodel/{MODEL}"
REPLICAS = 2
ENGINE = {"dtype": "float32", "maxLength": 128, "scores": "sigmoid"}
OWNED_ADAPTERS = ("tax",)  # each is a RerankerAdapter; the others stand in the model's spec
ADAPTER_RESOURCES = tuple(f"rerankeradapter/{name}" for name in OWNED_ADAPTERS)
KEEP_S = 10  # how long a fleet that was left stays for the way back
GOLDEN = "golden"  # the gate's ConfigMap
MIN_NDCG = "0.90"

Digests = Mapping[str, str]  # of each folder on the claim


@dataclass(frozen=True)
class Wanted:
    """A model and its adapters, as folders on the claim."""

    model: str
    adapters: tuple[tuple[str, str], ...] = ()  # (name, folder), by name

    def folder(self, adapter: str) -> str:
        """Return the folder of an adapter that is there."""
        return dict(self.adapters)[adapter]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the adapters' names."""
        return tuple(name for name, _ in self.adapters)

    def with_adapter(self, name: str, folder: str) -> "Wanted":
        """Return it with an adapter added or changed."""
        return Wanted(self.model, tuple(sorted({**dict(self.adapters), name: folder}.items())))

    def without(self, name: str) -> "Wanted":
        """Return it without an adapter."""
        return Wanted(self.model, tuple(pair for pair in self.adapters if pair[0] != name))

    def with_model(self, model: str) -> "Wanted":
        """Return it with another model."""
        return Wanted(model, self.adapters)


@dataclass(frozen=True)
class Serves:
    """What answers: a model's revision, and an adapter's revision by name."""

    revision: str
    adapters: tuple[tuple[str, str], ...] = ()

    def adapter(self, name: str) -> str:
        """Return the revision that a request for an adapter is answered by; empty where there is none."""
        return dict(self.adapters).get(name, "")


def serves(wanted: Wanted, digests: Digests) -> Serves:
    """Return what answers once a wish has come true."""
    adapters = tuple((name, adapter_revision(name, folder, digests)) for name, folder in wanted.adapters)
    return Serves(model_revision(wanted.model, digests), adapters)


def model_revision(folder: str, digests: Digests) -> str:
    """Return the revision's name for a model's folder."""
    return f"{MODEL}-{_hash8({'source': objects.source(folder, digests[folder]), 'engine': ENGINE})}"


def adapter_revision(name: str, folder: str, digests: Digests) -> str:
    """Return the revision's name for an adapter's folder."""
    return f"{name}-{_hash8(objects.source(folder, digests[folder]))}"


def _hash8(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def resource(wanted: Wanted, strategy: str, digests: Digests) -> Object:
    """Return the RerankerModel, with requests so small that a third worker starts beside two on two cores."""
    adapters = [
        {"name": name, "source": objects.source(folder, digests[folder])}
        for name, folder in wanted.adapters
        if name not in OWNED_ADAPTERS
    ]
    rollout: Object = {"strategy": strategy}
    if strategy == BLUE_GREEN:
        rollout["blueGreen"] = {"keepSeconds": KEEP_S}
    gate = {"goldenSet": {"configMapRef": {"name": GOLDEN}}, "minNDCG": MIN_NDCG}
    return {
        "apiVersion": "reranker.dev/v1alpha1",
        "kind": "RerankerModel",
        "metadata": {"name": MODEL},
        "spec": {
            "source": objects.source(wanted.model, digests[wanted.model]),
            "engine": ENGINE,
            "adapters": adapters,
            "replicas": REPLICAS,
            "rollout": {**rollout, "gate": gate},
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"cpu": "1"}},
        },
    }


def adapter_resources(wanted: Wanted, digests: Digests) -> list[Object]:
    """Return the RerankerAdapters."""
    return [
        {
            "apiVersion": "reranker.dev/v1alpha1",
            "kind": "RerankerAdapter",
            "metadata": {"name": name},
            "spec": {"modelRef": {"name": MODEL}, "source": objects.source(folder, digests[folder])},
        }
        for name, folder in wanted.adapters
        if name in OWNED_ADAPTERS
    ]
