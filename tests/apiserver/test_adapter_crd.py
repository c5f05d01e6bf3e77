"""What the API server takes of a RerankerAdapter, what it refuses and stores, and how kubectl shows it."""

import copy
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi

from reranker_operator.resources.adapter_kind import (
    ADAPTER_KIND,
    ADAPTER_PLURAL,
    RerankerAdapterSpec,
    RerankerAdapterStatus,
)
from reranker_operator.resources.crd import ADAPTER
from reranker_operator.resources.schema import Condition
from reranker_operator.resources.v1alpha1 import API_VERSION, GROUP, VERSION

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]

ABSENT = object()
DIGEST = "sha256:" + "0" * 64
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"


def resource(changes: Json) -> Json:
    """A small valid resource with `changes` at dotted paths; ABSENT takes a field away."""
    whole: Json = {
        "apiVersion": API_VERSION,
        "kind": ADAPTER_KIND,
        "metadata": {"name": "legal", "namespace": "default"},
        "spec": {"modelRef": {"name": "bge"}, "source": {"uri": "hf://acme/legal-lora", "revision": "v1"}},
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = whole
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is ABSENT:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return whole


VALID: dict[str, Json] = {
    "an adapter of the hub for a model of its namespace": {},
    "one for a model elsewhere": {"spec.modelRef.namespace": "search"},
    "one with its digest": {"spec.source.digest": DIGEST},
    "a folder of a claim": {"spec.source": {"uri": "pvc://models/legal"}},
    "a name that starts with a digit": {"metadata.name": "2024-law"},
    "a name of 40 characters": {"metadata.name": "a" * 40},
}

INVALID: dict[str, tuple[Json, str]] = {
    "no spec": ({"spec": ABSENT}, "spec: Required value"),
    "no model": ({"spec.modelRef": ABSENT}, "spec.modelRef: Required value"),
    "a model without a name": ({"spec.modelRef": {"namespace": "search"}}, "spec.modelRef.name: Required value"),
    "a model's name in capitals": ({"spec.modelRef.name": "BGE"}, "must be the name of a RerankerModel"),
    "a model's name that none can have": ({"spec.modelRef.name": "b" * 51}, "may not be more than 50"),
    "a namespace with a dot": ({"spec.modelRef.namespace": "search.prod"}, "must be the name of a namespace"),
    "every namespace": ({"spec.modelRef.namespace": "*"}, "must be the name of a namespace"),
    "no source": ({"spec.source": ABSENT}, "spec.source: Required value"),
    "a scheme that isn't served": ({"spec.source.uri": "file:///models/legal"}, "the scheme must be"),
    "a hub adapter without a revision": ({"spec.source": {"uri": "hf://acme/legal"}}, "needs a revision"),
    "a claim that leads out of itself": (
        {"spec.source": {"uri": "pvc://models/../other"}},
        "folder names start with a letter, digit or _",
    ),
    "a digest without its algorithm": ({"spec.source.digest": "0" * 64}, "sha256: and 64 hexadecimal digits"),
    "a name with a dot": ({"metadata.name": "legal.v2"}, "at most 40 lower-case letters, digits and '-'"),
    "a name of 41 characters": ({"metadata.name": "a" * 41}, "at most 40 lower-case letters, digits and '-'"),
}


class Adapters:
    """One RerankerAdapter on the API server."""

    def __init__(self, api: ApiClient, name: str) -> None:
        self.api = CustomObjectsApi(api)
        self.name = name
        self.place = {"group": GROUP, "version": VERSION, "namespace": "default", "plural": ADAPTER_PLURAL}

    def dry_run(self, changes: Json) -> Json:
        created: Json = self.api.create_namespaced_custom_object(
            **self.place, body=resource(changes), dry_run="All", field_validation="Strict"
        )
        return created

    def create(self) -> Json:
        created: Json = self.api.create_namespaced_custom_object(
            **self.place, body=resource({"metadata.name": self.name})
        )
        return created

    def patch(self, spec: Json) -> Json:
        patched: Json = self.api.patch_namespaced_custom_object(
            **self.place, name=self.name, body={"spec": spec}, _content_type=MERGE
        )
        return patched

    def table(self, status: RerankerAdapterStatus) -> dict[str, Any]:
        body = {"status": status.model_dump(by_alias=True, exclude_none=True)}
        self.api.patch_namespaced_custom_object_status(**self.place, name=self.name, body=body, _content_type=MERGE)
        shown: Any = self.api.get_namespaced_custom_object(**self.place, name=self.name, _headers={"Accept": TABLE})
        return dict(zip((c["name"] for c in shown["columnDefinitions"]), shown["rows"][0]["cells"], strict=True))


@pytest.fixture
def adapters(api: ApiClient) -> Adapters:
    return Adapters(api, f"legal-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def stored(adapters: Adapters) -> Iterator[Adapters]:
    adapters.create()
    yield adapters
    adapters.api.delete_namespaced_custom_object(**adapters.place, name=adapters.name)


@pytest.mark.parametrize("changes", VALID.values(), ids=VALID.keys())
def test_a_valid_resource_is_taken(adapters: Adapters, changes: Json) -> None:
    assert adapters.dry_run(changes)["kind"] == ADAPTER_KIND


@pytest.mark.parametrize(("changes", "accepted"), INVALID.values(), ids=INVALID.keys())
def test_a_refusal_says_what_would_be_accepted(adapters: Adapters, changes: Json, accepted: str) -> None:
    with pytest.raises(ApiException) as refusal:
        adapters.dry_run(changes)
    assert refusal.value.status == 422
    assert accepted in json.loads(refusal.value.body)["message"]


def test_a_secret_of_its_own_is_no_field(adapters: Adapters) -> None:
    with pytest.raises(ApiException) as refusal:
        adapters.dry_run({"spec.source.secretRef": {"name": "token"}})
    assert 'unknown field "spec.source.secretRef"' in json.loads(refusal.value.body)["message"]


def test_other_weights_are_taken_and_another_model_is_not(stored: Adapters) -> None:
    assert stored.patch({"source": {"revision": "v2"}})["metadata"]["generation"] == 2
    for other in ({"name": "minilm"}, {"namespace": "search"}):
        with pytest.raises(ApiException) as refusal:
            stored.patch({"modelRef": other})
        assert "delete this RerankerAdapter and create another one" in json.loads(refusal.value.body)["message"]


def test_a_new_adapter_does_not_look_healthy_before_the_operator_has_seen_it(stored: Adapters) -> None:
    live: Any = stored.api.get_namespaced_custom_object(**stored.place, name=stored.name)
    assert live["status"] == {"observedGeneration": -1, "ready": 0, "desired": 0}
    assert RerankerAdapterSpec.model_validate(live["spec"]).source.revision == "v1"


def test_adapters_are_found_by_the_model_that_they_name(stored: Adapters) -> None:
    for model, found in (("bge", True), ("minilm", False)):
        listed: Any = stored.api.list_namespaced_custom_object(
            **stored.place, field_selector=f"spec.modelRef.name={model}"
        )
        assert (stored.name in [item["metadata"]["name"] for item in listed["items"]]) is found


def test_kubectl_prints_what_is_wanted_and_how_far_it_is(stored: Adapters) -> None:
    at = "2026-01-01T00:00:00Z"
    ready = Condition(type="Ready", status="False", last_transition_time=at, reason="Loading", message="1 of 2 pods")
    shown = stored.table(
        RerankerAdapterStatus(
            observed_generation=1,
            revision="legal-91b0d3c7",
            serving="legal-5f2c9a1e",
            ready=1,
            desired=2,
            pods="1/2",
            conditions=[ready],
        )
    )
    assert shown.pop("AGE").endswith("s")
    assert shown == {
        "Name": stored.name,
        "MODEL": "bge",
        "READY": "False",
        "REVISION": "legal-91b0d3c7",
        "PODS": "1/2",
        "REASON": "Loading",
        "SERVING": "legal-5f2c9a1e",
        "MODEL-NAMESPACE": None,
    }
    assert len(shown) == len(ADAPTER.columns)
