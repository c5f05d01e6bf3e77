"""The node of the end-to-end tests, with other projects' controllers on it for as long as a test needs them."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import fleet, images, installed, kubeconfig
from tests.e2e.fleet import Fleet
from tests.keda import keda

__all__ = ["fleet", "images", "installed", "kubeconfig"]


@pytest.fixture
def keda_runs(installed: Fleet) -> Iterator[None]:
    """KEDA, from its admission to the API of metrics that Kubernetes' autoscaler asks."""
    with keda.running(installed.kube):
        yield
