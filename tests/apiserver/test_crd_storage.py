"""What the API server stores of a RerankerModel, and how kubectl and autoscalers see it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi

from reranker_operator.resources.adapter_types import AdapterStatus
from reranker_operator.resources.crd import MODEL
from reranker_operator.resources.schema import MAX_MESSAGE, Condition
from reranker_operator.resources.v1alpha1 import (
    API_VERSION,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
    FleetStatus,
    RejectedRevision,
    RerankerModelSpec,
    RerankerModelStatus,
    Revisions,
    RevisionStatus,
)

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"
SOURCE = {"uri": "pvc://models/bge"}


class Models:
    """One RerankerModel and its subresources on the API server."""

    def __init__(self, api: ApiClient, name: str) -> None:
        self.api = CustomObjectsApi(api)
        self.name = name
        self.place = {"group": GROUP, "version": VERSION, "namespace": "default", "plural": PLURAL}

    def create(self, **spec: Any) -> Json:
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": self.name},
            "spec": {"source": SOURCE, **spec},
        }
        created: Json = self.api.create_namespaced_custom_object(**self.place, body=body)
        return created

    def get(self) -> Json:
        found: Json = self.api.get_namespaced_custom_object(**self.place, name=self.name)
        return found

    def patch(self, body: Json) -> Json:
        patched: Json = self.api.patch_namespaced_custom_object(
            **self.place, name=self.name, body=body, _content_type=MERGE
        )
        return patched

    def patch_status(self, status: RerankerModelStatus) -> Json:
        body = {"status": status.model_dump(by_alias=True, exclude_none=True)}
        patched: Json = self.api.patch_namespaced_custom_object_status(
            **self.place, name=self.name, body=body, _content_type=MERGE
        )
        return patched

    def delete(self) -> None:
        self.api.delete_namespaced_custom_object(**self.place, name=self.name)


@pytest.fixture
def models(api: ApiClient) -> Iterator[Models]:
    models = Models(api, f"bge-{uuid.uuid4().hex[:8]}")
    yield models
    models.delete()


def full_status(message: str = "") -> RerankerModelStatus:
    at = "2026-01-01T00:00:00Z"
    return RerankerModelStatus(
        observed_generation=1,
        replicas=3,
        ready_replicas=2,
        selector="reranker.dev/model=bge",
        endpoint="http://bge.default.svc:8080",
        fleet=FleetStatus(active="green", since=at, kept="bge-5f2c9a1e", kept_until=at),
        revisions=Revisions(
            serving=RevisionStatus(name="bge-5f2c9a1e", since=at),
            candidate=RevisionStatus(
                name="bge-91b0d3c7",
                phase="Gating",
                message=message,
                strategy="InPlace",
                ndcg="0.6400",
                rank_correlation="0.9700",
                live_rank_correlation="0.9500",
                p95_milliseconds="41.5",
            ),
            rejected=[RejectedRevision(name="bge-0c11d2aa", reason="GateFailed", message=message, attempt="5f2c9a1e")],
        ),
        adapters=[AdapterStatus(name="legal", revision="legal-0c11d2aa", ready=2, desired=2)],
        adapters_ready="1/1",
        conditions=[
            Condition(
                type="Ready",
                status="False",
                observed_generation=1,
                last_transition_time=at,
                reason="RollingOut",
                message=message,
            )
        ],
    )


ROLLOUT = {
    "strategy": "RollingUpdate",
    "maxSurge": 1,
    "maxUnavailable": 0,
    "minReadySeconds": 0,
    "progressDeadlineSeconds": 900,
    "drainSeconds": 30,
    "onUnschedulable": {"afterSeconds": 120, "action": "Wait"},
    "blueGreen": {"keepSeconds": 300},
}


def test_defaults_are_stored_whole(models: Models) -> None:
    assert models.create()["spec"] == {
        "source": {**SOURCE, "imageVolume": False},
        "engine": {
            "dtype": "auto",
            "maxLength": 512,
            "scores": "sigmoid",
            "maxBatchTokens": 16384,
            "maxQueueTokens": 400000,
        },
        "adapterPolicy": {"maxLoaded": 16, "maxRank": 64},
        "replicas": 1,
        "rollout": ROLLOUT,
        "revisionHistoryLimit": 10,
        "cache": {"type": "EmptyDir", "size": "20Gi", "prefetch": False, "readOnly": False},
        "playground": False,
        "service": {"headless": False},
    }


def test_a_field_that_is_given_leaves_the_defaults_beside_it(models: Models) -> None:
    assert models.create(rollout={"maxSurge": 3})["spec"]["rollout"] == {**ROLLOUT, "maxSurge": 3}


def test_the_api_server_and_pydantic_fill_in_the_same_defaults(models: Models) -> None:
    stored = RerankerModelSpec.model_validate(models.create()["spec"])
    assert stored == RerankerModelSpec.model_validate({"source": SOURCE})


def test_a_new_model_does_not_look_healthy_before_the_operator_has_seen_it(models: Models) -> None:
    created = models.create()
    assert created["metadata"]["generation"] == 1
    assert models.get()["status"] == {"observedGeneration": -1, "replicas": 0, "readyReplicas": 0}


def test_unknown_fields_are_pruned(models: Models) -> None:
    stored = models.create(replicas=2, image="acme/worker", engine={"quantization": "int8"})
    assert "image" not in stored["spec"]
    assert "quantization" not in stored["spec"]["engine"]


def test_adapters_are_merged_by_name_when_applied_by_several(models: Models) -> None:
    models.create()
    for manager, adapter in (("search-team", "legal"), ("lab-team", "medical")):
        models.api.patch_namespaced_custom_object(
            **models.place,
            name=models.name,
            body={
                "apiVersion": API_VERSION,
                "kind": KIND,
                "spec": {"adapters": [{"name": adapter, "source": {"uri": f"pvc://models/{adapter}"}}]},
            },
            field_manager=manager,
            _content_type="application/apply-patch+yaml",
        )
    assert [adapter["name"] for adapter in models.get()["spec"]["adapters"]] == ["legal", "medical"]


def test_scale_reads_and_writes_replicas(models: Models) -> None:
    models.create()
    models.patch_status(full_status())
    scale = models.api.get_namespaced_custom_object_scale(**models.place, name=models.name)
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 3, "selector": "reranker.dev/model=bge"}

    models.api.replace_namespaced_custom_object_scale(
        **models.place, name=models.name, body={**scale, "spec": {"replicas": 5}}
    )
    assert models.get()["spec"]["replicas"] == 5


def test_scale_keeps_to_the_bounds_of_replicas(models: Models) -> None:
    models.create()
    scale = models.api.get_namespaced_custom_object_scale(**models.place, name=models.name)
    with pytest.raises(ApiException) as refusal:
        models.api.replace_namespaced_custom_object_scale(
            **models.place, name=models.name, body={**scale, "spec": {"replicas": 1001}}
        )
    assert "less than or equal to 1000" in json.loads(refusal.value.body)["message"]


def test_a_status_is_stored_without_a_new_generation(models: Models) -> None:
    models.create()
    status = full_status()
    patched = models.patch_status(status)
    assert patched["metadata"]["generation"] == 1
    assert RerankerModelStatus.model_validate(patched["status"]) == status


def test_a_spec_written_with_a_status_leaves_the_status_alone(models: Models) -> None:
    models.create()
    models.patch({"spec": {"replicas": 2}, "status": {"endpoint": "http://elsewhere"}})
    assert "endpoint" not in models.get()["status"]


def test_the_longest_message_is_stored_cut(models: Models) -> None:
    models.create()
    patched = models.patch_status(full_status("é" * 2 * MAX_MESSAGE))
    message = patched["status"]["conditions"][0]["message"]
    assert len(message) == MAX_MESSAGE
    assert message.endswith("…")


def test_kubectl_prints_what_answers_and_what_is_on_its_way(models: Models) -> None:
    models.create()
    models.patch_status(full_status())
    table: Any = models.api.get_namespaced_custom_object(**models.place, name=models.name, _headers={"Accept": TABLE})
    shown = dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    age = shown.pop("AGE")
    assert age.endswith("s")
    assert shown == {
        "Name": models.name,
        "READY": "False",
        "REVISION": "bge-5f2c9a1e",
        "CANDIDATE": "bge-91b0d3c7",
        "REPLICAS": 2,
        "ADAPTERS": "1/1",
        "PHASE": "Gating",
        "REASON": "RollingOut",
        "ENDPOINT": "http://bge.default.svc:8080",
    }


def test_how_far_why_and_where_are_left_to_the_wide_output(models: Models) -> None:
    models.create()
    table: Any = models.api.get_namespaced_custom_object(**models.place, name=models.name, _headers={"Accept": TABLE})
    wide = [column["name"] for column in table["columnDefinitions"] if column["priority"]]
    assert wide == ["PHASE", "REASON", "ENDPOINT"]
    assert len(table["columnDefinitions"]) == len(MODEL.columns) + 1
