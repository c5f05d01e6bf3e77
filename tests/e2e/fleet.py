"""The system under test on a node: its operator, its models, and a client among them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hack.stage.processes import kill, processes_of
from tests.e2e.client import Client, Reply
from tests.e2e.kube import Kube, Object, eventually
from tests.fixtures.known_models import Artifacts

SYSTEM_NAMESPACE = "reranker-system"
OPERATOR = "reranker-operator"


@dataclass
class Model:
    """A RerankerModel that a test deployed."""

    name: str
    kube: Kube
    client: Client
    _reached: str = field(default="", init=False)  # the UID of the Service that the client's node leads to

    def resource(self) -> Object:
        return self.kube.get("rerankermodel", self.name)

    @property
    def status(self) -> Object:
        status: Object = self.resource()["status"]
        return status

    def patch(self, spec: Object) -> None:
        self.kube.patch("rerankermodel", self.name, {"spec": spec})

    def wait_ready(self, timeout_s: int = 180) -> None:
        """Wait until it is Ready and, once for each Service that it gets, until the client's node leads there.

        kube-proxy looks at Services once a second at most. One whose pods it doesn't know yet it refuses, and what is
        sent to an address that it doesn't know yet is lost.
        """
        self.kube.wait_ready(self.name, timeout_s)
        if not self.pods():
            return
        service = self.kube.get("service", self.name)["metadata"]["uid"]
        if service != self._reached:
            eventually(lambda: self.client.reaches(self.name), what=f"the node leads to {self.name}")
            self._reached = service

    def rerank(self, **members: object) -> Reply:
        """Send through the Service."""
        return self.client.rerank(self.name, **members)

    def pods(self) -> list[Object]:
        """Return the pods that aren't ending."""
        found = self.kube.items("pod", f"reranker.dev/model={self.name}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod_uids(self) -> list[str]:
        return sorted(pod["metadata"]["uid"] for pod in self.pods())

    def pod_addresses(self) -> list[str]:
        return [pod["status"]["podIP"] for pod in self.pods()]

    def restarts(self, container: str) -> int:
        """Return how often a container of the model's pods was restarted, all pods together."""
        statuses = [
            status
            for pod in self.pods()
            for status in pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
        ]
        return sum(status["restartCount"] for status in statuses if status["name"] == container)

    def kill_servers(self) -> None:
        """SIGKILL each pod's scoring process, from the node: inside its container process 1 can't be killed."""
        for uid in self.pod_uids():
            kill(processes_of(uid, command="serve"))


@dataclass(frozen=True)
class Fleet:
    """What a test deploys to and looks at."""

    kube: Kube
    system: Kube
    client: Client
    artifacts: Artifacts

    def model(self, name: str, folder: str, **spec: Any) -> Model:
        """Apply a small RerankerModel whose files lie in `folder` of the claim."""
        self.kube.apply(resource(name, f"pvc://models/{folder}", **spec))
        return Model(name, self.kube, self.client)

    def models(self) -> list[str]:
        """Return the names of the namespace's models."""
        return self.kube("get", "rerankermodels", "-o", "name").replace("rerankermodel.reranker.dev/", "").split()

    def offer_device(self, name: str, amount: int) -> None:
        """Let the node have so many pieces of an extended resource, which then bounds the pods that ask for it."""
        (node,) = self.kube("get", "nodes", "-o", "name").split()
        change = {"status": {"capacity": {name: str(amount)}}}
        self.kube("patch", node, "--subresource=status", "--type=merge", "-p", json.dumps(change))

    def operator_metrics(self) -> Reply:
        """Return what the operator's Service answers to Prometheus."""
        return self.client.send(f"http://{OPERATOR}.{SYSTEM_NAMESPACE}.svc:8080/metrics")

    def kill_operator(self) -> None:
        """SIGKILL the operator, and take its pod away so that no back-off delays the next one."""
        selector = f"app.kubernetes.io/name={OPERATOR}"
        for pod in self.system.items("pod", selector):
            kill(processes_of(pod["metadata"]["uid"]))
        self.system("delete", "pod", "-l", selector, "--grace-period=0", "--force", "--wait=false")

    @contextmanager
    def operator_down(self) -> Iterator[None]:
        """Scale the operator to nothing, and back at the end."""
        self.system("scale", "deployment", OPERATOR, "--replicas=0")
        eventually(lambda: not self.system.items("pod", f"app.kubernetes.io/name={OPERATOR}"), what="operator is gone")
        try:
            yield
        finally:
            self.system("scale", "deployment", OPERATOR, "--replicas=1")
            self.system("rollout", "status", "deployment", OPERATOR, "--timeout=120s")


def resource(name: str, uri: str, **spec: Any) -> Object:
    """Return a RerankerModel with small requests, so that many fit on two cores."""
    return {
        "apiVersion": "reranker.dev/v1alpha1",
        "kind": "RerankerModel",
        "metadata": {"name": name},
        "spec": {
            "source": {"uri": uri},
            "engine": {"dtype": "float32", "maxLength": 128},
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"cpu": "1"}},
            **spec,
        },
    }
