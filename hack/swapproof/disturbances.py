"""What happens to a fleet beside a move: its operator is killed, a pod is deleted, all pods are evicted."""

import json
import time
from random import Random

from hack.cluster.progress import StepError
from hack.stage.cluster import OPERATOR_NAMESPACE, RELEASE
from hack.stage.kubectl import Kubectl
from hack.stage.processes import kill, processes_of
from hack.swapproof.moves import Disturbance
from hack.swapproof.wanted import MODEL

EVICTION_S = 240.0
RETRY_S = 1.0  # how soon an eviction is asked for again that the budget did not allow


def happen(kubectl: Kubectl, disturbance: Disturbance, random: Random) -> None:
    """Wait for the moment, then disturb."""
    time.sleep(disturbance.after_s)
    match disturbance.name:
        case "operator killed":
            kill_operator(kubectl)
        case "pod deleted":
            delete_pod(kubectl, random)
        case "pods evicted":
            evict_pods(kubectl)
        case other:
            raise StepError(f"nobody knows how to make {other!r} happen")


def kill_operator(kubectl: Kubectl) -> None:
    """SIGKILL the operator where the node is this machine, and take its pod away without a grace period.

    The pod goes too because a container that is restarted again and again waits ever longer.
    """
    namespace = f"--namespace={OPERATOR_NAMESPACE}"
    selector = f"--selector=app.kubernetes.io/instance={RELEASE}"
    for pod in kubectl.get("pods", namespace, selector)["items"]:
        kill(processes_of(pod["metadata"]["uid"]))
    kubectl("delete", "pods", namespace, selector, "--grace-period=0", "--force", "--wait=false")


def delete_pod(kubectl: Kubectl, random: Random) -> None:
    """Delete one of the worker pods, as anyone may, and wait until it has drained."""
    pod = random.choice(kubectl.pods(MODEL))
    kubectl.remove(f"pod/{pod.name}")


def evict_pods(kubectl: Kubectl) -> None:
    """Evict every worker pod, one after the other as the disruption budget allows, as a node's drain does."""
    pods = kubectl.pods(MODEL)
    for pod in pods:
        evict(kubectl, pod.name, EVICTION_S)
    kubectl("wait", "--for=delete", *(f"pod/{pod.name}" for pod in pods), f"--timeout={EVICTION_S:.0f}s")


def evict(kubectl: Kubectl, pod: str, within_s: float) -> None:
    """Ask for a pod's eviction until the budget allows it; one that has gone by itself is fine."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": kubectl.namespace},
    }
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    for _ in range(int(within_s / RETRY_S)):
        try:
            kubectl("create", f"--raw={path}", "--filename=-", text=json.dumps(eviction))
        except StepError as error:
            if "not found" in str(error):
                return
            if "disruption budget" not in str(error):
                raise
            time.sleep(RETRY_S)
        else:
            return
    raise StepError(f"pod {pod} was not evicted within {within_s:.0f} s")
