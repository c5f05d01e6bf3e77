"""The texts that components read: kubeconfigs, containerd's, the kubelet's, CNI's and CoreDNS's. No I/O."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE_IP = "10.244.0.1"  # also the pods' gateway and name server
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_SERVICE_IP = "10.96.0.1"
CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Credentials:
    """A client's certificate and key, as files."""

    authority: Path
    certificate: Path
    key: Path


def credentials(pki: Path, party: str) -> Credentials:
    """Return a party's credentials in the folder that `certificates.make` fills."""
    return Credentials(pki / "ca.crt", pki / f"{party}.crt", pki / f"{party}.key")


def kubeconfig(server: str, user: Credentials) -> str:
    """Return a kubeconfig (JSON is YAML) that names files, not their contents, so it holds no secret itself."""
    cluster = {"server": server, "certificate-authority": str(user.authority)}
    identity = {"client-certificate": str(user.certificate), "client-key": str(user.key)}
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": "local", "user": identity}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
            "current-context": "local",
        }
    )


def kubelet(pki: Path, containerd_socket: Path, state: Path, healthz_port: int, *, image_volumes: bool) -> str:
    """Return the kubelet's configuration for a small shared machine, with cgroup v1 or v2."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_IP,
            "healthzPort": healthz_port,
            "containerRuntimeEndpoint": f"unix://{containerd_socket}",
            "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(pki / "ca.crt")}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / "kubelet.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet.key"),
            "clusterDNS": [NODE_IP],
            "clusterDomain": CLUSTER_DOMAIN,
            "podLogsDir": str(state / "pod-logs"),
            "volumePluginDir": str(state / "volume-plugins"),
            "featureGates": {"ImageVolume": image_volumes},
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,  # the default, -999, needs CAP_SYS_RESOURCE
            "makeIPTablesUtilChains": False,
            # The disk is shared, and an image that was collected could not be pulled again: there is no registry.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "500Mi", "imagefs.available": "500Mi"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        }
    )


def containerd(*, root: Path, state: Path, socket: Path, plugins: Path, networks: Path, pause_image: str) -> str:
    """Return containerd's configuration (TOML)."""
    absent = ["aufs", "btrfs", "devmapper", "zfs"]
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in absent)
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [{disabled}]

[grpc]
address = "{socket}"

[{cri}]
sandbox_image = "{pause_image}"
restrict_oom_score_adj = true

[{cri}.cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"

[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def cni_network(leases: Path) -> str:
    """Return the pods' network.

    Each pod has its own routed veth pair (ptp): with a bridge, a Service's reply between two pods would bypass
    the host's address translation unless br_netfilter is loaded.
    """
    ranges = [[{"subnet": POD_CIDR, "gateway": NODE_IP}]]
    ipam = {"type": "host-local", "dataDir": str(leases), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    return _json(
        {
            "cniVersion": "0.4.0",
            "name": "reranker-operator",
            "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}],
        }
    )


def corefile(kubeconfig_path: Path, ready_port: int) -> str:
    """Return CoreDNS's configuration: it runs on the host, and pods reach it at the node's address."""
    return f""".:53 {{
    bind {NODE_IP}
    errors
    ready 127.0.0.1:{ready_port}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig_path}
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    forward . /etc/resolv.conf
    cache 5
}}
"""


def masquerade_rules(table: str) -> str:
    """Return nft's rules: pods reach other networks by the host's address, and each other by their own."""
    return f"""table ip {table}
delete table ip {table}
table ip {table} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {POD_CIDR} ip daddr != {{ {POD_CIDR}, {SERVICE_CIDR} }} oifname != "lo" masquerade
    }}
}}
"""


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
