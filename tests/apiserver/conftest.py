"""A control plane for all tests here: etcd, the API server, the controllers, and the CRD; a namespace for each test."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client import ApiClient, ApiextensionsV1Api

from hack import cluster
from hack.repository import ROOT
from reranker_operator import worker_client
from tests.apiserver.fleet import INTERNAL_PORT, Fleet
from tests.apiserver.kube import ANY_VERSION, Kube
from tests.apiserver.operators import Running, operator

CRDS = ROOT / "crds"


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A control plane of this test run's own, without a node: pods are made, and nothing runs them."""
    with cluster.running(control_plane_only=True, controllers=True) as path:
        yield path


@pytest.fixture(scope="session")
def api(kubeconfig: Path) -> Iterator[ApiClient]:
    """The official client, with the CRD served."""
    with kubernetes.config.new_client_from_config(str(kubeconfig)) as client:
        for file in sorted(CRDS.glob("*.yaml")):
            install(client, yaml.safe_load(file.read_text()))
        yield client


def install(client: ApiClient, crd: dict[str, Any]) -> None:
    """Create a CRD and wait until its kind is served."""
    definitions = ApiextensionsV1Api(client)
    name = definitions.create_custom_resource_definition(crd).metadata.name
    watch = kubernetes.watch.Watch()
    wanted = {"field_selector": f"metadata.name={name}", "resource_version": ANY_VERSION}
    for event in watch.stream(definitions.list_custom_resource_definition, timeout_seconds=30, **wanted):
        if any(c.type == "Established" and c.status == "True" for c in event["object"].status.conditions or ()):
            watch.stop()
            return
    raise AssertionError(f"{name} wasn't established within 30 s")


@pytest.fixture
async def kube(kubeconfig: Path, api: ApiClient) -> AsyncIterator[Kube]:
    """A client of a fresh namespace, in which pods can be made."""
    async with _namespace(kubeconfig) as found:
        yield found


@pytest.fixture
async def elsewhere(kubeconfig: Path, api: ApiClient) -> AsyncIterator[Kube]:
    """A client of another fresh namespace."""
    async with _namespace(kubeconfig) as found:
        yield found


@asynccontextmanager
async def _namespace(kubeconfig: Path) -> AsyncIterator[Kube]:
    found = Kube(kubeconfig, f"test-{uuid.uuid4().hex[:8]}")
    await found.request("POST", "/api/v1/namespaces", body={"metadata": {"name": found.namespace}})
    # The controller makes it too, in its own time.
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    path = f"/api/v1/namespaces/{found.namespace}/serviceaccounts/default?fieldManager=tests"
    await found.request("PATCH", path, body=account, content_type="application/apply-patch+yaml")
    yield found
    await found.request("DELETE", f"/api/v1/namespaces/{found.namespace}")
    await found.close()


@pytest.fixture
async def fleet(kube: Kube) -> AsyncIterator[Fleet]:
    """Starts and ends the namespace's pods, as a node would."""
    async with Fleet(kube) as found:
        yield found


@pytest.fixture
def in_cluster(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator in this process finds the control plane and the simulated workers."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr(worker_client, "INTERNAL_PORT", INTERNAL_PORT)


@pytest.fixture
async def running(kube: Kube, in_cluster: None) -> AsyncIterator[Running]:
    """An operator for the namespace."""
    async with operator(kube.namespace) as found:
        yield found
