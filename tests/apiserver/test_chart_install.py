"""The chart on a real API server: what it installs is admitted, lets the operator work, and leaves what it should."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client import (
    ApiClient,
    ApiException,
    ApiextensionsV1Api,
    AuthorizationV1Api,
    CoreV1Api,
    CustomObjectsApi,
    V1Namespace,
    V1ObjectMeta,
)

from hack.cluster import golang
from hack.cluster.golang import GoProgram
from hack.repository import ROOT
from reranker_operator.resources.adapter_kind import ADAPTER_PLURAL
from reranker_operator.resources.v1alpha1 import GROUP, PLURAL, VERSION
from tests.apiserver.kube import ANY_VERSION

pytestmark = pytest.mark.apiserver

CHART = ROOT / "charts/reranker-operator"
CRDS = [f"{PLURAL}.{GROUP}", f"{ADAPTER_PLURAL}.{GROUP}"]
NAMESPACE = "chart-test"
RELEASE = "search"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}

Json = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """One version of Helm, on the tests' API server and namespace."""

    version: GoProgram
    kubeconfig: Path

    def __call__(self, *arguments: str | Path) -> str:
        where = ("--namespace", NAMESPACE, "--kubeconfig", self.kubeconfig)
        argv = [golang.build(self.version), *arguments, *where]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def force(self) -> tuple[str, ...]:
        """What Helm 4 wants, which applies server-side, to write over what somebody else has written."""
        return ("--force-conflicts",) if self.version is golang.HELM_4 else ()


@pytest.fixture(scope="module", params=[golang.HELM, golang.HELM_4], ids=lambda helm: f"helm-{helm.version}")
def helm(request: pytest.FixtureRequest, kubeconfig: Path) -> Helm:
    return Helm(request.param, kubeconfig)


@pytest.fixture(scope="module")
def installed(api: ApiClient, helm: Helm) -> Iterator[str]:
    """The notes of a release in a namespace that enforces restricted pod security."""
    core = CoreV1Api(api)
    core.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=NAMESPACE, labels=RESTRICTED)))
    # The CRD is there already, applied by kubectl, as after `crds.install=false`.
    yield helm(
        "install", RELEASE, CHART, "--take-ownership", *helm.force, "--set", "test.model=bge", "--set", "replicas=2"
    )
    helm("uninstall", RELEASE)
    core.delete_namespace(NAMESPACE)
    _until_gone(core)


def _until_gone(core: CoreV1Api) -> None:
    watch = kubernetes.watch.Watch()
    wanted = {"field_selector": f"metadata.name={NAMESPACE}", "resource_version": ANY_VERSION}
    for event in watch.stream(core.list_namespace, timeout_seconds=60, **wanted):
        if event["type"] == "DELETED":
            return
    raise AssertionError(f"namespace {NAMESPACE} wasn't deleted within 60 s")


def test_the_notes_hold_a_model_that_the_api_server_takes(api: ApiClient, installed: str) -> None:
    text = installed.split("kubectl apply -f - <<EOF\n")[1].split("   EOF\n", maxsplit=1)[0]
    model = yaml.safe_load(text)
    created: Any = CustomObjectsApi(api).create_namespaced_custom_object(
        GROUP, VERSION, NAMESPACE, PLURAL, model, dry_run="All", field_validation="Strict"
    )
    assert created["metadata"]["namespace"] == NAMESPACE


@pytest.mark.parametrize("crd", CRDS)
def test_a_crd_outlives_the_release_and_is_upgraded_with_the_next(
    api: ApiClient, installed: str, helm: Helm, crd: str
) -> None:
    crds = ApiextensionsV1Api(api)
    helm("uninstall", RELEASE)
    crds.patch_custom_resource_definition(crd, {"spec": {"names": {"categories": ["old"]}}})
    helm("install", RELEASE, CHART, *helm.force, "--set", "replicas=2")
    assert crds.read_custom_resource_definition(crd).spec.names.categories == ["reranker"]


def test_restricted_pod_security_admits_both_pods(api: ApiClient, installed: str, helm: Helm) -> None:
    objects = [each for each in yaml.safe_load_all(helm("template", RELEASE, CHART)) if each]
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    (test,) = (each for each in objects if each["kind"] == "Pod")
    for name, template in (("operator", deployment["spec"]["template"]), ("test", test)):
        # An account that is there at once; the namespace's default one is made behind our back.
        spec = {**template["spec"], "serviceAccountName": f"{RELEASE}-reranker-operator"}
        pod = {"metadata": {"name": name}, "spec": spec}
        CoreV1Api(api).create_namespaced_pod(NAMESPACE, pod, dry_run="All", field_validation="Strict")


def test_a_pod_that_may_become_root_is_not_admitted_there(api: ApiClient, installed: str) -> None:
    pod = {"metadata": {"name": "root"}, "spec": {"containers": [{"name": "root", "image": "root"}]}}
    with pytest.raises(ApiException) as refusal:
        CoreV1Api(api).create_namespaced_pod(NAMESPACE, pod, dry_run="All")
    assert refusal.value.status == 403


def right(verb: str, group: str, resource: str, subresource: str = "") -> Json:
    return {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": "default"}


def on_lease(verb: str, name: str, namespace: str = NAMESPACE) -> Json:
    return {**right(verb, "coordination.k8s.io", "leases"), "name": name, "namespace": namespace}


RIGHTS = {
    "watch models": (right("watch", GROUP, PLURAL), True),
    "write a model's status": (right("patch", GROUP, PLURAL, "status"), True),
    "write a model": (right("patch", GROUP, PLURAL), False),
    "watch adapters": (right("watch", GROUP, ADAPTER_PLURAL), True),
    "write an adapter's status": (right("patch", GROUP, ADAPTER_PLURAL, "status"), True),
    "write an adapter": (right("patch", GROUP, ADAPTER_PLURAL), False),
    "make a Deployment": (right("create", "apps", "deployments"), True),
    "delete a Deployment": (right("delete", "apps", "deployments"), True),
    "delete a Service": (right("delete", "", "services"), True),
    "delete a ConfigMap": (right("delete", "", "configmaps"), False),
    "delete an autoscaler": (right("delete", "autoscaling", "horizontalpodautoscalers"), True),
    "read a Secret": (right("get", "", "secrets"), False),
    "enter a pod": (right("create", "", "pods", "exec"), False),
    "list namespaces": (right("list", "", "namespaces"), False),
    "make a Lease beside itself": (on_lease("create", ""), True),
    "renew the Lease of its own name": (on_lease("patch", f"{RELEASE}-reranker-operator"), True),
    "take another's Lease": (on_lease("patch", "other"), False),
    "take a Lease elsewhere": (on_lease("patch", f"{RELEASE}-reranker-operator", "kube-system"), False),
    "list CRDs": (right("list", "apiextensions.k8s.io", "customresourcedefinitions"), False),
}


@pytest.mark.parametrize(("attributes", "allowed"), RIGHTS.values(), ids=RIGHTS.keys())
def test_the_api_server_lets_the_operator(api: ApiClient, installed: str, attributes: Json, allowed: bool) -> None:
    review = {
        "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:{RELEASE}-reranker-operator",
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": attributes,
        }
    }
    assert AuthorizationV1Api(api).create_subject_access_review(review).status.allowed is allowed
