"""A release's life beside models that serve: upgraded, rolled back, uninstalled, installed again, by Helm 3 and 4."""

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hack.cluster import golang
from hack.repository import ROOT
from tests.e2e.conftest import chart_values, install
from tests.e2e.fleet import OPERATOR, SYSTEM_NAMESPACE, Fleet, Model
from tests.e2e.kube import eventually

pytestmark = pytest.mark.e2e

CHART = ROOT / "charts/reranker-operator"
#: Packed before there were RerankerAdapters and a second operator.
EARLIER = Path(__file__).parent / "charts/reranker-operator-0.1.0.tgz"


@dataclass(frozen=True)
class Release:
    """The release that the tests' operator belongs to, in the hands of one Helm."""

    helm: Path
    kubeconfig: Path
    values: tuple[str, ...]

    def __call__(self, *arguments: str) -> str:
        where = ("--kubeconfig", str(self.kubeconfig), "--namespace", SYSTEM_NAMESPACE)
        done = subprocess.run([self.helm, *arguments, *where], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, chart: Path, *more: str) -> None:
        self("upgrade", "--install", OPERATOR, str(chart), *self.values, *more)

    def uninstall(self) -> None:
        self("uninstall", OPERATOR, "--wait")


@pytest.fixture(params=[golang.HELM, golang.HELM_4], ids=lambda helm: f"helm-{helm.version}")
def release(
    request: pytest.FixtureRequest, fleet: Fleet, kubeconfig: Path, images: dict[str, str]
) -> Iterator[Release]:
    yield Release(golang.build(request.param), kubeconfig, tuple(chart_values(images)))
    install(kubeconfig, images)


@pytest.fixture
def model(fleet: Fleet, release: Release) -> Model:
    """A model that serves, with an adapter.

    Its name is its own: the release before changed the CRD, which ends the garbage collector's watch, and where a model
    is replaced by one of its name meanwhile, that takes the two for one and leaves the former one's children there.
    """
    found = fleet.model(
        f"kept-{uuid.uuid4().hex[:6]}", "bert-1", adapters=[{"name": "legal", "source": {"uri": "pvc://models/lora-1"}}]
    )
    found.wait_ready()
    return found


def test_an_upgrade_from_an_earlier_chart_and_the_way_back_move_no_worker(
    fleet: Fleet, release: Release, model: Model
) -> None:
    before = model.pod_uids()
    release.install(EARLIER)
    release.install(CHART, "--set=replicas=2", "--wait", "--timeout=180s")
    first = eventually(lambda: leader(fleet), what="one of two operators leads")
    fleet.system("delete", "pod", first, "--grace-period=0", "--force")
    eventually(lambda: leader(fleet) not in ("", first), what="another operator leads")
    model.patch({"engine": {"dtype": "float32", "maxLength": 128, "maxQueueTokens": 200_000}})
    model.wait_ready()
    release("rollback", OPERATOR)  # to a chart whose own operator is no more here, so nobody waits for it
    assert "0.1.0" in release("list", "--filter", OPERATOR)
    release.install(CHART, "--wait", "--timeout=180s")
    assert model.pod_uids() == before
    assert model.restarts("server") == model.restarts("fetcher") == 0
    assert model.rerank().scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-4)


def test_models_serve_without_a_release_and_the_next_one_adopts_them_without_a_write(
    fleet: Fleet, release: Release, model: Model
) -> None:
    before = model.pod_uids()
    release.uninstall()
    eventually(lambda: not operators(fleet), what="the operator is gone")
    assert model.rerank().scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-4)
    assert model.rerank(adapter="legal").status == 200
    release.install(CHART, "--wait", "--timeout=180s")
    # Helm waits for the pod; the node learns of the new Service's address by itself, and refuses until then.
    eventually(lambda: fleet.operator_metrics().status == 200, what="the operator's Service leads to it")
    eventually(lambda: reconciled(fleet), what="the new operator has seen every model")
    assert writes(fleet) == {}
    assert model.pod_uids() == before
    assert model.rerank().scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=1e-4)


def operators(fleet: Fleet) -> list[str]:
    return [pod["metadata"]["name"] for pod in fleet.system.items("pod", f"app.kubernetes.io/name={OPERATOR}")]


def holder(fleet: Fleet) -> str:
    """The pod that holds the Lease; its name is followed by the number of its process."""
    leases = {lease["metadata"]["name"]: lease["spec"] for lease in fleet.system.items("lease")}
    return str(leases.get(OPERATOR, {}).get("holderIdentity", "")).rpartition("-")[0]


def leader(fleet: Fleet) -> str:
    """The operator that holds the Lease, "" while none that is there does: one that couldn't give it up may be gone."""
    found = holder(fleet)
    return found if found in operators(fleet) else ""


def samples(fleet: Fleet, name: str) -> list[tuple[dict[str, str], float]]:
    """The operator's series of that name."""
    reply = fleet.operator_metrics()
    assert reply.status == 200, reply.text
    found = [s for family in text_string_to_metric_families(reply.text) for s in family.samples if s.name == name]
    return [(dict(sample.labels), sample.value) for sample in found]


def writes(fleet: Fleet) -> dict[str, float]:
    """What the operator has written since it started, by method and resource."""
    asked = samples(fleet, "reranker_operator_api_requests_total")
    return {f"{labels['method']} {labels['resource']}": n for labels, n in asked if labels["method"] != "GET" and n}


def reconciled(fleet: Fleet) -> bool:
    """Whether the operator has found every model as it should be."""
    counts = samples(fleet, "reranker_operator_reconciles_total")
    return sum(count for labels, count in counts if labels["result"] == "unchanged") >= len(fleet.models())
