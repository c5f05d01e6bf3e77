"""What takes minutes on a fresh machine, side by side: the cluster, both images, the model folders."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from hack.cluster.progress import StepError, say, step
from hack.images.delivery import Image, build, images
from hack.stage import cluster
from hack.stage.claims import Artifact
from hack.stage.kubectl import Kubectl

T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """A cluster that answers, images that are built, artifacts by name."""

    kubectl: Kubectl
    operator_image: Image
    worker_image: Image
    artifacts: dict[str, Artifact]


def prepare(kind: str, namespace: str, assemble: Callable[[], Sequence[Artifact]]) -> Prepared:
    """Prepare everything at once, since one part downloads while another compiles.

    An error is said at once and raised when the other parts have ended; a second run goes on with what they made.
    """
    operator_image, worker_image = images(["operator", "worker"])
    with ThreadPoolExecutor() as pool:
        connected = _submit(pool, lambda: cluster.connect(kind, namespace))
        built = _submit(pool, lambda: _build([operator_image, worker_image]))
        assembled = _submit(pool, lambda: _assembled(assemble))
    built.result()
    return Prepared(connected.result(), operator_image, worker_image, assembled.result())


def _submit(pool: ThreadPoolExecutor, job: Callable[[], T]) -> "Future[T]":
    def run() -> T:
        try:
            return job()
        except StepError as error:
            say(f"error: {error}")
            raise

    return pool.submit(run)


def _build(wanted: Sequence[Image]) -> None:
    for image in wanted:
        build(image)


def _assembled(assemble: Callable[[], Sequence[Artifact]]) -> dict[str, Artifact]:
    with step("model folders are assembled"):
        return {artifact.name: artifact for artifact in assemble()}
