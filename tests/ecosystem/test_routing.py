"""Models behind a real Gateway, Envoy's: each by its host name, several by their paths, through a swap."""

from functools import partial

import pytest

from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import condition, eventually
from tests.e2e.load import load
from tests.ecosystem.envoy_gateway import GATEWAY
from tests.fixtures.known_models import DOCUMENTS, QUERY

pytestmark = pytest.mark.ecosystem

PARENTS = {"parentRefs": [{"name": GATEWAY, "sectionName": "http"}]}


def until_routed(model: Model) -> None:
    eventually(
        lambda: condition(model.resource(), "Routed")["status"] == "True", timeout_s=120, what="the Gateway leads there"
    )


def test_a_swap_behind_a_gateway_fails_no_request(fleet: Fleet, gateway: str) -> None:
    model = fleet.model("routed", "bert-1", replicas=2, route={**PARENTS, "hostnames": [gateway]})
    model.wait_ready()
    until_routed(model)
    old = eventually(lambda: model.client.rerank(gateway).headers.get("x-reranker-revision"), what="an answer")
    with load(fleet, model, host=gateway) as history:
        for strategy, folder in (("RollingUpdate", "bert-2"), ("BlueGreen", "bert-1")):
            model.patch({"source": {"uri": f"pvc://models/{folder}"}, "rollout": {"strategy": strategy}})
            model.wait_ready()
        eventually(lambda: len(model.pods()) == 4, what="both fleets")
    new = [revision for revision in history.revisions if revision != old]
    assert len(new) == 1
    history.check({(old, ""): fleet.artifacts.scores("bert-1"), (new[0], ""): fleet.artifacts.scores("bert-2")})
    model.patch({"route": None})
    eventually(lambda: model.client.rerank(gateway).status == 404, what="no route")


def test_models_share_a_gateways_host_name_by_paths_that_name_them(fleet: Fleet, gateway: str) -> None:
    models = {
        folder: fleet.model(f"shared-{folder}", folder, servedName=f"acme/{folder}", route=PARENTS)
        for folder in ("bert-1", "bert-2")
    }
    for folder, model in models.items():
        model.wait_ready()
        until_routed(model)
        found = eventually(partial(_scores, fleet, gateway, f"acme/{folder}"), what=f"an answer of {folder}")
        assert found == pytest.approx(fleet.artifacts.scores(folder), abs=1e-3)


def _scores(fleet: Fleet, host: str, name: str) -> list[float]:
    """Score DOCUMENTS by a path that names the model, as SIE's clients do; empty while nothing answers there."""
    items = [{"id": str(number), "text": text} for number, text in enumerate(DOCUMENTS)]
    url, body = f"http://{host}:8080/v1/score/{name}", {"query": {"text": QUERY}, "items": items}
    reply = fleet.client.send(url, body, headers={"accept": "application/json"})
    if reply.status != 200:
        return []
    scores = {score["item_id"]: score["score"] for score in reply.json["scores"]}
    return [scores[item["id"]] for item in items]
