"""A control plane with KEDA's operator and metrics server beside it, as programs; pods are simulated."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import ApiClient

from tests.apiserver.conftest import api, fleet, in_cluster, kube, kubeconfig
from tests.apiserver.fleet import INTERNAL_PORT
from tests.keda import keda

__all__ = ["api", "fleet", "in_cluster", "kube", "kubeconfig"]


@pytest.fixture(scope="session")
def keda_runs(kubeconfig: Path, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """KEDA, from its CRDs to the API of metrics that Kubernetes' autoscaler asks."""
    with keda.running(kubeconfig, api, tmp_path_factory.mktemp("keda")):
        yield


@pytest.fixture
def simulated_port(in_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator tells KEDA the port on which simulated workers answer."""
    monkeypatch.setattr("reranker_operator.names.INTERNAL_PORT", INTERNAL_PORT)
