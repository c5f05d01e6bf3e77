"""What the demo tells of the cluster that it ran on."""

import pytest

from hack.stage.cluster import kubeconfig_command, removal


@pytest.mark.parametrize(
    ("kind", "named", "command", "removed_by"),
    [
        ("local", "", 'export KUBECONFIG="$(python3 -m hack.cluster kubeconfig)"', "CLUSTER=local make demo-down"),
        ("existing", "", "", "CLUSTER=existing make demo-down"),
        ("kind", "", "kind export kubeconfig --name=reranker-demo", "CLUSTER=kind make demo-down"),
        ("kind", "mine", "kind export kubeconfig --name=mine", "CLUSTER=kind KIND_CLUSTER=mine make demo-down"),
    ],
)
def test_how_to_look_at_a_cluster_and_how_to_leave_it(
    kind: str, named: str, command: str, removed_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_CLUSTER", named)
    assert (kubeconfig_command(kind), removal(kind)) == (command, removed_by)
