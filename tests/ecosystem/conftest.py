"""The node of the end-to-end tests, with other projects' controllers on it for as long as a test needs them."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import fleet, images, installed, kubeconfig
from tests.e2e.fleet import Fleet
from tests.ecosystem import envoy_gateway, http_add_on, keda

__all__ = ["fleet", "images", "installed", "kubeconfig"]


@pytest.fixture(scope="session")
def keda_runs(installed: Fleet) -> Iterator[None]:
    """KEDA, from its admission to the API of metrics that Kubernetes' autoscaler asks."""
    with keda.running(installed.kube):
        yield


@pytest.fixture(scope="session")
def http_add_on_runs(installed: Fleet, keda_runs: None) -> Iterator[None]:
    """Its HTTP add-on."""
    with http_add_on.running(installed.kube):
        yield


@pytest.fixture(scope="session")
def gateway(installed: Fleet) -> Iterator[str]:
    """The host name of a Gateway of the namespace, by Envoy Gateway."""
    with envoy_gateway.running(installed.kube) as host:
        yield host
