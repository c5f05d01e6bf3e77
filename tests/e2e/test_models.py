"""What a RerankerModel does on a real node, seen by its clients."""

from functools import partial

import pytest

from tests.e2e.client import Reply
from tests.e2e.fleet import Fleet
from tests.e2e.kube import condition, eventually
from tests.fixtures.known_models import DOCUMENTS, HUB_MODEL, HUB_REPOSITORY, HUB_REVISION, QUERY

pytestmark = pytest.mark.e2e

TOLERANCE = 1e-3  # fp32 on both sides; JSON and kernels differ in the last digits


def test_a_model_becomes_ready_and_scores_as_transformers_does(fleet: Fleet) -> None:
    model = fleet.model("first", "bert-1", replicas=2)
    model.wait_ready()
    reply = model.rerank()
    assert reply.scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=TOLERANCE)
    assert reply.revision == model.status["revisions"]["serving"]["name"]
    assert [r["relevance_score"] for r in reply.json["results"]] == sorted(reply.scores, reverse=True)


def test_an_xlm_roberta_model_scores_as_transformers_does(fleet: Fleet) -> None:
    model = fleet.model("xlmr", "xlmr-1")
    model.wait_ready()
    assert model.rerank().scores == pytest.approx(fleet.artifacts.scores("xlmr-1"), abs=TOLERANCE)


def test_a_model_from_the_hub_is_fetched_and_called_by_its_repository_s_name(fleet: Fleet) -> None:
    source = {"uri": f"hf://{HUB_REPOSITORY}", "revision": HUB_REVISION}
    model = fleet.model("hubbed", "", source=source)
    model.wait_ready()
    reply = model.rerank(model=HUB_REPOSITORY)
    assert reply.scores == pytest.approx(fleet.artifacts.scores(HUB_MODEL), abs=TOLERANCE)
    assert model.rerank(model="another").status == 404


def test_a_model_goes_over_to_int8(fleet: Fleet) -> None:
    model = fleet.model("narrowed", "bert-1")
    model.wait_ready()
    exact = model.rerank()
    model.patch({"engine": {"dtype": "int8"}})
    model.wait_ready()
    reply = eventually(lambda: (r := model.rerank()).revision != exact.revision and r, what="the revision in int8")
    assert reply.scores == pytest.approx(exact.scores, abs=0.1)
    assert reply.scores != pytest.approx(exact.scores, abs=TOLERANCE)


def test_an_adapter_is_loaded_changed_and_removed_without_a_new_pod(fleet: Fleet) -> None:
    model = fleet.model("adapted", "bert-1", replicas=2)
    model.wait_ready()
    pods = model.pod_uids()

    for folder in ("lora-1", "lora-2"):
        model.patch({"adapters": [{"name": "legal", "source": {"uri": f"pvc://models/{folder}"}}]})
        model.wait_ready()
        expected = fleet.artifacts.scores("bert-1", folder)
        for address in model.pod_addresses():
            assert fleet.client.rerank(address, adapter="legal").scores == pytest.approx(expected, abs=TOLERANCE)
            assert fleet.client.rerank(address).scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=TOLERANCE)

    model.patch({"adapters": []})
    model.wait_ready()
    gone = eventually(lambda: (r := model.rerank(adapter="legal")).status == 404 and r, what="adapter gone")
    assert "there are none" in gone.json["message"]
    assert model.pod_uids() == pods


def test_a_worker_that_restarts_with_the_operator_down_comes_back_with_its_adapters(fleet: Fleet) -> None:
    model = fleet.model("restarted", "bert-1")
    model.patch({"adapters": [{"name": "legal", "source": {"uri": "pvc://models/lora-1"}}]})
    model.wait_ready()
    with fleet.operator_down():
        model.kill_servers()
        eventually(lambda: model.restarts("server") == 1, what="container restarted")
        reply = eventually(lambda: (r := model.rerank(adapter="legal")).status == 200 and r, what="answers again")
    assert reply.scores == pytest.approx(fleet.artifacts.scores("bert-1", "lora-1"), abs=TOLERANCE)


def test_a_model_is_deleted_with_all_it_owned_while_the_operator_is_down(fleet: Fleet) -> None:
    model = fleet.model("deleted", "bert-1")
    model.wait_ready()
    with fleet.operator_down():
        model.kube("delete", "rerankermodel", model.name, "--timeout=60s")
        owned = "deployment,service,configmap,poddisruptionbudget,pod"
        eventually(
            lambda: not model.kube.items(owned, f"reranker.dev/model={model.name}"), what="nothing owned is left"
        )


def test_deleted_and_edited_children_are_repaired(fleet: Fleet) -> None:
    model = fleet.model("repaired", "bert-1")
    model.wait_ready()
    generation = model.kube.get("deployment", model.name)["metadata"]["generation"]
    children = f"service/{model.name}", f"poddisruptionbudget/{model.name}", f"configmap/{model.name}-serving"
    model.kube("delete", *children)
    model.kube.patch("deployment", model.name, {"spec": {"replicas": 3}})
    for child in children:
        eventually(partial(model.kube, "get", child, check=False), what=f"{child} is back")
    eventually(lambda: model.kube.get("deployment", model.name)["spec"]["replicas"] == 1, what="replicas are back")
    model.wait_ready()
    assert model.kube.get("deployment", model.name)["metadata"]["generation"] == generation + 2
    assert model.rerank().status == 200


def test_clients_send_a_key_of_a_secret_that_is_changed_under_running_pods(fleet: Fleet) -> None:
    def keep(*keys: str) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "clients"}}
        fleet.kube.apply({**secret, "stringData": {"API_KEYS": "\n".join(keys)}})

    def ask(key: str) -> Reply:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = {"query": QUERY, "documents": list(DOCUMENTS)}
        return model.client.send(f"http://{model.name}:8080/v1/rerank", body, headers=headers)

    keep("first", "second")
    model = fleet.model("keyed", "bert-1", apiKeys={"secretRef": {"name": "clients"}})
    model.wait_ready()
    before = model.pod_uids()
    assert ask("second").scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-4)
    assert [ask(key).status for key in ("first", "third", "")] == [200, 401, 401]
    keep("second", "third")
    eventually(lambda: ask("third").status == 200, what="the kubelet has brought the keys")
    assert [ask(key).status for key in ("first", "second")] == [401, 200]
    assert model.pod_uids() == before
    assert model.restarts("server") == 0


def test_scaling_by_kubectl_moves_the_replicas_and_nothing_else(fleet: Fleet) -> None:
    model = fleet.model("scaled", "bert-1")
    model.wait_ready()
    before = set(model.pod_uids())
    model.kube("scale", f"rerankermodel/{model.name}", "--replicas=2")
    model.wait_ready()
    assert len(model.pod_uids()) == 2
    assert before < set(model.pod_uids())
    model.kube("scale", f"rerankermodel/{model.name}", "--replicas=0")
    eventually(lambda: not model.pods(), what="no pods")
    eventually(lambda: condition(model.resource(), "Available")["status"] == "False", what="not available")
    eventually(lambda: model.rerank().status == 0, what="the last pod has drained and nobody answers")
