"""Which programs a cluster needs, built or unpacked into the cache on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import debian, golang
from .golang import GoProgram


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
    programs = {"etcd": root / "usr/bin/etcd", **_built(wanted)}
    return Software(programs, debian.environment(root), root / "usr/lib/cni")


def whole_node() -> Software:
    """Return the software of a whole single-node cluster."""
    plane = control_plane(controllers=True)
    root = debian.unpacked(debian.NODE)
    programs = {
        **plane.programs,
        **_built([golang.KUBELET, golang.KUBE_PROXY, golang.KUBE_SCHEDULER, golang.COREDNS]),
        "containerd": root / "usr/bin/containerd",
        "ctr": root / "usr/bin/ctr",
        "nft": root / "usr/sbin/nft",
        "busybox": root / "bin/busybox",
        "kubectl": golang.find_or_build(golang.KUBECTL),
        "helm": golang.build(golang.HELM),
    }
    return Software(programs, debian.environment(root), root / "usr/lib/cni")


def _built(programs: list[GoProgram]) -> dict[str, Path]:
    return {program.name: golang.build(program) for program in programs}
