"""One node for all tests here: cluster, images, chart, a claim with the fixture models, and a client pod."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.repository import ROOT
from tests.e2e import client
from tests.e2e.fleet import OPERATOR, SYSTEM_NAMESPACE, Fleet
from tests.e2e.kube import Kube
from tests.fixtures import known_models

NAMESPACE = "e2e"


def run(*command: str) -> str:
    """Run one of the repository's commands; its progress goes to the terminal that pytest captured."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def node(*options: str) -> Iterator[Path]:
    """Run a node, as options of its command have it. KEEP=1 leaves it to be looked at."""
    run(sys.executable, "-m", "hack.cluster", *options, "up")
    yield Path(run(sys.executable, "-m", "hack.cluster", "kubeconfig").strip())
    if not os.environ.get("KEEP"):
        run(sys.executable, "-m", "hack.cluster", "down")


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A running node."""
    yield from node()


@pytest.fixture
def fleet(installed: Fleet) -> Iterator[Fleet]:
    """The installed fleet for one test; what the test deployed goes with it."""
    before = set(installed.models())
    yield installed
    for name in set(installed.models()) - before:
        installed.kube("delete", "rerankermodel", name, "--wait=false")


@pytest.fixture(scope="session")
def images(kubeconfig: Path) -> dict[str, str]:
    """References of both images, loaded into the node."""
    run(sys.executable, "-m", "hack.images", "build")
    run(sys.executable, "-m", "hack.images", "load")
    refs: dict[str, str] = json.loads(run(sys.executable, "-m", "hack.images", "refs"))
    return refs


@pytest.fixture(scope="session")
def installed(kubeconfig: Path, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The installed operator, and a namespace with the fixture models on a claim."""
    install(kubeconfig, images)
    kube = Kube(kubeconfig, NAMESPACE)
    kube("create", "namespace", NAMESPACE, check=False)
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "local",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
        *client.hub((ROOT / "tests/fixtures/hub.py").read_text()),
        client.pod(images["operator"]),
    )
    kube("wait", "pod", client.POD, "--for=condition=Ready", "--timeout=120s")
    written = known_models.write(tmp_path_factory.mktemp("artifacts"))
    copy_into_claim(kube, written.folder)
    return Fleet(kube, Kube(kubeconfig, SYSTEM_NAMESPACE), client.Client(kube), written)


def install(kubeconfig: Path, images: dict[str, str]) -> None:
    """Install the chart, or upgrade it, with the images that were loaded into the node."""
    helm = run(sys.executable, "-m", "hack.cluster", "tool", "helm").strip()
    where = ["--kubeconfig", str(kubeconfig), "--namespace", SYSTEM_NAMESPACE, "--create-namespace"]
    waits = ["--wait", "--timeout=180s"]
    run(helm, "upgrade", "--install", OPERATOR, "charts/reranker-operator", *where, *chart_values(images), *waits)


def chart_values(images: dict[str, str]) -> list[str]:
    """Helm's arguments for the images that were loaded into the node and the hub that runs there."""
    values = []
    for prefix, image in (("image", images["operator"]), ("worker.image", images["worker"])):
        repository, _, tag = image.rpartition(":")
        values += ["--set-string", f"{prefix}.repository={repository},{prefix}.tag={tag},{prefix}.pullPolicy=Never"]
    return [*values, "--set-string", f"worker.hfEndpoint=http://hub.{NAMESPACE}.svc:8000"]


def copy_into_claim(kube: Kube, folder: Path) -> None:
    """Unpack a folder's content onto the claim `models`, through the client pod."""
    names = [path.name for path in folder.iterdir()]
    pack = ["tar", "-C", str(folder), "--mode=a+rX", "-cf", "-", *names]
    packed = subprocess.run(pack, capture_output=True, check=True).stdout
    command = ["kubectl", f"--kubeconfig={kube.kubeconfig}", f"--namespace={kube.namespace}"]
    unpack = [*command, "exec", "-i", client.POD, "-c", client.POD, "--", "tar", "-C", "/models", "-xf", "-"]
    subprocess.run(unpack, input=packed, check=True)
