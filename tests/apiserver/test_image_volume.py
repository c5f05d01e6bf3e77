"""Image volumes where the API server drops them: the gate is off by default here."""

from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Kube
from tests.apiserver.models import edit, model, until_ready
from tests.apiserver.operators import MARKS, Running, rested

pytestmark = MARKS


def image(digit: str) -> dict[str, object]:
    return {"uri": "oci://ghcr.io/acme/bge", "revision": "sha256:" + digit * 64, "imageVolume": True}


async def test_a_cluster_without_image_volumes_is_asked_once_and_its_workers_fetch(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(source=image("1")))
    await until_ready(kube)
    await edit(kube, source=image("2"))
    await until_ready(kube)
    assert len(fleet.answered) == 2
    (deployment,) = await kube.items("deployments")
    assert "model-image" not in {each["name"] for each in deployment["spec"]["template"]["spec"]["volumes"]}
    assert running.requests("POST")["POST deployments 201"] == 1
    settled = await rested(kube, running)
    assert await rested(kube, running) == settled
