"""What the chart lets the operator do, and how its pods are confined."""

from collections.abc import Callable

import pytest

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


@pytest.mark.parametrize("namespaces", [[], ["search", "chat"]], ids=["cluster", "namespaces"])
def test_no_secret_no_entry_into_pods_and_no_wildcard(render: Render, namespaces: list[str]) -> None:
    rendered = render({"watchNamespaces": namespaces})
    for role in rendered.of("ClusterRole") + rendered.of("Role"):
        rights = granted(role)
        assert not [right for right in rights if "*" in right]
        assert not {resource for _, resource, _ in rights} & {
            "secrets",
            "pods/exec",
            "pods/attach",
            "pods/portforward",
            "serviceaccounts/token",
        }
        assert not {verb for _, _, verb in rights} & {"delete", "deletecollection", "escalate", "bind", "impersonate"}


def test_a_model_s_spec_is_never_written(render: Render) -> None:
    written = {
        resource for group, resource, verb in granted(render({}).one("ClusterRole")) if verb in {"patch", "update"}
    }
    assert "rerankermodels" not in written
    assert "rerankermodels/status" in written


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
    assert render({"watchNamespaces": ["search"]}).one("Role")["rules"] == render({}).one("ClusterRole")["rules"]


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
