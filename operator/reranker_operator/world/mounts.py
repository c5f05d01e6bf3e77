"""What pods mount for their sources: claims of their namespace, and the image that holds the model. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reranker_operator.resources.sources import OCI
from reranker_operator.world.names import Document

CLAIM_VOLUME = "pvc-"
IMAGE_VOLUME = "model-image"
#: Where both containers find them: each claim by its name, an image by the digest of its manifest.
CLAIMS, IMAGES = "/pvc", "/oci"


@dataclass(frozen=True)
class Mounts:
    """Volumes that hold files of sources; the cache, which files are brought to, is none of them.

    claims: PersistentVolumeClaims by name, sorted. image: `<registry>/<repository>@sha256:…`; "" for none.
    """

    claims: tuple[str, ...] = ()
    image: str = ""

    def suffice(self, needed: "Mounts") -> bool:
        """Whether pods with these need no successors.

        A claim too many costs nothing, and files that were fetched are those of the image; but an image that isn't
        wanted may be why a pod doesn't start.
        """
        return set(needed.claims) <= set(self.claims) and self.image in {"", needed.image}

    def with_claims(self, others: "Mounts") -> "Mounts":
        """These, and the others' claims."""
        return replace(self, claims=tuple(sorted({*self.claims, *others.claims})))

    def volumes(self) -> list[Document]:
        claims: list[Document] = [
            {"name": f"{CLAIM_VOLUME}{claim}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
            for claim in self.claims
        ]
        image = {"reference": self.image, "pullPolicy": "IfNotPresent"}
        return [*claims, {"name": IMAGE_VOLUME, "image": image}] if self.image else claims

    def of_claims(self) -> list[Document]:
        """How the container that copies from claims mounts them."""
        return [mount(f"{CLAIM_VOLUME}{claim}", f"{CLAIMS}/{claim}", read_only=True) for claim in self.claims]

    def of_image(self) -> list[Document]:
        """How a container mounts the image: what is served are links into it, so all who read them need it."""
        digest = self.image.rpartition("@sha256:")[2]
        return [mount(IMAGE_VOLUME, f"{IMAGES}/{digest}", read_only=True)] if self.image else []


NO_MOUNTS = Mounts()


def image_of(source: Mapping[str, str]) -> str:
    """The image that a source is, as nodes pull it; "" for one that isn't in a registry."""
    uri = source["uri"]
    return f"{uri.removeprefix(OCI)}@{source['revision']}" if uri.startswith(OCI) else ""


def mounts_of(pod_spec: Document) -> Mounts:
    """What a pod, or a Deployment's, mounts for its sources."""
    volumes = pod_spec.get("volumes") or ()
    claims = (v["persistentVolumeClaim"]["claimName"] for v in volumes if v["name"].startswith(CLAIM_VOLUME))
    images = (v["image"]["reference"] for v in volumes if v["name"] == IMAGE_VOLUME and v.get("image"))
    return Mounts(tuple(sorted(claims)), next(images, ""))


def mount(volume: str, path: str, *, read_only: bool = False) -> Document:
    return {"name": volume, "mountPath": path, **({"readOnly": True} if read_only else {})}
