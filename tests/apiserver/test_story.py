"""What kubectl shows of a swap, while it goes on and afterwards."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from hack.cluster import golang
from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import edit, model, until_ready
from tests.apiserver.operators import MARKS, Running

pytestmark = MARKS


@pytest.fixture
def kubectl(kubeconfig: Path, kube: Kube) -> "Kubectl":
    return Kubectl(kubeconfig, kube.namespace)


class Kubectl:
    """The real program, in the test's namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._flags = [f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]

    async def __call__(self, *arguments: str) -> str:
        command: list[str | Path] = [golang.build(golang.KUBECTL), *self._flags, *arguments]
        return await asyncio.to_thread(
            lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )

    async def row(self) -> dict[str, str]:
        """The model as `kubectl get -o wide` has it, by column."""
        head, values = (await self("get", "rrm", "-o", "wide")).splitlines()
        starts = [head.index(column) for column in head.split()] + [None]
        cells = zip(head.split(), starts[:-1], starts[1:], strict=True)
        return {column: values[begin:end].strip() for column, begin, end in cells}

    async def story(self) -> list[str]:
        """`kubectl events` of the model, reason and message of each, in its order."""
        listed = (await self("events", "--for=rerankermodel/bge", "--no-headers")).splitlines()
        return [" ".join([cells[2], cells[4]]) for line in listed if (cells := line.split(maxsplit=4))]


async def test_a_roll_can_be_followed_and_reads_as_a_story(
    kube: Kube, fleet: Fleet, running: Running, kubectl: Kubectl
) -> None:
    await kube.create("rerankermodels", model())
    first = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    fleet.load_s = 3
    await edit(kube, source={"uri": "pvc://models/two"})

    async def under_way() -> dict[str, str] | None:
        row = await kubectl.row()
        return row if row["PHASE"] == "Loading" else None

    row = await eventually(under_way, what="a candidate that is being loaded")
    assert row is not None
    assert (row["READY"], row["REVISION"], row["REASON"]) == ("False", first, "RollingOut")
    second = row["CANDIDATE"]
    await until_ready(kube)
    row = await kubectl.row()
    assert (row["READY"], row["REVISION"], row["CANDIDATE"], row["PHASE"]) == ("True", second, "", "")
    assert (row["REPLICAS"], row["REASON"]) == ("2", "Serving")
    assert row["ENDPOINT"].startswith("http://bge.")

    async def told() -> list[str] | None:
        story = await kubectl.story()
        return story if len(story) == 6 else None

    assert await eventually(told, what="the Events of both revisions") == [
        f"RolloutStarted {first} is on its way to the pods",
        f"RevisionAdmitted {first} is loaded and may answer clients",
        f"RolloutFinished {first} answers clients on every ready pod",
        f"RolloutStarted {second} is on its way to the pods, by RollingUpdate; {first} answers meanwhile",
        f"RevisionAdmitted {second} is loaded and may answer clients",
        f"RolloutFinished {second} answers clients on every ready pod",
    ]


async def test_a_rejected_candidate_is_told_with_what_answers_in_its_place(
    kube: Kube, fleet: Fleet, running: Running, kubectl: Kubectl
) -> None:
    fleet.fails["pvc://models/two"] = ("PickledWeights", "model.bin is a pickle: convert it to safetensors")
    await kube.create("rerankermodels", model(replicas=1))
    first = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    await edit(kube, source={"uri": "pvc://models/two"})

    async def rejected() -> str | None:
        return next((told for told in await kubectl.story() if told.startswith("RevisionRejected")), None)

    told = await eventually(rejected, what="a rejection")
    assert told is not None
    assert "convert it to safetensors" in told
    assert told.endswith(f"; {first} serves in its place")

    async def back() -> Json | None:
        row = await kubectl.row()
        return row if (row["REVISION"], row["REASON"]) == (first, "PickledWeights") else None

    await eventually(back, what="the first revision, and why not the second")
