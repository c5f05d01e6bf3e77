"""The stage on the local cluster: a RerankerModel behind its Service, swapped in place by the operator, and a cold one.

The node is this machine, so a Service's address and a pod's are reached from here.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hack.clients import stage
from hack.clients.overload import overloaded
from hack.clients.worker import sample, state_at
from hack.cluster.progress import StepError, step
from hack.demo import models
from hack.images.delivery import load
from hack.stage import cluster, objects
from hack.stage.claims import Artifact, fill_claim
from hack.stage.kubectl import Kubectl
from hack.stage.objects import Object
from hack.stage.preparation import prepare
from hack.stage.serving import install_operator, wait_ready

NAMESPACE = "reranker-clients"
MODEL, COLD, GOLDEN = "clients", "cold", "golden"
_PATIENCE_S = 180
_POLL_S = 0.2
_CONNECT_S = 2


@dataclass
class ServiceStage:
    """The stage as custom resources; what is cold stays so until there is the golden set that its gate asks for."""

    kubectl: Kubectl
    artifacts: Mapping[str, Artifact]
    serving: int = 0
    url: str = ""
    cold_url: str = ""
    _overload: ExitStack = field(default_factory=ExitStack)
    _refused: float = 0
    _told_to_wait: float = 0
    _cold: bool = False

    def begin(self) -> None:
        """Have the model served, and a Service that leads to the cold one's pods although they aren't ready."""
        with step(f"{MODEL} is Ready", doing="applying a RerankerModel"):
            self.kubectl.apply(self._resource(MODEL, 0), _unready_service())
            wait_ready(self.kubectl, f"rerankermodel/{MODEL}")
        self.url, self.cold_url = (self._address(name) for name in (MODEL, f"{COLD}-unready"))
        # kube-proxy looks at Services once a second at most, and refuses or loses what is sent before.
        _wait_for(f"the node leads to {MODEL}", lambda: _listens(self.url))

    def swap(self) -> None:
        """Edit the source, and wait until the operator has flipped every pod."""
        self.serving = 1 - self.serving
        self.kubectl.patch(f"rerankermodel/{MODEL}", {"spec": {"source": self._source(stage.REVISIONS[self.serving])}})
        wait_ready(self.kubectl, f"rerankermodel/{MODEL}")

    def overload(self) -> None:
        """Fill the queue of the one pod."""
        self._overload.enter_context(overloaded(self.url, stage.KEY))
        self._refused = self._refusals(MODEL, stage.OVERLOADED)

    def relieve(self) -> None:
        """Give up the request that fills the queue."""
        self._overload.close()

    def relieve_after_refusal(self) -> None:
        """Wait for a refusal, then give up."""
        _wait_for("a client was refused", lambda: self._refusals(MODEL, stage.OVERLOADED) > self._refused)
        self.relieve()

    def cool(self) -> None:
        """Start a model's pod, which nothing admits before its gate has a golden set."""
        if not self._cold:
            self.kubectl.remove(f"rerankermodel/{COLD}", f"configmap/{GOLDEN}")
            # One that drains still answers at the cold address.
            _wait_for("the former cold pod is gone", lambda: not self.kubectl.pods(COLD, draining=True))
            gated = self._resource(COLD, 0)
            gated["spec"]["rollout"]["gate"] = {"goldenSet": {"configMapRef": {"name": GOLDEN}}}
            self.kubectl.apply(gated)
            _wait_for("the cold pod has loaded its model", self._loaded)
            self._cold = True
        self._told_to_wait = self._refusals(COLD, stage.NOT_READY)

    def warm_after_refusal(self) -> None:
        """Create the golden set once the cold pod has refused a client since `cool`."""
        _wait_for("a client was refused", lambda: self._refusals(COLD, stage.NOT_READY) > self._told_to_wait)
        self._cold = False
        self.kubectl.apply(_golden_set())
        wait_ready(self.kubectl, f"rerankermodel/{COLD}")

    def _loaded(self) -> bool:
        if not any(pod.address for pod in self.kubectl.pods(COLD)):
            return False
        state = state_at(self._internal(COLD))
        return [model["phase"] for model in state.get("models", [])] == ["Loaded"]

    def _refusals(self, model: str, line: str) -> float:
        return sample(self._internal(model), line)

    def _internal(self, model: str) -> str:
        (pod,) = self.kubectl.pods(model)
        return f"http://{pod.address}:8081"

    def _address(self, service: str) -> str:
        return f"http://{self.kubectl.get(f'service/{service}')['spec']['clusterIP']}:8080"

    def _source(self, folder: str) -> Object:
        return objects.source(folder, self.artifacts[folder].digest)

    def _resource(self, name: str, revision: int) -> Object:
        spec: dict[str, Any] = {
            "source": self._source(stage.REVISIONS[revision]),
            "servedName": stage.SERVED_NAME,
            "engine": {
                "dtype": "float32",
                "maxLength": 256,
                "maxBatchTokens": stage.BATCH_TOKENS,
                "maxQueueTokens": stage.QUEUE_TOKENS,
            },
            "adapters": [{"name": stage.ADAPTER_NAME, "source": self._source(stage.ADAPTER)}],
            "replicas": 1,
            "rollout": {"strategy": "InPlace"},
            "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}},
        }
        return {
            "apiVersion": "reranker.dev/v1alpha1",
            "kind": "RerankerModel",
            "metadata": {"name": name},
            "spec": spec,
        }


@contextmanager
def service_stage() -> Iterator[ServiceStage]:
    """Serve on the local cluster, which is brought up, until the context ends."""
    prepared = prepare("local", NAMESPACE, models.artifacts)
    try:
        load(prepared.operator_image)
        load(prepared.worker_image)
        worker = prepared.worker_image.reference
        install_operator(prepared.kubectl, prepared.operator_image.reference, worker)
        fill_claim(prepared.kubectl, worker, list(prepared.artifacts.values()))
        served = ServiceStage(prepared.kubectl, prepared.artifacts)
        served.begin()
        try:
            yield served
        finally:
            served.relieve()
    finally:
        cluster.disconnect("local", NAMESPACE)


def _golden_set() -> Object:
    question = {"query": "text editor", "documents": ["an editor of texts", "a game"], "relevance": [1, 0]}
    data = {"golden.jsonl": json.dumps(question)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": GOLDEN}, "data": data}


def _unready_service() -> Object:
    spec = {
        "selector": {"reranker.dev/model": COLD},
        "ports": [{"port": 8080}],
        "publishNotReadyAddresses": True,
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{COLD}-unready"}, "spec": spec}


def _listens(url: str) -> bool:
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname, place.port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def _wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise StepError(f"not so within {_PATIENCE_S} s: {what}")
        time.sleep(_POLL_S)
