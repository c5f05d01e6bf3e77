"""Bringing clusters up and down: everything that is done, in order."""

import os
import shutil
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import certificates, node, software
from .cluster import Cluster, Record, ensure_record, existing, orphans, read_record
from .components import NODE_NAME, ControlPlane, startup_waves
from .configs import KUBERNETES_SERVICE_IP, NODE_IP, credentials, kubeconfig
from .paths import locked
from .processes import Identity, Process, client_context, identity_of, is_ready
from .progress import StepError, duration, say, step
from .software import Software

READY_TIMEOUT_S = 90.0
KUBECONFIG_USERS = ("controller-manager", "scheduler", "kubelet", "kube-proxy", "coredns")
# The kubelet ends first, lest it restarts what ends; then containers, while containerd is there to clean up.
STOPPED_LAST = ("containerd", "kube-apiserver", "etcd")


def up(cluster: Cluster, *, owner: Identity | None = None) -> Path:
    """Bring a cluster up, or whatever of it is missing, and return its kubeconfig's path."""
    needed = _software(cluster)
    with locked(cluster.lock_file), step(f"cluster {cluster.name} is ready"):
        record = ensure_record(cluster, owner)
        plane = _control_plane(cluster, record, needed)
        _write_credentials(plane)
        first, *later = _waves(plane, record, needed)
        if not cluster.control_plane_only:
            node.prepare(plane, needed)
        _start(cluster, first)
        if not cluster.control_plane_only:
            node.populate(plane, needed)
        for wave in later:
            _start(cluster, wave)
        if not cluster.control_plane_only:
            node.wait_ready(plane, _tls(cluster))
    return cluster.layout.kubeconfig


def down(cluster: Cluster) -> None:
    """End everything that `up` started and undo what it changed; nothing happens where nothing is up."""
    with locked(cluster.lock_file):
        if not cluster.layout.state.exists():
            return
        with step(f"cluster {cluster.name} is gone"):
            processes = cluster.processes
            processes.stop("kubelet")
            if not cluster.control_plane_only:
                node.end_containers(cluster.layout)
            for name in [*(n for n in processes.names() if n not in STOPPED_LAST), *STOPPED_LAST]:
                processes.stop(name)
            if not cluster.control_plane_only:
                node.clean_up(cluster.layout)
            shutil.rmtree(cluster.layout.state)


def start(cluster: Cluster, component: str) -> None:
    """Start one component that was stopped, and wait until it is ready."""
    with locked(cluster.lock_file):
        _start(cluster, [_process(cluster, component)])


def stop(cluster: Cluster, component: str) -> None:
    """End one component; `start` or `up` brings it back."""
    with locked(cluster.lock_file):
        cluster.processes.stop(_process(cluster, component).name)
    say(f"{component} stopped")


@dataclass(frozen=True)
class ComponentStatus:
    """How one component is; `pid` is None when it does not run."""

    name: str
    pid: int | None
    ready: bool
    log: Path


def status(cluster: Cluster) -> list[ComponentStatus]:
    """Return how each component of a cluster that is up is, in the order in which they start."""
    tls = _tls(cluster)
    return [
        ComponentStatus(
            name=process.name,
            pid=cluster.processes.pid(process.name),
            ready=is_ready(process.ready, tls),
            log=cluster.processes.log(process.name),
        )
        for process in _processes(cluster)
    ]


@contextmanager
def running(name: str | None = None, *, control_plane_only: bool = False, controllers: bool = False) -> Iterator[Path]:
    """Keep a cluster up for a block and yield its kubeconfig's path; one that was up before stays up after.

    Without a name a control plane is the block's own, so test runs that go on at the same time don't share one.
    """
    own = f"apiserver-{os.getpid()}" if control_plane_only else "local"
    cluster = Cluster(name or own, control_plane_only, controllers or not control_plane_only)
    for orphan in orphans():
        down(orphan)
    was_up = existing(cluster.name) is not None
    owner = identity_of(os.getpid()) if control_plane_only and not was_up else None
    try:
        yield up(cluster, owner=owner)
    finally:
        if not was_up:
            down(cluster)


def _software(cluster: Cluster) -> Software:
    if cluster.control_plane_only:
        return software.control_plane(controllers=cluster.controllers)
    return software.whole_node(image_volumes=cluster.image_volumes)


def _control_plane(cluster: Cluster, record: Record, needed: Software) -> ControlPlane:
    address = "127.0.0.1" if cluster.control_plane_only else NODE_IP
    return ControlPlane(cluster.layout, address, record.ports, needed.programs, image_volumes=record.image_volumes)


def _write_credentials(plane: ControlPlane) -> None:
    pki, configs = plane.layout.pki, plane.layout.configs
    ips = dict.fromkeys([plane.address, "127.0.0.1", KUBERNETES_SERVICE_IP])
    certificates.make(pki, certificates.parties(list(ips), NODE_NAME))
    configs.mkdir(exist_ok=True)
    for user in KUBECONFIG_USERS:
        (configs / f"{user}.kubeconfig").write_text(kubeconfig(plane.server, credentials(pki, user)))
    plane.layout.kubeconfig.write_text(kubeconfig(plane.server, credentials(pki, "admin")))


def _waves(plane: ControlPlane, record: Record, needed: Software) -> list[list[Process]]:
    alone = record.control_plane_only
    return startup_waves(plane, alone=alone, controllers=record.controllers, node=needed.environment)


def _processes(cluster: Cluster) -> list[Process]:
    needed, record = _software(cluster), read_record(cluster.record_file)
    return [process for wave in _waves(_control_plane(cluster, record, needed), record, needed) for process in wave]


def _process(cluster: Cluster, component: str) -> Process:
    known = {process.name: process for process in _processes(cluster)}
    if component not in known:
        raise StepError(f"{component} is no component of cluster {cluster.name}, which has {', '.join(known)}")
    return known[component]


def _start(cluster: Cluster, wave: Sequence[Process]) -> None:
    begun = time.monotonic()
    tls = _tls(cluster)
    started = {process.name for process in wave if cluster.processes.start(process)}
    for process in wave:
        cluster.processes.wait_ready(process, tls, READY_TIMEOUT_S)
        if process.name in started:
            say(f"{process.name} ready ({duration(time.monotonic() - begun)})")


def _tls(cluster: Cluster) -> ssl.SSLContext:
    admin = credentials(cluster.layout.pki, "admin")
    return client_context(admin.authority, admin.certificate, admin.key)
