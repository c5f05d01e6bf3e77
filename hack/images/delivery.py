"""Which builder makes the images, and how they come to the cluster that the user chose."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import existing
from hack.cluster.containers import of_node
from hack.cluster.paths import build_log, cache_home, locked
from hack.cluster.progress import StepError, output_of, run_logged, step
from hack.repository import ROOT

from . import base, buildah, layout
from .recipes import RECIPES, Recipe, tag

LOCAL, KIND, EXISTING = CLUSTERS = ("local", "kind", "existing")
PUBLIC_BASE = "python:3.11-slim-bookworm"
LOCAL_REGISTRY = "localhost"


@dataclass(frozen=True)
class Target:
    """Where the images go, and by what they are built."""

    cluster: str
    registry: str
    docker: bool

    @property
    def base(self) -> str:
        """Return the base image; only a build by docker takes the public one."""
        return PUBLIC_BASE if self.docker else base.REFERENCE


@dataclass(frozen=True)
class Image:
    """One of the two images; `recipe` is None for one that the user brought."""

    name: str
    reference: str
    target: Target
    recipe: Recipe | None


def target(environment: Mapping[str, str], *, docker: bool) -> Target:
    """Return the target that the environment asks for; `docker` is whether a daemon answers."""
    cluster = environment.get("CLUSTER") or LOCAL
    registry = environment.get("IMAGE_REGISTRY", "").rstrip("/")
    if cluster not in CLUSTERS:
        raise StepError(f"CLUSTER is {cluster!r}; it can be {', '.join(CLUSTERS)}")
    if cluster == KIND and not docker:
        raise StepError("CLUSTER=kind needs Docker, and no Docker daemon answers")
    return Target(cluster, registry or LOCAL_REGISTRY, docker and cluster != LOCAL)


def images(names: Sequence[str]) -> list[Image]:
    """Return these images, with references that follow from their content or that the user gave."""
    where = target(os.environ, docker=_docker_answers())
    return [_image(name, where) for name in names]


def _image(name: str, where: Target) -> Image:
    given = os.environ.get(f"IMAGE_{name.upper()}")
    if given:
        return Image(name, given, where, recipe=None)
    if where.cluster == EXISTING and where.registry == LOCAL_REGISTRY:
        raise StepError(
            "CLUSTER=existing needs IMAGE_REGISTRY, to which both images are pushed, or IMAGE_OPERATOR and IMAGE_WORKER"
        )
    recipe = RECIPES[name]()
    return Image(name, f"{where.registry}/{recipe.name}:{tag(recipe, where.base)}", where, recipe)


def build(image: Image) -> None:
    """Build an image unless it is there already."""
    if image.recipe is None or _loaded(image):
        return
    with locked(cache_home() / "locks" / "images"):
        if _built(image):
            return
        with step(f"{image.reference} built", doing=f"building the {image.name}'s image"):
            if image.target.docker:
                _docker_build(image.recipe, image.reference)
            else:
                buildah.build(image.recipe, image.reference)


def load(image: Image) -> None:
    """Bring an image to the cluster unless it is there already."""
    if image.recipe is None or _loaded(image):
        return
    if not _built(image):
        build(image)
    with step(f"{image.reference} loaded"):
        match image.target.cluster:
            case "local":
                _import(image.reference)
            case "kind":
                kind = os.environ.get("KIND_CLUSTER") or "kind"
                output_of("kind load", ["kind", "load", "docker-image", image.reference, "--name", kind])
            case _:
                _push(image)


def _built(image: Image) -> bool:
    if image.target.docker:
        return _succeeds("docker", "image", "inspect", image.reference)
    return buildah.exists(image.reference)


def _loaded(image: Image) -> bool:
    """Return whether the local cluster has the image; other clusters are told again, which is cheap."""
    cluster = existing("local") if image.target.cluster == LOCAL else None
    if cluster is None or cluster.control_plane_only:
        return False
    containerd = of_node(cluster.layout)
    return containerd.answers and containerd.has_image(image.reference)


def _import(reference: str) -> None:
    cluster = existing("local")
    if cluster is None:
        raise StepError("the local cluster is not up: python3 -m hack.cluster up")
    containerd = of_node(cluster.layout)
    with tempfile.TemporaryDirectory(dir=buildah.store()) as name:
        archive = Path(name) / "image.tar"
        layout.write_missing(buildah.write_layout(reference), reference, containerd.contents(), archive)
        containerd.import_archive(archive)


def _push(image: Image) -> None:
    if image.target.docker:
        output_of("docker push", ["docker", "push", image.reference])
    else:
        buildah.push(image.reference)


def _docker_build(recipe: Recipe, reference: str) -> None:
    settings = [("BASE_IMAGE", PUBLIC_BASE), *recipe.arguments]
    arguments = [f"--build-arg={name}={value}" for name, value in settings]
    if recipe.wheels:
        arguments.append(f"--build-context=wheels={recipe.wheels}")
    argv = ["docker", "build", f"--file={ROOT / recipe.dockerfile}", f"--tag={reference}", *arguments]
    run_logged(f"building image {recipe.name}", [*argv, ROOT], log=build_log(f"image-{recipe.name}"))


def _docker_answers() -> bool:
    return shutil.which("docker") is not None and _succeeds("docker", "info")


def _succeeds(*argv: str) -> bool:
    return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
