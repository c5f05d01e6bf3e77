"""Which cluster is used: the local one, one that is there already, or kind's."""

import os
import shutil
from pathlib import Path

from hack.cluster import golang, lifecycle
from hack.cluster.cluster import Cluster, existing
from hack.cluster.paths import state_home
from hack.cluster.progress import StepError, output_of, step
from hack.stage.kubectl import Kubectl

OPERATOR_NAMESPACE = "reranker-system"
RELEASE = "reranker-operator"
RERANKER_MODELS = "rerankermodels.reranker.dev"
CRDS = ("rerankeradapters.reranker.dev", RERANKER_MODELS)
KIND_CLUSTER = "reranker-demo"  # our own; the variable KIND_CLUSTER names one that is there, KIND_IMAGE a node's image
LOCAL = Cluster("local")


def chosen() -> str:
    """Return the kind of cluster that the variable CLUSTER asks for."""
    kind = os.environ.get("CLUSTER") or "local"
    if kind not in {"local", "existing", "kind"}:
        raise StepError(f"CLUSTER is {kind!r}; it can be local, existing (the current kubectl context) or kind")
    return kind


def connect(kind: str, namespace: str) -> Kubectl:
    """Bring the cluster up unless it is the user's own, and return kubectl for a namespace of it."""
    kubeconfig = None
    if kind == "local":
        kubeconfig = lifecycle.up(LOCAL)
    elif kind == "kind":
        kubeconfig = _kind_up()
    kubectl = Kubectl(golang.find_or_build(golang.KUBECTL), kubeconfig, namespace)
    kubectl("version")
    return kubectl


def disconnect(kind: str, namespace: str) -> None:
    """Remove all that was made: a cluster that was started, or the objects in one that was there."""
    match kind:
        case "local":
            lifecycle.down(existing(LOCAL.name) or LOCAL)
        case "kind":
            if _kind_name() == KIND_CLUSTER:
                output_of("kind delete cluster", [_kind(), "delete", "cluster", f"--name={KIND_CLUSTER}"])
            else:
                _remove_objects(Kubectl(golang.find_or_build(golang.KUBECTL), _kind_kubeconfig(), namespace))
        case _:
            _remove_objects(Kubectl(golang.find_or_build(golang.KUBECTL), None, namespace))


def kubeconfig_command(kind: str) -> str:
    """Return the command by which kubectl finds this cluster; empty where the current context does."""
    match kind:
        case "local":
            return 'export KUBECONFIG="$(python3 -m hack.cluster kubeconfig)"'
        case "kind":
            return f"kind export kubeconfig --name={_kind_name()}"
        case _:
            return ""


def removal(kind: str) -> str:
    """Return the command that removes what the demo made in this cluster."""
    named = f" KIND_CLUSTER={_kind_name()}" if kind == "kind" and _kind_name() != KIND_CLUSTER else ""
    return f"CLUSTER={kind}{named} make demo-down"


def _remove_objects(kubectl: Kubectl) -> None:
    with step(f"namespace {kubectl.namespace} is gone"):
        # Kubernetes looks at a namespace that still has pods again after half of their grace period: minutes.
        if RERANKER_MODELS in kubectl("get", "crd", "--output=name"):
            kubectl("delete", RERANKER_MODELS, "--all", "--cascade=foreground", "--wait")
        kubectl.remove(f"namespace/{kubectl.namespace}")
    with step(f"release {RELEASE} is gone"):
        helm = golang.find_or_build(golang.HELM)
        uninstall = ["uninstall", RELEASE, "--ignore-not-found", "--wait", f"--namespace={OPERATOR_NAMESPACE}"]
        output_of("helm uninstall", [helm, *uninstall], env=kubectl.environment)
        kubectl.remove(f"namespace/{OPERATOR_NAMESPACE}")
    # Deleting a CRD deletes every resource of its kind, so it stays where there are some that aren't ours.
    there = kubectl("get", "crd", "--output=name")
    for crd in CRDS:
        if crd in there and not kubectl.get(crd, "--all-namespaces")["items"]:
            kubectl.remove(f"crd/{crd}")


def _kind() -> str:
    found = shutil.which("kind")
    if not found:
        raise StepError("CLUSTER=kind needs kind and Docker: https://kind.sigs.k8s.io; CLUSTER=local needs neither")
    return found


def _kind_name() -> str:
    return os.environ.get("KIND_CLUSTER") or KIND_CLUSTER


def _kind_up() -> Path:
    name = _kind_name()
    os.environ["KIND_CLUSTER"] = name  # tells hack.images where to load to
    if name not in output_of("kind get clusters", [_kind(), "get", "clusters"]).split():
        argv = [_kind(), "create", "cluster", f"--name={name}", "--wait=120s"]
        if image := os.environ.get("KIND_IMAGE"):
            argv.append(f"--image={image}")
        with step(f"kind cluster {name} is ready", doing=f"starting the kind cluster {name}"):
            output_of("kind create cluster", argv)
    return _kind_kubeconfig()


def _kind_kubeconfig() -> Path:
    path = state_home() / "kind.kubeconfig"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(output_of("kind get kubeconfig", [_kind(), "get", "kubeconfig", f"--name={_kind_name()}"]))
    return path
