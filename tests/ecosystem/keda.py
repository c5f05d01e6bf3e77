"""The real KEDA on the node, as its own manifests install it."""

from collections.abc import Iterator
from contextlib import contextmanager

from hack.cluster.golang import GoProgram, module_folder
from tests.apiserver.published import KEDA, KEDA_VERSION
from tests.e2e.kube import Kube
from tests.ecosystem import programs

NAMESPACE = "keda"
#: By the path in its image that its manifests start, and by the Deployment that does.
PROGRAMS = {
    "keda": GoProgram("operator", KEDA, KEDA_VERSION, "./cmd/operator"),
    "keda-adapter": GoProgram("adapter", KEDA, KEDA_VERSION, "./cmd/adapter"),
    "keda-admission-webhooks": GoProgram("webhooks", KEDA, KEDA_VERSION, "./cmd/webhooks"),
}
DEPLOYMENTS = {
    "keda-operator": "keda",
    "keda-metrics-apiserver": "keda-adapter",
    "keda-admission": "keda-admission-webhooks",
}
METRICS_API = "v1beta1.external.metrics.k8s.io"


@contextmanager
def running(kube: Kube) -> Iterator[None]:
    """Run KEDA for a block; its kinds and its metrics are served meanwhile."""
    here = Kube(kube.kubeconfig, NAMESPACE)
    with programs.running(here, module_folder(KEDA, KEDA_VERSION) / "config/default", PROGRAMS, DEPLOYMENTS):
        here("wait", f"apiservice/{METRICS_API}", "--for=condition=Available", "--timeout=120s")
        yield
