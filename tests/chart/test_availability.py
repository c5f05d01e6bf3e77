"""Two operators, policies for the network, clouds: what the chart makes of what is off by default."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from hack.cluster import golang
from hack.cluster.golang import GoProgram
from reranker_operator.resources.placement import Toleration
from reranker_operator.settings import Settings

from .conftest import CHART, Json, Rendered

Render = Callable[[Json], Rendered]
NAME = "search-reranker-operator"


def operator(rendered: Rendered) -> Any:
    return rendered.one("Deployment")["spec"]["template"]["spec"]


def settings(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (container,) = operator(rendered)["containers"]
    for each in container["env"]:
        monkeypatch.setenv(each["name"], each["value"])
    return Settings()


def test_two_operators_share_a_lease_of_the_release_s_name(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render({"replicas": 2, "lease": {"seconds": 30}})
    found = settings(rendered, monkeypatch)
    assert (found.lease, found.lease_seconds) == (f"rerankers/{NAME}", 30)
    spec = rendered.one("Deployment")["spec"]
    assert spec["replicas"] == 2
    # The new operator is ready, and looks at the Lease, before the old one leaves and gives it back.
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize("namespaces", [[], ["search"]], ids=["cluster", "namespaces"])
def test_the_lease_s_rights_are_for_the_release_s_namespace_and_that_lease(
    render: Render, namespaces: list[str]
) -> None:
    rendered = render({"replicas": 2, "watchNamespaces": namespaces})
    (role,) = (each for each in rendered.of("Role") if each["metadata"]["namespace"] == "rerankers")
    made, kept = role["rules"]
    assert (made["resources"], made["verbs"]) == (["leases"], ["create"])
    assert (kept["resources"], kept["verbs"], kept["resourceNames"]) == (["leases"], ["get", "patch"], [NAME])
    (binding,) = (each for each in rendered.of("RoleBinding") if each["metadata"]["namespace"] == "rerankers")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_one_operator_asks_for_no_lease_and_no_disruption_budget(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = render({"replicas": 1})
    assert settings(rendered, monkeypatch).lease == ""
    assert not rendered.of("Role") + rendered.of("PodDisruptionBudget")
    assert "affinity" not in operator(rendered)


def test_two_operators_go_to_different_nodes_if_they_can_and_are_drained_one_by_one(render: Render) -> None:
    rendered = render({"replicas": 2, "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone"}]})
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    pod = operator(rendered)
    (preferred,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    (spread,) = pod["topologySpreadConstraints"]
    budget = rendered.one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    for selector in (preferred["podAffinityTerm"]["labelSelector"], spread["labelSelector"], budget["selector"]):
        assert selector["matchLabels"]
        assert selector["matchLabels"].items() <= labels.items()


def test_an_affinity_of_one_s_own_replaces_the_chart_s(render: Render) -> None:
    assert operator(render({"replicas": 2, "affinity": {"nodeAffinity": {}}}))["affinity"] == {"nodeAffinity": {}}


@pytest.mark.parametrize(
    ("cloud", "label"),
    [("eks", "karpenter.k8s.aws/instance-gpu-name"), ("gke", "cloud.google.com/gke-accelerator")],
)
def test_a_cloud_s_values_place_workers_with_a_gpu(
    render: Render, monkeypatch: pytest.MonkeyPatch, cloud: str, label: str
) -> None:
    found = settings(render(yaml.safe_load((CHART / f"values-{cloud}.yaml").read_text())), monkeypatch)
    assert found.gpu_node_selector.keys() == {label}
    assert found.gpu_tolerations == [Toleration(key="nvidia.com/gpu", operator="Exists")]
    assert found.worker_annotations == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
    assert found.lease


def test_what_every_worker_pod_gets_reaches_the_operator(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = {
        "podLabels": {"team": "search", "other": None},
        "priorityClassName": "serving",
        "gpu": {"runtimeClassName": "nvidia"},
    }
    found = settings(render({"worker": worker}), monkeypatch)
    assert found.worker_labels == {"team": "search"}
    assert (found.worker_priority_class, found.gpu_runtime_class) == ("serving", "nvidia")
    unsaid = {each["name"] for each in operator(render({}))["containers"][0]["env"]}
    assert not unsaid & {
        f"RERANKER_OPERATOR_{name}" for name in ("WORKER_LABELS", "WORKER_PRIORITY_CLASS", "GPU_RUNTIME_CLASS")
    }


@pytest.mark.parametrize("cloud", ["eks", "gke"])
def test_helm_4_makes_the_same_of_it_as_helm_3(cloud: str) -> None:
    def rendered(helm: GoProgram) -> list[Json]:
        values = CHART / f"values-{cloud}.yaml"
        argv = [
            str(golang.build(helm)),
            "template",
            "search",
            str(CHART),
            "--namespace=rerankers",
            f"--values={values}",
        ]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return sorted((each for each in yaml.safe_load_all(text) if each), key=str)

    assert rendered(golang.HELM_4) == rendered(golang.HELM)


def policies(rendered: Rendered) -> dict[str, Any]:
    return {each["metadata"]["namespace"]: each["spec"] for each in rendered.of("NetworkPolicy")}


def test_workers_are_reached_by_clients_on_one_port_and_by_the_operator_on_the_other(render: Render) -> None:
    clients = {"podSelector": {"matchLabels": {"app": "shop"}}}
    rendered = render(
        {
            "watchNamespaces": ["search", "chat"],
            "networkPolicy": {"workers": {"enabled": True, "clientsFrom": [clients]}},
        }
    )
    assert policies(rendered).keys() == {"search", "chat"}
    scores, internal = policies(rendered)["chat"]["ingress"]
    assert scores["ports"] == [{"port": "http"}]
    assert scores["from"][0] == clients
    assert internal["ports"] == [{"port": "internal"}]
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    (peer,) = internal["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "rerankers"}
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_workers_of_other_namespaces_are_named_and_prometheus_reads_their_metrics_too(render: Render) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    rendered = render(
        {"networkPolicy": {"ingressFrom": [prometheus], "workers": {"enabled": True, "namespaces": ["search"]}}}
    )
    (spec,) = policies(rendered).values()
    assert prometheus in spec["ingress"][1]["from"]
    assert [port["port"] for rule in spec["egress"] for port in rule["ports"]] == [53, 53, 443]


def test_closing_workers_that_may_be_anywhere_is_refused(helm: Callable[..., Any]) -> None:
    values = {"networkPolicy": {"workers": {"enabled": True}}}
    done = helm("template", "search", CHART, "--namespace", "rerankers", values=values)
    assert done.returncode != 0
    assert "name those that hold models in networkPolicy.workers.namespaces" in done.stderr


def test_the_helm_test_reaches_a_model_wherever_its_clients_are_named(render: Render) -> None:
    workers = {"enabled": True, "namespaces": ["search"], "clientsFrom": [{"podSelector": {}}]}
    rendered = render({"networkPolicy": {"workers": workers}})
    (spec,) = policies(rendered).values()
    peer = spec["ingress"][0]["from"][1]
    assert peer["podSelector"]["matchLabels"].items() <= rendered.one("Pod")["metadata"]["labels"].items()


def test_extra_objects_are_installed_with_their_templates_expanded(render: Render) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "{{ .Release.Name }}-models"}}
    text = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: plain}"
    names = [each["metadata"]["name"] for each in render({"extraObjects": [account, text]}).of("ServiceAccount")]
    assert sorted(names) == ["plain", "search-models", NAME]
