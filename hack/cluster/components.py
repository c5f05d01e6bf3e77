"""The command line of every component of Kubernetes, and the order in which they start. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .configs import NODE_IP, SERVICE_CIDR
from .processes import Process

NODE_NAME = "local"
CONTROL_PLANE_PORTS = ("etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE_PORTS = ("kubelet", "kube-proxy", "kube-proxy-metrics", "coredns")


@dataclass(frozen=True)
class Layout:
    """The folders of one cluster's state."""

    state: Path

    @property
    def pki(self) -> Path:
        """Return the folder of certificates."""
        return self.state / "pki"

    @property
    def configs(self) -> Path:
        """Return the folder of configuration files."""
        return self.state / "config"

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Return where containerd listens."""
        return self.state / "run" / "containerd.sock"

    @property
    def volumes(self) -> Path:
        """Return the folder that holds the persistent volumes."""
        return self.state / "volumes"


@dataclass(frozen=True)
class ControlPlane:
    """What the control plane's command lines are made of."""

    layout: Layout
    address: str  # where the API server listens
    ports: Mapping[str, int]
    programs: Mapping[str, Path]
    image_volumes: bool = False

    @property
    def server(self) -> str:
        """Return the API server's URL."""
        return f"https://{self.address}:{self.ports['kube-apiserver']}"

    def config(self, name: str) -> str:
        """Return a configuration file's path."""
        return str(self.layout.configs / name)

    def pki(self, name: str) -> str:
        """Return the path of a certificate or key."""
        return str(self.layout.pki / name)


def etcd(plane: ControlPlane) -> Process:
    """Return etcd, on loopback only; it does not fsync, since a test cluster need not survive a power cut."""
    client, peer = (f"http://127.0.0.1:{plane.ports[name]}" for name in ("etcd", "etcd-peer"))
    flags = {
        "data-dir": str(plane.layout.state / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
    }
    return Process("etcd", [str(plane.programs["etcd"]), *_flags(flags), "--unsafe-no-fsync"], f"{client}/health")


def kube_apiserver(plane: ControlPlane, *, alone: bool, controllers: bool) -> Process:
    """Return the API server; `alone` is without a node, for tests."""
    flags = {
        "bind-address": plane.address,
        "secure-port": str(plane.ports["kube-apiserver"]),
        "etcd-servers": f"http://127.0.0.1:{plane.ports['etcd']}",
        "service-cluster-ip-range": SERVICE_CIDR,
        "authorization-mode": "Node,RBAC",
        "allow-privileged": "true",
        "client-ca-file": plane.pki("ca.crt"),
        "tls-cert-file": plane.pki("apiserver.crt"),
        "tls-private-key-file": plane.pki("apiserver.key"),
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": plane.pki("service-account.pub"),
        "service-account-signing-key-file": plane.pki("service-account.key"),
        "kubelet-client-certificate": plane.pki("apiserver-kubelet-client.crt"),
        "kubelet-client-key": plane.pki("apiserver-kubelet-client.key"),
        "kubelet-certificate-authority": plane.pki("ca.crt"),
        "kubelet-preferred-address-types": "InternalIP",  # logs and exec: nothing resolves the node's name
        **_aggregation(plane),
    }
    if alone:
        flags |= {"endpoint-reconciler-type": "none"}  # loopback can't be an endpoint
    else:
        flags |= {"advertise-address": plane.address}
    if plane.image_volumes:
        flags |= {"feature-gates": "ImageVolume=true"}
    if not controllers:
        flags |= {"disable-admission-plugins": "ServiceAccount"}  # nothing would make the accounts that pods need
    return Process("kube-apiserver", [str(plane.programs["kube-apiserver"]), *_flags(flags)], f"{plane.server}/readyz")


def _aggregation(plane: ControlPlane) -> dict[str, str]:
    """Return what aggregated APIs (metrics servers) need."""
    return {
        "requestheader-client-ca-file": plane.pki("front-proxy-ca.crt"),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": plane.pki("front-proxy-client.crt"),
        "proxy-client-key-file": plane.pki("front-proxy-client.key"),
    }


def kube_controller_manager(plane: ControlPlane) -> Process:
    """Return the controller manager; without leader election it lives through restarts of the API server."""
    flags = {
        "kubeconfig": plane.config("controller-manager.kubeconfig"),
        "bind-address": "127.0.0.1",
        "secure-port": str(plane.ports["kube-controller-manager"]),
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": plane.pki("service-account.key"),
        "root-ca-file": plane.pki("ca.crt"),
        "flex-volume-plugin-dir": str(plane.layout.state / "volume-plugins"),
        "cluster-signing-cert-file": plane.pki("ca.crt"),
        "cluster-signing-key-file": plane.pki("ca.key"),
        **_serving(plane),
    }
    return _served(plane, "kube-controller-manager", flags)


def kube_scheduler(plane: ControlPlane) -> Process:
    """Return the scheduler."""
    flags = {
        "kubeconfig": plane.config("scheduler.kubeconfig"),
        "bind-address": "127.0.0.1",
        "secure-port": str(plane.ports["kube-scheduler"]),
        "leader-elect": "false",
        **_serving(plane),
    }
    return _served(plane, "kube-scheduler", flags)


def containerd(plane: ControlPlane, environment: Mapping[str, str]) -> Process:
    """Return containerd."""
    argv = [str(plane.programs["containerd"]), "--config", plane.config("containerd.toml")]
    return Process("containerd", argv, f"unix://{plane.layout.containerd_socket}", environment)


def kubelet(plane: ControlPlane, environment: Mapping[str, str]) -> Process:
    """Return the kubelet."""
    flags = {
        "config": plane.config("kubelet.json"),
        "kubeconfig": plane.config("kubelet.kubeconfig"),
        "root-dir": str(plane.layout.state / "kubelet"),
        "hostname-override": NODE_NAME,
        "node-ip": NODE_IP,
    }
    ready = f"http://127.0.0.1:{plane.ports['kubelet']}/healthz"
    return Process("kubelet", [str(plane.programs["kubelet"]), *_flags(flags)], ready, environment)


def kube_proxy(plane: ControlPlane, environment: Mapping[str, str]) -> Process:
    """Return kube-proxy; the zeros leave the machine's connection-tracking and out-of-memory settings alone."""
    flags = {
        "kubeconfig": plane.config("kube-proxy.kubeconfig"),
        "hostname-override": NODE_NAME,
        "proxy-mode": "nftables",
        "healthz-bind-address": f"127.0.0.1:{plane.ports['kube-proxy']}",
        "metrics-bind-address": f"127.0.0.1:{plane.ports['kube-proxy-metrics']}",
        "conntrack-max-per-core": "0",
        "conntrack-tcp-timeout-established": "0",
        "conntrack-tcp-timeout-close-wait": "0",
        "oom-score-adj": "0",
    }
    ready = f"http://127.0.0.1:{plane.ports['kube-proxy']}/healthz"
    return Process("kube-proxy", [str(plane.programs["kube-proxy"]), *_flags(flags)], ready, environment)


def coredns(plane: ControlPlane) -> Process:
    """Return CoreDNS."""
    argv = [str(plane.programs["coredns"]), "-conf", plane.config("Corefile")]
    return Process("coredns", argv, f"http://127.0.0.1:{plane.ports['coredns']}/ready")


def _serving(plane: ControlPlane) -> dict[str, str]:
    """Return the serving certificate of a controller's health port."""
    return {"tls-cert-file": plane.pki("apiserver.crt"), "tls-private-key-file": plane.pki("apiserver.key")}


def _served(plane: ControlPlane, name: str, flags: dict[str, str]) -> Process:
    ready = f"https://127.0.0.1:{plane.ports[name]}/healthz"
    return Process(name, [str(plane.programs[name]), *_flags(flags)], ready)


def _flags(values: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def startup_waves(
    plane: ControlPlane, *, alone: bool, controllers: bool, node: Mapping[str, str]
) -> list[list[Process]]:
    """Return what starts together: each wave needs the one before it; `node` is the environment of node programs."""
    first = [etcd(plane), kube_apiserver(plane, alone=alone, controllers=controllers)]
    if alone:
        return [first, [kube_controller_manager(plane)]] if controllers else [first]
    second = [kube_controller_manager(plane), kube_scheduler(plane), kubelet(plane, node), kube_proxy(plane, node)]
    return [[*first, containerd(plane, node)], [*second, coredns(plane)]]
