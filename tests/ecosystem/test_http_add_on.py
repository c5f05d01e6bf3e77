"""Requests to a model that sleeps wait for its first pod, as docs/autoscaling.md has it with KEDA's HTTP add-on."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from hack.repository import ROOT
from tests.e2e.fleet import Fleet
from tests.e2e.kube import Object, condition, eventually
from tests.ecosystem.http_add_on import PROXY
from tests.fixtures.known_models import DOCUMENTS, QUERY

pytestmark = pytest.mark.ecosystem

HEADING = "### Requests that wait for the first pod"
CLIENTS = 4


def documented() -> tuple[Object, Object]:
    """Return the page's route, and its autoscaling of a model."""
    page = (ROOT / "docs/autoscaling.md").read_text()
    route, spec = re.findall(r"```yaml\n(.*?)```", page.partition(HEADING)[2].partition("\n## ")[0], re.DOTALL)
    return yaml.safe_load(route), yaml.safe_load(spec)["autoscaling"]


def test_requests_to_a_sleeping_model_wait_for_its_first_pod(fleet: Fleet, http_add_on_runs: None) -> None:
    route, autoscaling = documented()
    name, host = route["metadata"]["name"], route["spec"]["rules"][0]["hosts"][0]
    del route["metadata"]["namespace"]
    fleet.kube.apply(route)
    model = fleet.model(name, "bert-1", replicas=0, autoscaling={**autoscaling, "idleSeconds": 5})
    eventually(
        lambda: condition(model.resource(), "Autoscaling")["reason"] == "ScaledObject", what="KEDA scales the model"
    )
    for turn in ("never woken", "asleep again"):
        eventually(lambda: not model.pods(), timeout_s=300, what=f"no pod: {turn}")
        body = {"query": QUERY, "documents": list(DOCUMENTS)}
        with ThreadPoolExecutor(CLIENTS) as clients:
            asked = [
                clients.submit(fleet.client.send, f"{PROXY}/v1/rerank", body, headers={"host": host}, timeout_s=300)
                for _ in range(CLIENTS)
            ]
        for reply in (each.result() for each in asked):
            assert reply.status == 200, f"{turn}: {reply.text}"
            assert reply.scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-3)
    fleet.kube("delete", "interceptorroute", name)
