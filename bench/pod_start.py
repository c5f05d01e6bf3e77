"""Says where a worker pod's start goes, on the local node: from its container's start until the pod is Ready.

A RerankerModel of one replica is served with the demo's MiniLM, then its pod is deleted several times over. Medians.
The kubelet tells a container's start in whole seconds, rounded down, so all figures are too long by up to one second,
half of one in the mean. Run it as a module: python -m bench.pod_start
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from hack.cluster.progress import StepError
from hack.demo import models
from hack.images.delivery import load
from hack.repository import ROOT
from hack.stage import cluster, objects
from hack.stage.claims import fill_claim
from hack.stage.kubectl import Kubectl
from hack.stage.objects import Object
from hack.stage.preparation import prepare
from hack.stage.serving import install_operator, wait_ready

NAMESPACE, MODEL = "reranker-bench", "minilm"
CONTAINER = "server"
LOGS = ROOT / "build" / "reports"
EVENTS: Mapping[str, str] = {
    "listening": "Python and its packages are imported",
    "model load starts": "the manifest is read",
    "model loaded": "the model is loaded and warmed up",
    "serving": "the worker serves",
}
READY = "the pod is Ready"
_STARTED = f'{{.status.containerStatuses[?(@.name=="{CONTAINER}")].state.running.startedAt}}'
_READY = '{.status.conditions[?(@.type=="Ready")].status}'


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=7)
    options = parser.parse_args()
    prepared = prepare("local", NAMESPACE, models.artifacts)
    for image in (prepared.operator_image, prepared.worker_image):
        load(image)
    kubectl, worker = prepared.kubectl, prepared.worker_image.reference
    try:
        install_operator(kubectl, prepared.operator_image.reference, worker)
        fill_claim(kubectl, worker, list(prepared.artifacts.values()))
        name, artifact = next(iter(prepared.artifacts.items()))
        kubectl.apply(_resource(objects.source(name, artifact.digest)))
        wait_ready(kubectl, f"rerankermodel/{MODEL}")
        starts = [_replaced(kubectl) for _ in range(options.starts)]
    finally:
        cluster.disconnect("local", NAMESPACE)
    print("\n".join(table(starts)))


def table(starts: Sequence[Mapping[str, float]]) -> list[str]:
    """Return lines of Markdown: the median second of each phase's end, and of what it took."""
    medians = {phase: statistics.median(start[phase] for start in starts) for phase in (*EVENTS.values(), READY)}
    lines, before = ["| until | from the container's start | of it |", "|---|---|---|"], 0.0
    for phase, second in medians.items():
        lines.append(f"| {phase} | {second:.2f} s | {second - before:.2f} s |")
        before = second
    return lines


def phases(log: str, started_s: float, ready_s: float) -> dict[str, float]:
    """Return how many seconds after its container's start a worker was done with each phase.

    log: the container's lines, each with the runtime's timestamp before it; the other two: seconds of the epoch.
    """
    ends: dict[str, float] = {}
    for line in log.splitlines():
        stamp, _, text = line.partition(" ")
        event = json.loads(text)["event"]
        if event in EVENTS:
            ends.setdefault(EVENTS[event], _epoch_s(stamp) - started_s)
    return ends | {READY: ready_s - started_s}


def _replaced(kubectl: Kubectl) -> dict[str, float]:
    """Delete the model's pod and follow the next one."""
    (old,) = kubectl.pods(MODEL)
    form = f'{{.metadata.name}} {_READY} {_STARTED}{{"\\n"}}'
    watch = ("get", "pods", f"--selector=reranker.dev/model={MODEL}", "--watch", f"--output=jsonpath={form}")
    LOGS.mkdir(parents=True, exist_ok=True)
    with kubectl.running(*watch, log=LOGS / "pod-start.log") as watched:
        kubectl("delete", f"pod/{old.name}", "--wait=false")
        assert watched.stdout is not None
        for line in watched.stdout:
            name, ready, *started = line.split(" ")
            if name != old.name and ready == "True":
                seen_s = time.time()
                break
        else:
            raise StepError(f"kubectl's watch ended before a pod of {MODEL} was Ready: {LOGS / 'pod-start.log'}")
    kubectl("wait", "--for=delete", f"pod/{old.name}", "--timeout=60s")
    log = kubectl("logs", name, f"--container={CONTAINER}", "--timestamps")
    return phases(log, _epoch_s(started[0].strip()), seen_s)


def _epoch_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _resource(source: Object) -> Object:
    return {
        "apiVersion": "reranker.dev/v1alpha1",
        "kind": "RerankerModel",
        "metadata": {"name": MODEL},
        "spec": {"source": source, "replicas": 1, "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}}},
    }


if __name__ == "__main__":
    main()
