"""Getting models to serve: the operator's release, the pod that sends load, the wait until a model is Ready."""

from pathlib import Path

from hack.cluster import golang
from hack.cluster.progress import StepError, output_of, step
from hack.repository import ROOT
from hack.stage import objects
from hack.stage.cluster import OPERATOR_NAMESPACE, RELEASE
from hack.stage.kubectl import Kubectl
from hack.stage.objects import LOAD

CHART = ROOT / "charts" / "reranker-operator"
READY_S = 300


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


def start_load_pod(kubectl: Kubectl, image: str, bodies: str) -> None:
    """Start the pod that sends the load; bodies: its requests as JSON lines."""
    script = Path(__file__).with_name("load.py").read_text()
    with step("the pod that sends the load is ready"):
        kubectl.remove(f"pod/{LOAD}")  # one that was there holds the former script
        kubectl.apply(objects.scripts({"load.py": script, "bodies.jsonl": bodies}), objects.load_pod(image))
        kubectl.wait("Ready", f"pod/{LOAD}", READY_S)


def wait_ready(kubectl: Kubectl, resource: str) -> None:
    """Wait until the model's newest generation serves everywhere; say what its conditions say when it does not."""
    try:
        kubectl.wait("Ready", resource, READY_S)
    except StepError as error:
        conditions = kubectl.get(resource)["status"].get("conditions", [])
        told = "\n".join(f"    {c['type']}={c['status']} {c['reason']}: {c['message']}" for c in conditions)
        raise StepError(f"{resource} was not Ready after {READY_S} s; its conditions:\n{told}") from error


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
