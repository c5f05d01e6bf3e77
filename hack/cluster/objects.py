"""The Kubernetes objects that every cluster starts with: volumes to claim, and CoreDNS's rights. No I/O."""

from collections.abc import Mapping
from typing import Any

STORAGE_CLASS = "local"
VOLUME_SIZE = "20Gi"


def cluster_objects(volumes: Mapping[str, str]) -> dict[str, Any]:
    """Return everything as one list; `volumes` maps a volume's name to its folder on the host."""
    items = [storage_class(), *(volume(name, path) for name, path in volumes.items()), *coredns_rights()]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def storage_class() -> dict[str, Any]:
    """Return the default storage class, whose volumes exist beforehand."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }


def volume(name: str, path: str) -> dict[str, Any]:
    """Return a persistent volume on the host that many pods can write to."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": VOLUME_SIZE},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": path, "type": "Directory"},
        },
    }


def coredns_rights() -> list[dict[str, Any]]:
    """Return the role by which CoreDNS, which runs on the host, reads what it resolves."""
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    api_group = "rbac.authorization.k8s.io"
    name = "system:coredns"
    return [
        {
            "apiVersion": f"{api_group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        },
        {
            "apiVersion": f"{api_group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": api_group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": api_group, "kind": "User", "name": name}],
        },
    ]
