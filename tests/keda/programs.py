"""Other projects' controllers on the node: built from the Go module proxy, in images, by their own manifests."""

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from hack.cluster import containers, smallimages
from hack.cluster.cluster import existing
from hack.cluster.golang import GoProgram, build_all
from tests.e2e.kube import Kube, Object

USER = 65532
CRD = "CustomResourceDefinition"


def images(programs: Mapping[str, GoProgram]) -> dict[str, str]:
    """Put one program into one image each, at the path that is the key; return references by that path."""
    cluster = existing("local")
    assert cluster is not None, "the node is up"
    containerd = containers.of_node(cluster.layout)
    built = build_all(programs.values())
    references = {}
    for path, program in programs.items():
        binary = built[program.name].read_bytes()
        reference = f"localhost/{path}:{hashlib.sha256(binary).hexdigest()[:12]}"
        if not containerd.has_image(reference):
            with tempfile.TemporaryDirectory() as folder:
                archive = Path(folder) / "image.tar"
                layer = smallimages.layer_of({path: binary}, {})
                archive.write_bytes(smallimages.docker_archive(layer, {reference: [f"/{path}"]}))
                containerd.import_archive(archive)
        references[path] = reference
    return references


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
