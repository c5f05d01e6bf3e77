"""Which programs a cluster needs, built or unpacked into the cache on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import debian, golang

KUBERNETES = (
    golang.KUBE_APISERVER,
    golang.KUBE_CONTROLLER_MANAGER,
    golang.KUBE_SCHEDULER,
    golang.KUBELET,
    golang.KUBE_PROXY,
    golang.KUBECTL,
)


@dataclass(frozen=True)
class Software:
    """Programs by name, the environment of those that come from Debian, and the CNI plugins' folder."""

    programs: Mapping[str, Path]
    environment: Mapping[str, str]
    network_plugins: Path


def control_plane(*, controllers: bool) -> Software:
    """Return the software of a control plane without a node."""
    root = debian.unpacked(debian.CONTROL_PLANE)
    wanted = [golang.KUBE_APISERVER, *([golang.KUBE_CONTROLLER_MANAGER] if controllers else [])]
    programs = {"etcd": root / "usr/bin/etcd", **golang.build_all(wanted)}
    return Software(programs, debian.environment(root), root / "usr/lib/cni")


def whole_node(*, image_volumes: bool) -> Software:
    """Return the software of a whole single-node cluster; image volumes need a younger containerd than Debian's."""
    etcd = debian.unpacked(debian.CONTROL_PLANE) / "usr/bin/etcd"
    root = debian.unpacked(debian.NODE)
    programs = {
        **golang.build_all([*KUBERNETES, golang.COREDNS, golang.HELM]),
        "etcd": etcd,
        "containerd": root / "usr/bin/containerd",
        "ctr": root / "usr/bin/ctr",
        "nft": root / "usr/sbin/nft",
        "busybox": root / "bin/busybox",
    }
    environment = debian.environment(root)
    if image_volumes:
        built = golang.build_all([golang.CONTAINERD, golang.CONTAINERD_SHIM])
        programs["containerd"] = built[golang.CONTAINERD.name]
        environment["PATH"] = f"{built[golang.CONTAINERD_SHIM.name].parent}:{environment['PATH']}"
    return Software(programs, environment, root / "usr/lib/cni")
