"""Other projects' controllers on the node: built from the Go module proxy, in images, by their own manifests."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from hack.cluster import containers, smallimages
from hack.cluster.cluster import existing
from hack.cluster.golang import GoProgram, build_all
from tests.e2e.kube import Kube, Object

USER = 65532
CRD = "CustomResourceDefinition"


@contextmanager
def running(
    kube: Kube, manifests: Path, programs: Mapping[str, GoProgram], deployments: Mapping[str, str]
) -> Iterator[None]:
    """Run a project's kustomization for a block, in the namespace that it names.

    programs: by their paths in their images. deployments: which of these a Deployment runs.
    """
    references = images(programs)
    objects = [
        with_image(each, references[deployments[each["metadata"]["name"]]]) if each["kind"] == "Deployment" else each
        for each in kustomized(kube, manifests)
    ]
    try:
        apply(kube, objects)
        roll_out(kube, deployments)
        yield
    finally:
        delete(kube, objects)


def images(programs: Mapping[str, GoProgram]) -> dict[str, str]:
    """Put one program into one image each, at the path that is the key; return references by that path."""
    built = build_all(programs.values())
    return {path: image({path: built[program.name].read_bytes()}, path) for path, program in programs.items()}


def image(files: Mapping[str, bytes], program: str) -> str:
    """Load an image of these files, which runs one of them, into the node; return its reference."""
    cluster = existing("local")
    assert cluster is not None, "the node is up"
    containerd = containers.of_node(cluster.layout)
    layer = smallimages.layer_of(files)
    reference = f"localhost/{Path(program).name}:{hashlib.sha256(layer).hexdigest()[:12]}"
    if not containerd.has_image(reference):
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "image.tar"
            archive.write_bytes(smallimages.docker_archive(layer, reference, [f"/{program}"]))
            containerd.import_archive(archive)
    return reference


def kustomized(kube: Kube, folder: Path) -> list[Object]:
    """Return the objects of a project's own kustomization."""
    return list(yaml.safe_load_all(kube("kustomize", str(folder))))


def with_image(deployment: Object, reference: str) -> Object:
    """Return a Deployment that runs a program loaded into the node, by a user that isn't root."""
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    changed = {**container, "image": reference, "imagePullPolicy": "Never"}
    user = {**spec.get("securityContext", {}), "runAsUser": USER}
    template = {**deployment["spec"]["template"], "spec": {**spec, "containers": [changed], "securityContext": user}}
    return {**deployment, "spec": {**deployment["spec"], "template": template}}


def apply(kube: Kube, objects: Iterable[Object]) -> None:
    """Apply kinds before what is of them, each object where it says it belongs."""
    kinds, others = _parted(objects)
    kube.apply(*kinds)
    definitions = [each["metadata"]["name"] for each in kinds if each["kind"] == CRD]
    if definitions:
        kube("wait", "--for=condition=Established", "--timeout=60s", "crd", *definitions)
    for namespace, members in _by_namespace(others).items():
        Kube(kube.kubeconfig, namespace or kube.namespace).apply(*members)


def delete(kube: Kube, objects: Iterable[Object]) -> None:
    """Take all of it away again: what is of its kinds first, while its controller is there to let go of it."""
    kinds, others = _parted(objects)
    definitions = [each for each in kinds if each["kind"] == CRD]
    namespaces = [each for each in kinds if each["kind"] != CRD]
    for members in (definitions, *_by_namespace(others).values(), namespaces):
        if members:
            namespace = members[0]["metadata"].get("namespace", kube.namespace)
            manifest = yaml.safe_dump_all(members)
            Kube(kube.kubeconfig, namespace)(
                "delete", "--ignore-not-found", "--timeout=120s", "-f", "-", stdin=manifest
            )


def _parted(objects: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """Part what other objects need to be there from these."""
    kinds, others = list[Object](), list[Object]()
    for each in objects:
        (kinds if each["kind"] in ("Namespace", CRD) else others).append(each)
    return kinds, others


def _by_namespace(objects: Iterable[Object]) -> dict[str, list[Object]]:
    """Group objects by where they belong, those of the cluster's under an empty name: kubectl takes one at a time."""
    found: dict[str, list[Object]] = {}
    for each in objects:
        found.setdefault(each["metadata"].get("namespace", ""), []).append(each)
    return found


def roll_out(kube: Kube, deployments: Iterable[str]) -> None:
    """Wait until Deployments run; on time-out say what their pods look like."""
    for name in deployments:
        try:
            kube("rollout", "status", f"deployment/{name}", "--timeout=240s")
        except AssertionError as failed:
            logs = kube("logs", f"deployment/{name}", "--tail=30", check=False)
            raise AssertionError(f"{failed}\n{kube('get', 'pods', '-o', 'wide')}\n{logs}") from failed
