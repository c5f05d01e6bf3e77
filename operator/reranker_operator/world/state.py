"""What the operator knows and what it decides, as plain frozen data. No I/O.

`World` is what one reconcile knows; `Target` is what the fleet should be; actions lead from one to the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from reranker_operator.resources.v1alpha1 import API_VERSION, KIND, RejectedRevision, RerankerModelSpec
from reranker_operator.world import names
from reranker_operator.world.adapter_resource import AdapterResource
from reranker_operator.world.colours import Colour, Flip
from reranker_operator.world.facts import Problem
from reranker_operator.world.mounts import NO_MOUNTS, Mounts
from reranker_operator.world.names import Document, Key
from reranker_operator.world.reports import WorkerReport
from reranker_operator.world.trials import Judgement


class Kind(StrEnum):
    """The children that a RerankerModel owns by their kinds; of Deployments it has one for each fleet."""

    CONFIG_MAP = "ConfigMap"
    DEPLOYMENT = "Deployment"
    GREEN_DEPLOYMENT = "green Deployment"
    SERVICE = "Service"
    POD_DISRUPTION_BUDGET = "PodDisruptionBudget"
    INTERNAL_SERVICE = "internal Service"
    AUTOSCALER = "HorizontalPodAutoscaler"
    SCALED_OBJECT = "ScaledObject"
    HEADLESS_SERVICE = "headless Service"
    HTTP_ROUTE = "HTTPRoute"


#: What a model serves without: one of these that is somebody else's is no obstacle to the rest.
ACCESSORIES = frozenset(
    {Kind.INTERNAL_SERVICE, Kind.AUTOSCALER, Kind.SCALED_OBJECT, Kind.HEADLESS_SERVICE, Kind.HTTP_ROUTE}
)


#: Each fleet's Deployment.
DEPLOYMENTS = {Colour.BLUE: Kind.DEPLOYMENT, Colour.GREEN: Kind.GREEN_DEPLOYMENT}


def child_name(kind: Kind, model: str) -> str:
    match kind:
        case Kind.CONFIG_MAP:
            return names.serving_configmap(model)
        case Kind.GREEN_DEPLOYMENT:
            return names.green_deployment(model)
        case Kind.INTERNAL_SERVICE:
            return names.internal_service(model)
        case Kind.HEADLESS_SERVICE:
            return names.headless_service(model)
        case _:
            return model


@dataclass(frozen=True)
class StoredModel:
    """A RerankerModel as the API server has it, whether this version can parse its spec or not."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    status: Document = field(default_factory=dict, kw_only=True)

    @property
    def reference(self) -> Document:
        """What an Event is about."""
        key = self.key
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": key.namespace,
            "name": key.name,
            "uid": self.uid,
        }


@dataclass(frozen=True)
class Model(StoredModel):
    """A RerankerModel with the spec that it asks for."""

    spec: RerankerModelSpec


def stored_model(live: Document) -> StoredModel:
    metadata = live["metadata"]
    return StoredModel(
        Key(metadata["namespace"], metadata["name"]),
        metadata["uid"],
        metadata["generation"],
        metadata["resourceVersion"],
        status=live.get("status") or {},
    )


@dataclass(frozen=True)
class ManifestModel:
    """A model revision and where its files come from."""

    revision: str
    source: Document
    engine: Document


@dataclass(frozen=True)
class ManifestAdapter:
    """An adapter revision; required once the whole fleet has had it loaded, or pods have it in such a one's place.

    owner: the RerankerAdapter that brings it as namespace/name; "" for the model's own.
    """

    name: str
    revision: str
    source: Document
    required: bool = False
    owner: str = ""


@dataclass(frozen=True)
class Manifest:
    """The serving manifest: what every worker of a model must serve."""

    generation: int
    served_name: str
    models: tuple[ManifestModel, ...]
    serve: Mapping[str, str]
    admitted: tuple[str, ...]
    adapters: tuple[ManifestAdapter, ...]
    adapter_policy: Document
    limits: Document
    drain_seconds: int
    candidates: Mapping[str, str] = field(default_factory=dict)
    parked: tuple[str, ...] = ()
    shadow_percent: int = 0
    prefetch: tuple[str, ...] = ()
    playground: bool = False

    def same_content(self, other: "Manifest") -> bool:
        return replace(self, generation=0) == replace(other, generation=0)


@dataclass(frozen=True)
class Pod:
    """A worker pod that hasn't ended. ready_since: None while it isn't ready, or where that isn't known."""

    name: str
    template: str
    fleet: Colour = Colour.BLUE
    ip: str = ""
    ready: bool = False
    terminating: bool = False
    manifest: Manifest | None = None
    problem: Problem | None = None
    mounts: Mounts = NO_MOUNTS
    created: datetime | None = None
    unschedulable_since: datetime | None = None
    ready_since: datetime | None = None


@dataclass(frozen=True)
class Past:
    """A revision that is kept as a ControllerRevision; a higher number was wanted later."""

    model: ManifestModel
    number: int
    live: Document


#: Before anything that a world may hold.
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """All that one reconcile saw, and what it then couldn't write.

    manifest: the ConfigMap's, None where that is absent or unreadable. adapters: those that name the model.
    apis: what the API server serves, as groups and as group/version. refused: why accessories couldn't be written.
    refusal: why something that the model needs couldn't be, so that the rest of what was to be done wasn't; "" else.
    image_volumes: whether the model's image is to be mounted, where it lies in a registry.
    judgement: the gate's of the wanted revision; None where there is nothing to judge, or not yet.
    """

    model: Model
    children: Mapping[Kind, Document]
    manifest: Manifest | None = None
    pods: tuple[Pod, ...] = ()
    reports: Mapping[str, WorkerReport] = field(default_factory=dict)
    adapters: tuple[AdapterResource, ...] = ()
    judgement: Judgement | None = None
    history: tuple[Past, ...] = ()
    apis: frozenset[str] = frozenset()
    image_volumes: bool = False
    refused: Mapping[Kind, str] = field(default_factory=dict)
    refusal: str = ""
    now: datetime = LONG_AGO

    def report(self, pod: Pod) -> WorkerReport | None:
        return self.reports.get(pod.name)

    def reports_of(self, pods: Iterable[Pod]) -> list[WorkerReport]:
        """What those of the pods say that answer."""
        return [report for pod in pods if (report := self.report(pod)) is not None]


@dataclass(frozen=True)
class PodTemplate:
    """What pods are made from: its key, what it mounts for its sources, and the hash of all that it is made of."""

    key: str
    mounts: Mounts
    inputs: str


@dataclass(frozen=True)
class Target:
    """What the fleet should be: the revision that it is to serve, the template of new pods, the objects that say so.

    home: the fleet whose pods are made from the template. flip: where the Service points, or is to point now.
    kept: Deployments that stay as they are but for the number of their pods. A Deployment that is neither among the
    children nor kept goes.
    rejections: revisions that were tried and may not serve. rejected: the one that the spec asks for, where the fleet
    is to serve another in its place. judgement: the gate's of `revision`. prefetched: the revision that the spec asks
    for, while its files are fetched ahead.
    """

    revision: str
    template: str
    manifest: Manifest
    children: Mapping[Kind, Document]
    home: Colour = Colour.BLUE
    flip: Flip = field(default_factory=Flip)
    kept: frozenset[Kind] = frozenset()
    rejections: tuple[RejectedRevision, ...] = ()
    rejected: RejectedRevision | None = None
    judgement: Judgement | None = None
    prefetched: str = ""
