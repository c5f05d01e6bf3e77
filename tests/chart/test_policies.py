"""The policy checker finds what is wrong, and no explanation outlives what it explains."""

import pytest
import yaml

from hack.check import policies

from .conftest import Json

POD: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "careless", "namespace": "default"},
    "spec": {"containers": [{"name": "main", "image": "worker:v1", "imagePullPolicy": "Always"}]},
}

SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "external", "namespace": "default"},
    "spec": {"type": "ExternalName", "externalName": "example.com"},
}

CARELESS = ["Memory limit is not set", "Container has no configured security context", "Image with latest tag"]


@pytest.mark.parametrize("summary", CARELESS)
def test_what_is_wrong_and_not_explained_is_told(summary: str) -> None:
    image = "worker:latest" if "tag" in summary else "worker:v1"
    container = {**POD["spec"]["containers"][0], "image": image}
    told = policies.unexplained(yaml.safe_dump({**POD, "spec": {"containers": [container]}}))
    assert any(line.startswith("Pod/v1/default/careless main: ") and summary in line for line in told.splitlines())


def test_what_is_explained_is_found_all_the_same() -> None:
    assert "CPU limit is not set" in {each.summary for each in policies.findings(yaml.safe_dump(POD))}
    assert "CPU limit is not set" not in policies.unexplained(yaml.safe_dump(POD))


def test_an_explanation_of_nothing_is_told() -> None:
    told = policies.unexplained(yaml.safe_dump(SERVICE))
    assert {f"explained, but not found: {summary}" for summary in policies.EXPLAINED} <= set(told.splitlines())
