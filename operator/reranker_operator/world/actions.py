"""The writes that a plan consists of, and the Event that tells of one. No I/O."""

from dataclasses import dataclass

from reranker_operator.world.names import Document
from reranker_operator.world.state import Kind


@dataclass(frozen=True)
class Apply:
    """Server-side apply a child. `resource_version`: of the object that this was decided on; "" creates it."""

    kind: Kind
    body: Document
    resource_version: str
    detail: str


@dataclass(frozen=True)
class Resize:
    """Change the number of a Deployment's pods, and nothing else of it."""

    kind: Kind
    body: Document
    detail: str


@dataclass(frozen=True)
class Remove:
    """Delete the very child that was seen; its pods drain and end."""

    kind: Kind
    uid: str
    resource_version: str
    detail: str


@dataclass(frozen=True)
class Announce:
    """Write the manifest into a pod's annotation, so that it arrives at once."""

    pod: str
    manifest: str
    detail: str


@dataclass(frozen=True)
class Record:
    """Server-side apply a ControllerRevision; `resource_version` as of Apply."""

    name: str
    body: Document
    resource_version: str
    detail: str


@dataclass(frozen=True)
class Forget:
    """Delete the very ControllerRevision that was seen."""

    name: str
    uid: str
    resource_version: str
    detail: str


Action = Apply | Resize | Remove | Announce | Record | Forget


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event about a RerankerModel or a RerankerAdapter."""

    type: str
    reason: str
    message: str
