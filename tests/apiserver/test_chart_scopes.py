"""The operator with no other rights than the chart gives it, in the whole cluster and in one namespace."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from hack.check import chart
from hack.cluster import golang
from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Kube
from tests.apiserver.models import edit, model, until_ready
from tests.apiserver.operators import MARKS, operator

pytestmark = MARKS

RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def kubectl(kubeconfig: Path, verb: str, objects: str) -> None:
    program = golang.build(golang.KUBECTL)
    subprocess.run([program, f"--kubeconfig={kubeconfig}", verb, "--filename=-"], input=objects, text=True, check=True)


def with_token(kubeconfig: Path, token: str, folder: Path) -> Path:
    """A kubeconfig for who has the token."""
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    return folder / "kubeconfig"


@pytest.fixture(params=["cluster", "namespace", "a namespace beside one that is gone"])
async def watched(
    request: pytest.FixtureRequest, kube: Kube, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """Namespaces to watch; an operator in this process comes as the chart's ServiceAccount, with the chart's rights."""
    clusterwide = request.param == "cluster"
    scope = () if clusterwide else ("--set", f"watchNamespaces={{{kube.namespace}}}")
    text = chart.rendered("--set", f"fullnameOverride={kube.namespace},replicas=2", *scope, namespace=kube.namespace)
    rights = yaml.safe_dump_all([each for each in yaml.safe_load_all(text) if each and each["kind"] in RIGHTS])
    kubectl(kubeconfig, "apply", rights)
    account = f"/api/v1/namespaces/{kube.namespace}/serviceaccounts/{kube.namespace}"
    token = (await kube.request("POST", f"{account}/token", body={"spec": {}}))["status"]["token"]
    monkeypatch.setenv("KUBECONFIG", str(with_token(kubeconfig, token, tmp_path)))
    gone = ",gone" if request.param == "a namespace beside one that is gone" else ""
    yield "" if clusterwide else f"{kube.namespace}{gone}"
    kubectl(kubeconfig, "delete", rights)


@pytest.mark.usefixtures("in_cluster")  # before `watched`, which then says as whom
async def test_the_chart_s_rights_are_enough_for_a_model_s_life(kube: Kube, fleet: Fleet, watched: str) -> None:
    lease = f"{kube.namespace}/{kube.namespace}"
    async with operator(kube.namespace, namespaces=watched, lease=lease) as running:
        await kube.create("rerankermodels", model(revisionHistoryLimit=0))
        await until_ready(kube)
        await edit(kube, adapters=[{"name": "legal", "source": {"uri": "pvc://models/legal"}}])
        await until_ready(kube)
        await edit(kube, source={"uri": "pvc://models/two"}, autoscaling={"maxReplicas": 3}, service={"headless": True})
        await until_ready(kube)
        await edit(kube, autoscaling=None, service=None)
        await until_ready(kube)
    asked = {what.rpartition(" ")[::2] for what in running.requests()}
    granted = {what for what, code in asked if code in {"200", "201"}}
    # In namespaces that are being deleted, such as those of other tests, nobody may make anything.
    # Requests are counted by resource: what was refused in a namespace that is gone was granted in the other one.
    assert {what for what, code in asked if code == "403"} <= granted
    assert {"POST leases", "PATCH leases", "POST events", "DELETE controllerrevisions", "DELETE services"} <= granted
