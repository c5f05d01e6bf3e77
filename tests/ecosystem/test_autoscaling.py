"""A model that sleeps, wakes, grows under load, shrinks under load and sleeps again, by the real KEDA on the node."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.client import POD
from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import condition, eventually
from tests.e2e.load import load
from tests.fixtures.known_models import DOCUMENTS, QUERY

pytestmark = pytest.mark.ecosystem

PORT = 8001
#: Requests a second, and the share that they ask of what one worker can score: more than two of these want of it.
RATE, SHARE = 20, 0.35


class Demand:
    """How many clients wait for the model, as KEDA's trigger reads it."""

    def __init__(self, fleet: Fleet) -> None:
        self._kube = fleet.kube
        self.url = f"http://{fleet.kube.get('pod', POD)['status']['podIP']}:{PORT}/demand.json"

    def say(self, waiting: int) -> None:
        write = "cat > /load/next && mv /load/next /load/demand.json"
        self._kube("exec", "-i", POD, "-c", POD, "--", "sh", "-c", write, stdin=json.dumps({"waiting": waiting}))


@contextmanager
def demand(fleet: Fleet) -> Iterator[Demand]:
    """Something outside that knows of clients while no worker runs, such as a gateway: here a file behind a server."""
    serve = f"nohup python -m http.server {PORT} --directory /load > /dev/null 2>&1 & echo $!"
    found = Demand(fleet)
    found.say(0)
    server = fleet.kube("exec", POD, "-c", POD, "--", "sh", "-c", serve).strip()
    try:
        yield found
    finally:
        fleet.kube("exec", POD, "-c", POD, "--", "sh", "-c", f"kill {server}")


def repeats(model: Model) -> int:
    """Return how often DOCUMENTS make a request that asks for SHARE, since what a worker can score is its machine's."""
    tried = 25
    items = [{"text": document} for document in DOCUMENTS * tried]
    url = f"http://{model.name}:8080/v1/score/{model.name}"
    asked = {"query": {"text": QUERY}, "items": items}
    replies = [model.client.send(url, asked, headers={"accept": "application/json"}) for _ in range(5)]
    fastest_s = min(float(reply.headers["x-inference-time"]) for reply in replies) / 1000
    return max(1, round(tried * SHARE / RATE / fastest_s))


def until_pods(model: Model, wanted: int) -> None:
    """Wait until so many pods run and the model is ready with them; autoscalers look every 10 to 15 seconds."""

    def settled() -> bool:
        resource = model.resource()
        current = resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
        ready: bool = current and condition(resource, "Ready")["status"] == "True"
        return ready and resource["spec"]["replicas"] == wanted == len(model.pods())

    eventually(settled, timeout_s=300, what=f"{wanted} pods")


def test_a_model_wakes_grows_shrinks_and_sleeps_without_a_failed_request(fleet: Fleet, keda_runs: None) -> None:
    with demand(fleet) as clients:
        wakes = {
            "type": "metrics-api",
            "metadata": {
                "url": clients.url,
                "valueLocation": "waiting",
                "targetValue": "1000",
                "activationTargetValue": "0",
            },
        }
        bounds = {"minReplicas": 0, "maxReplicas": 3, "targetLoadPercent": 10, "idleSeconds": 5, "triggers": [wakes]}
        model = fleet.model("sleeper", "bert-1", replicas=0, autoscaling=bounds)
        eventually(
            lambda: condition(model.resource(), "Autoscaling")["reason"] == "ScaledObject", what="KEDA scales the model"
        )
        assert not model.pods()
        clients.say(1)
        until_pods(model, 1)
        revision = model.rerank().revision
        often = repeats(model)
        with load(fleet, model, rate=RATE, documents=DOCUMENTS * often) as history:
            until_pods(model, 3)
            model.patch({"autoscaling": {"maxReplicas": 2}})
            until_pods(model, 2)
        history.check({(revision, ""): fleet.artifacts.scores("bert-1") * often})
        clients.say(0)
        until_pods(model, 0)
        eventually(lambda: model.rerank().status == 0, what="the last pod has drained")
        clients.say(1)
        # Pods of the load before may come back, too: Kubernetes' autoscaler remembers it for five minutes.
        eventually(lambda: model.rerank().status == 200, what="the model has woken")
        assert model.rerank().scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-3)
