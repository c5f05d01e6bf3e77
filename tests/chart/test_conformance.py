"""kubeconform with our own schemas: what it takes, what it finds, and that the operator's objects pass it."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from hack.check import chart
from reranker_operator.objects import history, manifests
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.settings import Settings
from reranker_operator.world.colours import Colour, Flip
from reranker_operator.world.mounts import Mounts
from reranker_operator.world.names import Key
from reranker_operator.world.state import ManifestModel, Model, PodTemplate

Json = dict[str, Any]

SPEC: Json = {
    "source": {"uri": "hf://BAAI/bge-reranker-v2-m3", "revision": "main", "secretRef": {"name": "hf"}},
    "adapters": [{"name": "legal", "source": {"uri": "pvc://models/legal"}}],
    "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "8Gi"}},
    "nodeSelector": {"gpu": "l4"},
    "cache": {"type": "PersistentVolumeClaim", "claimName": "models-cache"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
}
MODEL: Json = {
    "apiVersion": "reranker.dev/v1alpha1",
    "kind": "RerankerModel",
    "metadata": {"name": "bge"},
    "spec": SPEC,
}
SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "bge"},
    "spec": {"ports": [{"port": 8080, "targetPort": "http"}, {"port": 8081, "targetPort": 8081}]},
}


def changed(base: Json, **spec: Any) -> Json:
    return {**copy.deepcopy(base), "spec": {**copy.deepcopy(base["spec"]), **spec}}


def test_resources_that_conform_are_taken() -> None:
    assert chart.objections(yaml.safe_dump_all([MODEL, SERVICE])) == ""


BAD: dict[str, tuple[Json, str]] = {
    "a misspelt field of a model": (changed(MODEL, replica=2), "replica"),
    "a model without a source": (changed({**MODEL, "spec": {}}), "source"),
    "a number of replicas as text": (changed(MODEL, replicas="2"), "replicas"),
    "an engine that there isn't": (changed(MODEL, engine={"dtype": "int4"}), "dtype"),
    "a quantity that isn't one": (changed(MODEL, resources={"limits": {"memory": "8 GB"}}), "memory"),
    "a misspelt field of a Service": (changed(SERVICE, selectors={}), "selectors"),
    "a port as a list": (changed(SERVICE, ports=[{"port": [8080]}]), "port"),
    "a kind that nobody serves": ({**SERVICE, "kind": "Gateway"}, "could not find schema for Gateway"),
}


@pytest.mark.parametrize(("bad", "named"), BAD.values(), ids=BAD.keys())
def test_a_resource_that_does_not_conform_is_found(bad: Json, named: str) -> None:
    assert named in chart.objections(yaml.safe_dump(bad))


def test_the_operator_s_objects_conform() -> None:
    model = Model(Key("default", "bge"), "uid", 1, "1", RerankerModelSpec.model_validate(SPEC))
    settings = Settings(
        worker_image_pull_secrets="registry", hf_endpoint="https://hub.example.com", worker_service_account="w"
    )
    template = PodTemplate("t-91b0d3c7", Mounts(("models",)), "0c11d2aa")
    revision = ManifestModel("bge-5f2c9a1e", {"uri": "pvc://models/bge"}, {"dtype": "auto"})
    objects = [
        *(
            manifests.deployment(
                model,
                template,
                settings,
                revision=revision.revision,
                inputs={template.key: template.inputs},
                fleet=fleet,
                reached=reached,
            )
            for fleet, reached in ((Colour.BLUE, True), (Colour.GREEN, False))
        ),
        history.controller_revision(model, revision, 1),
        manifests.service(model, Flip(Colour.GREEN, datetime(2026, 1, 1, tzinfo=UTC), "t-91b0d3c7")),
        manifests.pod_disruption_budget(model, Flip()),
    ]
    assert chart.objections(yaml.safe_dump_all(objects)) == ""
