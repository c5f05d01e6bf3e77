"""What the chart makes of its values."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.repository import ROOT
from reranker_operator.settings import Settings

from .conftest import CHART, Json, Rendered

Render = Callable[[Json], Rendered]

DIGEST = "sha256:" + "0" * 64


def operator(rendered: Rendered) -> Any:
    return rendered.one("Deployment")["spec"]["template"]["spec"]


def environment(rendered: Rendered) -> dict[str, str]:
    (container,) = operator(rendered)["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_the_smallest_installation_is_this(render: Render) -> None:
    assert sorted((each["kind"], each["metadata"]["name"]) for each in render({})) == [
        ("ClusterRole", "search-reranker-operator"),
        ("ClusterRole", "search-reranker-operator-edit"),
        ("ClusterRole", "search-reranker-operator-view"),
        ("ClusterRoleBinding", "search-reranker-operator"),
        ("CustomResourceDefinition", "rerankeradapters.reranker.dev"),
        ("CustomResourceDefinition", "rerankermodels.reranker.dev"),
        ("Deployment", "search-reranker-operator"),
        ("Pod", "search-reranker-operator-test"),
        ("Service", "search-reranker-operator"),
        ("ServiceAccount", "search-reranker-operator"),
    ]


def test_everything_that_has_a_namespace_is_in_that_of_the_release(render: Render) -> None:
    rendered = render({"metrics": {"podMonitor": {"enabled": True}}, "networkPolicy": {"enabled": True}})
    placed = {each["kind"]: each["metadata"].get("namespace") for each in rendered}
    assert {kind for kind, namespace in placed.items() if namespace is None} == {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
    }
    assert {namespace for namespace in placed.values() if namespace} == {"rerankers"}


SETTINGS: dict[str, tuple[Json, Json]] = {
    "the defaults": (
        {},
        {
            "worker_image": "reranker-worker:0.1.0",
            "resync_seconds": 60,
            "concurrent_reconciles": 8,
            "watched_namespaces": (),
        },
    ),
    "a worker image by tag": (
        {"worker": {"image": {"repository": "ghcr.io/acme/worker", "tag": "v2", "pullPolicy": "Always"}}},
        {"worker_image": "ghcr.io/acme/worker:v2", "worker_image_pull_policy": "Always"},
    ),
    "a worker image by digest, which wins over the tag": (
        {"worker": {"image": {"repository": "acme/worker", "tag": "v2", "digest": DIGEST}}},
        {"worker_image": f"acme/worker@{DIGEST}"},
    ),
    "pull Secrets of the models' namespaces": (
        {"worker": {"imagePullSecrets": [{"name": "one"}, {"name": "two"}]}},
        {"pull_secrets": ("one", "two")},
    ),
    "a mirror of the hub": (
        {"worker": {"hfEndpoint": "https://hub.example.com"}},
        {"hf_endpoint": "https://hub.example.com"},
    ),
    "variables of fetchers": (
        {"worker": {"fetcherEnv": {"AWS_REGION": "eu-west-1", "NO_PROXY": 'a,"b"'}}},
        {"fetcher_env": {"AWS_REGION": "eu-west-1", "NO_PROXY": 'a,"b"'}},
    ),
    "variables of servers": (
        {"worker": {"serverEnv": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.observability:4318"}}},
        {"server_env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.observability:4318"}},
    ),
    "a cloud identity": (
        {"worker": {"serviceAccountName": "reranker-worker"}},
        {"worker_service_account": "reranker-worker"},
    ),
    "some namespaces": ({"watchNamespaces": ["search", "chat"]}, {"watched_namespaces": ("search", "chat")}),
    "its pace": (
        {"resyncSeconds": 2.5, "concurrentReconciles": 32},
        {"resync_seconds": 2.5, "concurrent_reconciles": 32},
    ),
    "what it asks of the API server": ({"apiRequestsPerSecond": 250}, {"api_requests_per_second": 250}),
    "its log": ({"log": {"format": "console", "level": "debug"}}, {"log_format": "console", "log_level": "debug"}),
}


@pytest.mark.parametrize(("values", "expected"), SETTINGS.values(), ids=SETTINGS.keys())
def test_the_operator_reads_its_settings_from_what_the_chart_sets(
    render: Render, monkeypatch: pytest.MonkeyPatch, values: Json, expected: Json
) -> None:
    variables = environment(render(values))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert {name: getattr(settings, name) for name in expected} == expected
    known = {f"RERANKER_OPERATOR_{field.upper()}" for field in Settings.model_fields}
    assert variables.keys() <= known


def test_the_probes_and_the_service_meet_the_operator_on_its_health_port(render: Render) -> None:
    rendered = render({})
    (container,) = operator(rendered)["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": Settings.model_fields["health_port"].default}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    service = rendered.one("Service")["spec"]
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
    template = rendered.one("Deployment")["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()


IMAGES = {
    "by the chart's version": ({}, "reranker-operator:0.1.0"),
    "by tag": ({"repository": "ghcr.io/acme/operator", "tag": "v2"}, "ghcr.io/acme/operator:v2"),
    "by digest": ({"tag": "v2", "digest": DIGEST}, f"reranker-operator@{DIGEST}"),
}


@pytest.mark.parametrize(("image", "expected"), IMAGES.values(), ids=IMAGES.keys())
def test_the_operator_and_its_test_run_from_one_image(render: Render, image: Json, expected: str) -> None:
    rendered = render({"image": image, "imagePullSecrets": [{"name": "registry"}]})
    for pod in (operator(rendered), rendered.one("Pod")["spec"]):
        assert [container["image"] for container in pod["containers"]] == [expected]
        assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_two_operators_never_run_at_once(render: Render) -> None:
    spec = render({}).one("Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("keep", [True, False])
def test_the_crds_are_those_of_the_repository_and_stay_if_they_shall(render: Render, keep: bool) -> None:
    files = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").iterdir())]
    crds = render({"crds": {"keep": keep}}).of("CustomResourceDefinition")
    assert [crd["spec"]["names"]["kind"] for crd in crds] == ["RerankerAdapter", "RerankerModel"]
    assert [crd["spec"] for crd in crds] == [file["spec"] for file in files]
    for crd in crds:
        assert crd["metadata"].get("annotations", {}) == ({"helm.sh/resource-policy": "keep"} if keep else {})


def test_the_crds_can_be_left_to_an_administrator(render: Render) -> None:
    assert render({"crds": {"install": False}}).of("CustomResourceDefinition") == []


def test_a_packaged_chart_carries_the_crds_that_it_links_to(helm: Callable[..., Any], tmp_path: Path) -> None:
    packed = helm("package", ROOT / "charts/reranker-operator", "--destination", tmp_path)
    assert packed.returncode == 0, packed.stderr
    (archive,) = tmp_path.iterdir()
    rendered = helm("template", "search", archive)
    assert rendered.stdout.count("kind: CustomResourceDefinition") == 2


def test_hooks_reach_the_operator(render: Render) -> None:
    pod = operator(
        render(
            {
                "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
                "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
                "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/private"}],
                "priorityClassName": "system-cluster-critical",
                "nodeSelector": {"pool": "system"},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
                "podLabels": {"team": "search"},
                "podAnnotations": {"note": "kept"},
            }
        )
    )
    (container,) = pod["containers"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy:3128"} in container["env"]
    assert container["volumeMounts"] == [{"name": "ca", "mountPath": "/etc/ssl/private"}]
    assert pod["volumes"] == [{"name": "ca", "configMap": {"name": "ca"}}]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["nodeSelector"] == {"pool": "system"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["affinity"] == {"nodeAffinity": {}}


def test_the_metrics_of_operator_and_workers_are_scraped_where_they_are(render: Render) -> None:
    rendered = render(
        {
            "metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True, "labels": {"a": "b"}}},
            "watchNamespaces": ["search"],
        }
    )
    service = rendered.one("ServiceMonitor")["spec"]
    assert service["selector"]["matchLabels"].items() <= rendered.one("Service")["metadata"]["labels"].items()
    assert [endpoint["port"] for endpoint in service["endpoints"]] == ["http"]
    pods = rendered.one("PodMonitor")
    assert pods["metadata"]["labels"]["a"] == "b"
    assert pods["spec"]["namespaceSelector"] == {"matchNames": ["search"]}
    assert pods["spec"]["podMetricsEndpoints"] == [{"port": "internal", "path": "/metrics", "interval": "15s"}]


def test_a_network_policy_lets_the_helm_test_in_beside_the_named_peers(render: Render) -> None:
    rendered = render({"networkPolicy": {"enabled": True, "ingressFrom": [{"namespaceSelector": {}}]}})
    (policy,) = (each for each in rendered.of("NetworkPolicy") if "ingress" in each["spec"])
    (ingress,) = policy["spec"]["ingress"]
    admitted = [peer["podSelector"]["matchLabels"] for peer in ingress["from"] if "podSelector" in peer]
    labels = rendered.one("Pod")["metadata"]["labels"]
    assert [each.items() <= labels.items() for each in admitted] == [True]


def test_the_helm_test_asks_a_model_only_where_one_is_named(render: Render) -> None:
    def asked(values: Json) -> dict[str, str]:
        (container,) = render(values).one("Pod")["spec"]["containers"]
        return {each["name"]: each["value"] for each in container["env"]}

    url = "http://search-reranker-operator.rerankers.svc:8080"
    assert asked({}) == {"OPERATOR_URL": url}
    assert asked({"test": {"model": "bge"}})["MODEL_URL"] == "http://bge.rerankers.svc:8080"
    assert asked({"test": {"model": "bge", "namespace": "shop"}})["MODEL_URL"] == "http://bge.shop.svc:8080"
    watched = {"watchNamespaces": ["chat", "shop"], "test": {"model": "bge"}}
    assert asked(watched)["MODEL_URL"] == "http://bge.chat.svc:8080"


REFUSED: dict[str, tuple[Json, str]] = {
    "a misspelt value": ({"watchNamespace": ["a"]}, "watchNamespace"),
    "a name that no Service can have": ({"fullnameOverride": "2024-rerankers"}, "fullnameOverride"),
    "a misspelt value below another": ({"worker": {"image": {"name": "a"}}}, "name"),
    "a namespace that can't be": ({"watchNamespaces": ["Search"]}, "watchNamespaces"),
    "namespaces as text": ({"watchNamespaces": "search"}, "watchNamespaces"),
    "a digest without its algorithm": ({"image": {"digest": "0" * 64}}, "digest"),
    "a tag with a digest in it": ({"worker": {"image": {"tag": f"v1@{DIGEST}"}}}, "tag"),
    "an unknown pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    "an unknown log format": ({"log": {"format": "xml"}}, "format"),
    "a resync without a pause": ({"resyncSeconds": 0}, "resyncSeconds"),
    "no requests at all": ({"apiRequestsPerSecond": 0}, "apiRequestsPerSecond"),
    "a mirror without a scheme": ({"worker": {"hfEndpoint": "hub.example.com"}}, "hfEndpoint"),
    "a variable that can't be one": ({"worker": {"fetcherEnv": {"AWS REGION": "eu-west-1"}}}, "AWS REGION"),
    "a variable that isn't text": ({"worker": {"fetcherEnv": {"AWS_REGION": 1}}}, "AWS_REGION"),
    "a service account that can't be": ({"worker": {"serviceAccountName": "Worker"}}, "serviceAccountName"),
    "a repository with a tag": ({"image": {"repository": "registry:5000/operator:v1"}}, "repository"),
    "a repository with a digest": ({"worker": {"image": {"repository": f"registry/worker@{DIGEST}"}}}, "repository"),
    "a toleration without key and operator": ({"worker": {"gpu": {"tolerations": [{}]}}}, "tolerations"),
    "an unknown operator of a toleration": (
        {"worker": {"gpu": {"tolerations": [{"key": "a", "operator": "Exist"}]}}},
        "operator",
    ),
    "a misspelt toleration": ({"worker": {"gpu": {"tolerations": [{"key": "a", "oper": "Exists"}]}}}, "oper"),
    "a label that can't be": ({"worker": {"gpu": {"nodeSelector": {"gpu": "a b"}}}}, "nodeSelector"),
    "a label's name that can't be": ({"worker": {"gpu": {"nodeSelector": {"g p u": "a"}}}}, "g p u"),
    "an operator's account that can't be": ({"serviceAccount": {"name": "My Operator"}}, "serviceAccount"),
    "a value taken out": ({"worker": {"image": {"repository": None}}}, "repository"),
    "a part taken out": ({"metrics": None}, "metrics"),
    "no pause between scrapes": ({"metrics": {"podMonitor": {"interval": "0s"}}}, "interval"),
    "a link with a blank": ({"metrics": {"rules": {"runbooks": "https://x/y: z"}}}, "runbooks"),
    "pull Secrets by bare name": ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
}


@pytest.mark.parametrize(("values", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_value_is_refused_by_name(helm: Callable[..., Any], values: Json, named: str) -> None:
    done = helm("template", "search", ROOT / "charts/reranker-operator", values=values)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert named in done.stderr


@pytest.mark.parametrize("release", ["2024", "search.v2"])
def test_a_release_whose_service_could_have_no_such_name_is_refused(helm: Callable[..., Any], release: str) -> None:
    done = helm("template", release, CHART)
    assert done.returncode != 0
    assert f'objects can\'t be called "{release}-reranker-operator"' in done.stderr
    assert helm("template", release, CHART, "--set=fullnameOverride=rerankers").returncode == 0


def test_a_variable_that_the_chart_sets_by_a_value_is_refused_among_the_others(helm: Callable[..., Any]) -> None:
    done = helm(
        "template",
        "search",
        CHART,
        values={"extraEnv": [{"name": "RERANKER_OPERATOR_CONCURRENT_RECONCILES", "value": "1"}]},
    )
    assert done.returncode != 0
    assert "extraEnv: RERANKER_OPERATOR_CONCURRENT_RECONCILES" in done.stderr


def test_a_copy_of_the_chart_without_the_crds_says_so(helm: Callable[..., Any], tmp_path: Path) -> None:
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy, symlinks=True)
    (copy / "files/crds").unlink()
    done = helm("template", "search", copy)
    assert done.returncode != 0
    assert "this copy of the chart has no CRDs" in done.stderr
    assert helm("template", "search", copy, "--set=crds.install=false").returncode == 0


def test_names_of_digits_stay_texts(helm: Callable[..., Any]) -> None:
    texts = {
        "watchNamespaces": ["123"],
        "priorityClassName": "123",
        "serviceAccount": {"name": "456"},
        "worker": {"serviceAccountName": "789"},
        "metrics": {"rules": {"enabled": True}, "dashboard": {"enabled": True, "namespace": "on"}},
        "networkPolicy": {"enabled": True, "workers": {"enabled": True}},
        "replicas": 2,
        "fullnameOverride": "on",
    }
    done = helm("template", "2024", ROOT / "charts/reranker-operator", "--namespace", "2025", values=texts)
    assert done.returncode == 0, done.stderr
    rendered = Rendered(each for each in yaml.safe_load_all(done.stdout) if each)
    for each in rendered:
        metadata = each["metadata"]
        named = [metadata["name"], metadata.get("namespace", ""), *metadata.get("labels", {}).values()]
        assert all(isinstance(text, str) for text in named), metadata
    pod = rendered.one("Deployment")["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("456", "123")
    assert all(isinstance(variable["value"], str) for variable in pod["containers"][0]["env"])
    assert rendered.one("ServiceAccount")["metadata"]["name"] == "456"


def test_labels_of_the_users_stand_beside_the_charts_own_which_win(render: Render) -> None:
    own = "app.kubernetes.io/name"
    labels = {own: "mine", "team": "search"}
    rendered = render({"podLabels": labels, "metrics": {"rules": {"enabled": True, "labels": labels}}})
    for metadata in (
        rendered.one("Deployment")["spec"]["template"]["metadata"],
        rendered.one("PrometheusRule")["metadata"],
    ):
        assert (metadata["labels"][own], metadata["labels"]["team"]) == ("reranker-operator", "search")


@pytest.mark.parametrize("interval", ["15s", "1m30s", "2h", "500ms"])
def test_scrapes_take_prometheus_durations(render: Render, interval: str) -> None:
    monitor = render({"metrics": {"podMonitor": {"enabled": True, "interval": interval}}}).one("PodMonitor")
    assert monitor["spec"]["podMetricsEndpoints"][0]["interval"] == interval


def test_every_value_is_in_the_schema_and_every_key_of_the_schema_has_a_value() -> None:
    chart = ROOT / "charts/reranker-operator"
    values = yaml.safe_load((chart / "values.yaml").read_text())
    schema = yaml.safe_load((chart / "values.schema.json").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}
