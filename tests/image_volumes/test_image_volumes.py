"""Models from images that the node pulls and mounts: no pod has a way to the registry here, so nothing else serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import Object, eventually, stated
from tests.e2e.load import load
from tests.fixtures import oci
from tests.fixtures.storage import registry_server

pytestmark = pytest.mark.image_volumes

TOLERANCE = 1e-3  # fp32 on both sides; JSON and kernels differ in the last digits


def pushed(registry: str, folder: Path, place: str) -> Object:
    """Push a model's folder as an image that has it in a folder of its own or in its root; return the source."""
    files = {f"{place}{path.name}": path.read_bytes() for path in folder.iterdir()}
    digest = oci.push_image(registry, "acme/bert", files)
    return {"uri": f"oci://{registry}/acme/bert", "revision": digest, "imageVolume": True}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry's address on the node's loopback: containerd reaches it, and no pod does."""
    with registry_server(tmp_path) as port:
        yield f"localhost:{port}"


def test_a_swap_between_mounted_images_fails_no_request_and_to_one_that_is_not_there_it_stalls(
    fleet: Fleet, registry: str
) -> None:
    one, two = (
        pushed(registry, fleet.artifacts[name], place) for name, place in (("bert-1", "models/"), ("bert-2", ""))
    )
    model = fleet.model("mounted", "", source=one, replicas=2)
    model.wait_ready()
    old = model.rerank().revision
    with load(fleet, model) as history:
        model.patch({"source": two})
        model.wait_ready()
        new = model.rerank().revision
        eventually(lambda: len(model.pods()) == 2, what="the old pods are gone")
    history.check({(old, ""): fleet.artifacts.scores("bert-1"), (new, ""): fleet.artifacts.scores("bert-2")})
    assert history.revisions == [old, new]
    for pod in model.pods():
        assert in_cache(model, pod) == f"/oci/{two['revision'].removeprefix('sha256:')}/model.safetensors"

    model.patch({"source": {**two, "revision": "sha256:" + "0" * 64}})
    stalled = eventually(lambda: stated(model.resource(), "Stalled"), what="Stalled")
    assert stalled["reason"] == "ImagePullBackOff"
    assert "0" * 64 in stalled["message"]
    assert model.rerank().revision == new
    model.patch({"source": two})
    model.wait_ready()


def test_a_pod_starts_from_the_nodes_copy_while_the_registry_is_away(fleet: Fleet, tmp_path: Path) -> None:
    with registry_server(tmp_path) as port:
        model = fleet.model("kept", "", source=pushed(f"localhost:{port}", fleet.artifacts["bert-1"], "models/"))
        model.wait_ready()
    first = model.pod_uids()
    model.kube("delete", "pod", "-l", f"reranker.dev/model={model.name}", "--wait=false")
    eventually(lambda: len(model.pods()) == 1 and first != model.pod_uids(), what="a new pod")
    model.wait_ready()
    # The Service had no pod for a while, and refuses until the node knows of the new one.
    eventually(lambda: model.client.reaches(model.name), what="the node leads to the new pod")
    assert model.rerank().scores == pytest.approx(fleet.artifacts.scores("bert-1"), abs=TOLERANCE)


def in_cache(model: Model, pod: Object) -> str:
    """Return where the served weights of a pod lead."""
    name = pod["metadata"]["name"]
    find = "import glob, os; print(*map(os.readlink, glob.glob('/cache/artifacts/*/model.safetensors')))"
    return model.kube("exec", name, "-c", "server", "--", "python", "-c", find).strip()
