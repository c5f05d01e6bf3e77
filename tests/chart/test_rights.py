"""What the chart lets the operator do, and how its pods are confined."""

from collections.abc import Callable

import pytest

from reranker_operator import handlers, paths
from reranker_operator.resources.adapter_kind import ADAPTER_PLURAL
from reranker_operator.resources.v1alpha1 import GROUP, PLURAL
from reranker_operator.world.state import ACCESSORIES

from .conftest import Json, Rendered

Render = Callable[[Json], Rendered]


def granted(role: Json) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def own(rendered: Rendered) -> Json:
    """Return the ClusterRole that the operator itself has."""
    (binding,) = rendered.of("ClusterRoleBinding")
    (role,) = (each for each in rendered.of("ClusterRole") if each["metadata"]["name"] == binding["roleRef"]["name"])
    return role


def needed() -> set[tuple[str, str, str]]:
    """What the operator's own code asks of the API server."""
    rights = {
        (GROUP, PLURAL, "get"),
        (GROUP, PLURAL, "list"),
        (GROUP, PLURAL, "watch"),
        (GROUP, f"{PLURAL}/status", "patch"),
        (GROUP, ADAPTER_PLURAL, "list"),
        (GROUP, ADAPTER_PLURAL, "watch"),
        (GROUP, f"{ADAPTER_PLURAL}/status", "patch"),
        (GROUP, f"{PLURAL}/finalizers", "update"),  # to write owner references that block deletion
        ("", "pods", "patch"),
        ("events.k8s.io", "events", "create"),
    }
    rights.add(("apps", "deployments", "delete"))
    rights |= {("apps", paths.REVISIONS[1], verb) for verb in ("create", "patch", "delete")}
    for group, _, plural in handlers.OWNED:
        rights |= {(group, plural, "list"), (group, plural, "watch")}
    for kind, (prefix, plural) in paths.RESOURCES.items():
        group = prefix.removeprefix("/apis/").split("/")[0] if prefix.startswith("/apis/") else ""
        rights |= {(group, plural, verb) for verb in ("get", "create", "patch")}
        rights |= {(group, plural, "delete")} if kind in ACCESSORIES else set()
    return rights


@pytest.mark.parametrize("namespaces", [[], ["search", "chat"]], ids=["cluster", "namespaces"])
def test_the_operator_may_do_what_it_does_and_nothing_else(render: Render, namespaces: list[str]) -> None:
    rendered = render({"watchNamespaces": namespaces})
    roles = rendered.of("Role") if namespaces else [own(rendered)]
    assert roles
    for role in roles:
        assert granted(role) == needed()


def test_no_secret_is_read_and_no_pod_entered(render: Render) -> None:
    resources = {resource for _, resource, _ in granted(own(render({})))}
    assert not resources & {"*", "secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"}


def test_named_namespaces_bring_a_role_each_and_nothing_for_the_cluster(render: Render) -> None:
    rendered = render({"watchNamespaces": ["search", "chat"]})
    assert not rendered.of("ClusterRole") + rendered.of("ClusterRoleBinding")
    assert [role["metadata"]["namespace"] for role in rendered.of("Role")] == ["search", "chat"]
    for binding in rendered.of("RoleBinding"):
        assert binding["roleRef"]["kind"] == "Role"
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "search-reranker-operator", "namespace": "rerankers"}
        ]


def test_the_rights_are_the_same_in_a_namespace_and_in_the_cluster(render: Render) -> None:
    assert render({"watchNamespaces": ["search"]}).one("Role")["rules"] == own(render({}))["rules"]


@pytest.mark.parametrize(
    ("of", "verbs"),
    [
        ("edit", {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}),
        ("view", {"get", "list", "watch"}),
    ],
)
def test_a_namespace_s_own_people_may_write_or_read_its_models(render: Render, of: str, verbs: set[str]) -> None:
    label = f"rbac.authorization.k8s.io/aggregate-to-{of}"
    (role,) = (each for each in render({}).of("ClusterRole") if each["metadata"]["labels"].get(label) == "true")
    assert {verb for _, _, verb in granted(role)} == verbs
    assert {(GROUP, plural, "get") for plural in (PLURAL, ADAPTER_PLURAL)} <= granted(role)
    assert not any("status" in resource for _, resource, _ in granted(role))


def test_rights_can_be_left_to_an_administrator(render: Render) -> None:
    rendered = render({"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "operator"}})
    assert not rendered.of("ClusterRole") + rendered.of("ClusterRoleBinding") + rendered.of("ServiceAccount")
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "operator"


def test_a_cloud_s_role_is_bound_through_the_service_account(render: Render) -> None:
    annotations = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/models"}
    account = render({"serviceAccount": {"annotations": annotations}}).one("ServiceAccount")
    assert account["metadata"]["annotations"] == annotations


def test_pods_can_write_nothing_and_become_nobody(render: Render) -> None:
    rendered = render({})
    for pod in (rendered.one("Deployment")["spec"]["template"]["spec"], rendered.one("Pod")["spec"]):
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_only_the_operator_itself_holds_a_token(render: Render) -> None:
    rendered = render({})
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert rendered.one("Pod")["spec"]["automountServiceAccountToken"] is False
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
