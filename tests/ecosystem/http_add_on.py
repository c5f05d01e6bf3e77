"""KEDA's HTTP add-on on the node, as its own manifests install it: requests wait in it while a model wakes."""

from collections.abc import Iterator
from contextlib import contextmanager

from hack.cluster.golang import GoProgram, module_folder
from tests.e2e.kube import Kube
from tests.ecosystem import keda, programs

MODULE, VERSION = "github.com/kedacore/http-add-on", "0.15.0"
PARTS = ("interceptor", "operator", "scaler")
PROGRAMS = {f"http-add-on-{part}": GoProgram(part, MODULE, VERSION, f"./{part}") for part in PARTS}
DEPLOYMENTS = {f"keda-add-ons-http-{part}": f"http-add-on-{part}" for part in PARTS}
#: What clients are sent to.
PROXY = f"http://keda-add-ons-http-interceptor-proxy.{keda.NAMESPACE}:8080"


@contextmanager
def running(kube: Kube) -> Iterator[None]:
    """Run the add-on for a block; KEDA runs."""
    manifests = module_folder(MODULE, VERSION) / "config/default"
    with programs.running(Kube(kube.kubeconfig, keda.NAMESPACE), manifests, PROGRAMS, DEPLOYMENTS):
        yield
