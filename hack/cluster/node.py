"""The node's own steps around its processes: configuration and network before, images and objects after."""

import json
import ssl
import time

from . import configs, containers, debian, machine, objects, smallimages
from .components import NODE_NAME, ControlPlane, Layout
from .paths import build_once, cache_home
from .processes import get
from .progress import StepError, output_of, say
from .software import Software

NODE_TIMEOUT_S = 60.0
POLL_S = 0.1
VOLUMES = tuple(f"local-{number}" for number in range(3))
# Images outlive the cluster: importing the worker's takes far longer than everything else here.
IMAGE_STORE, IMAGE_VOLUMES_STORE = "containerd-1.6", "containerd-2.2"


def prepare(plane: ControlPlane, needed: Software) -> None:
    """Write the node's configuration and set up the machine's network."""
    layout, folder = plane.layout, plane.layout.configs
    machine.remember(layout.state / "machine.json")
    machine.set_up_network(needed.programs["nft"], dict(needed.environment))
    containerd_state = layout.containerd_socket.parent
    networks = folder / "cni"
    for made in (containerd_state, networks):
        made.mkdir(parents=True, exist_ok=True)
    texts = {
        "kubelet.json": configs.kubelet(
            layout.pki,
            layout.containerd_socket,
            layout.state,
            plane.ports["kubelet"],
            image_volumes=plane.image_volumes,
        ),
        "containerd.toml": configs.containerd(
            root=cache_home() / (IMAGE_VOLUMES_STORE if plane.image_volumes else IMAGE_STORE),
            state=containerd_state,
            socket=layout.containerd_socket,
            plugins=needed.network_plugins,
            networks=networks,
            pause_image=smallimages.PAUSE_IMAGE,
        ),
        "cni/10-pods.conflist": configs.cni_network(layout.state / "cni-leases"),
        "Corefile": configs.corefile(folder / "coredns.kubeconfig", plane.ports["coredns"]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    for name in VOLUMES:
        volume = layout.volumes / name
        volume.mkdir(parents=True, exist_ok=True)
        volume.chmod(0o777)  # pods write to it as whatever user they run as


def populate(plane: ControlPlane, needed: Software) -> None:
    """Give containerd the pause image and the API server the objects that the components behind them wait for."""
    _import_pause_image(plane.layout, needed)
    volumes = {name: str(plane.layout.volumes / name) for name in VOLUMES}
    output_of(
        "applying the cluster's objects",
        [needed.programs["kubectl"], "--kubeconfig", plane.layout.kubeconfig, "apply", "--filename=-"],
        text=json.dumps(objects.cluster_objects(volumes)),
    )


def wait_ready(plane: ControlPlane, tls: ssl.SSLContext) -> None:
    """Wait until the node is ready and pods have an account to run as."""
    begun = time.monotonic()
    account = f"{plane.server}/api/v1/namespaces/default/serviceaccounts/default"
    while not (_node_ready(plane, tls) and get(account, tls)):
        if time.monotonic() - begun > NODE_TIMEOUT_S:
            log = plane.layout.state / "logs" / "kubelet.log"
            raise StepError(f"the node was not ready in {NODE_TIMEOUT_S:.0f}s; the kubelet's log is {log}")
        time.sleep(POLL_S)
    say("node ready")


def end_containers(layout: Layout) -> None:
    """End all pods' containers while containerd is there to clean up after them."""
    containers.kill_all(layout.containerd_socket)
    containerd = containers.of_node(layout)
    if containerd.answers:
        containerd.forget_containers()


def clean_up(layout: Layout) -> None:
    """Take back what the node did outside its folder, once its processes have ended."""
    root = debian.unpacked(debian.NODE)
    machine.unmount([layout.state])
    machine.restore(layout.state / "machine.json", root / "usr/sbin/nft", debian.environment(root))


def _import_pause_image(layout: Layout, needed: Software) -> None:
    containerd = containers.of_node(layout)
    if containerd.has_image(smallimages.PAUSE_IMAGE):
        return
    folder = build_once(
        cache_home() / f"small-images-{smallimages.VERSION}",
        lambda scratch: smallimages.write_pause_image(needed.programs["busybox"], scratch / "images.tar"),
    )
    containerd.import_archive(folder / "images.tar")


def _node_ready(plane: ControlPlane, tls: ssl.SSLContext) -> bool:
    answer = get(f"{plane.server}/api/v1/nodes/{NODE_NAME}", tls)
    conditions = json.loads(answer)["status"].get("conditions", []) if answer else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
