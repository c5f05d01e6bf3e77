"""The API group reranker.dev/v1alpha1 as pydantic models: one source for the CRD's schema and for parsed specs. No I/O.

`crd.py` turns these models into the structural schema under crds/. A field stands here only when something acts on it.
Every list, map and string is bounded, so that the API server can price the CEL rules.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from reranker_operator.resources.adapter_types import Adapter, AdapterPolicy, AdapterStatus
from reranker_operator.resources.api_keys import ApiKeys
from reranker_operator.resources.autoscaling_policy import MOST_PODS, Autoscaling
from reranker_operator.resources.cache_policy import Cache
from reranker_operator.resources.placement import NodeSelector, Resources, Tolerations
from reranker_operator.resources.rollout_policy import Rollout
from reranker_operator.resources.routing_policy import Route, ServiceOptions
from reranker_operator.resources.schema import (
    Condition,
    Message,
    Reason,
    Schema,
    Timestamp,
    list_map,
    rule,
    rules,
    text,
)
from reranker_operator.resources.sources import Source

GROUP = "reranker.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "RerankerModel"
PLURAL = "rerankermodels"

#: The longest name of a model: its revisions (`<model>-<8 digits>`) and children (`<model>-serving`) stay DNS labels.
MAX_NAME = 50
MODEL_NAME = "^[a-z]([-a-z0-9]*[a-z0-9])?$"


class Engine(Schema):
    """How the model is run. dtype, maxLength and scores make the scores, so they are part of the revision."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.maxLength <= self.maxBatchTokens",
                "maxBatchTokens must be at least maxLength: a batch holds one whole pair",
            ),
            rule(
                "self.maxBatchTokens <= self.maxQueueTokens",
                "maxQueueTokens must be at least maxBatchTokens: the queue holds one whole batch",
            ),
        )
    )

    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "int8"],
        Field(
            description="auto: bfloat16 where the device is faster in it, else float32, on older GPUs float16. int8, "
            "on CPUs alone: linear layers' weights and inputs in 8 bits, faster and a little less exact; let a gate "
            "try it."
        ),
    ] = "auto"
    max_length: Annotated[
        int, Field(ge=16, le=32768, description="Longest pair in tokens; only the document is truncated.")
    ] = 512
    scores: Annotated[
        Literal["sigmoid", "raw"], Field(description="Scale of the scores: sigmoid of the logit, or the logit itself.")
    ] = "sigmoid"
    max_batch_tokens: Annotated[int, Field(ge=64, le=1048576, description="Most tokens in one forward pass.")] = 16384
    max_queue_tokens: Annotated[
        int, Field(ge=1024, le=100000000, description="Most tokens waiting; beyond it requests get 429.")
    ] = 400000


class RerankerModelSpec(Schema):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.adapters) || self.adapters.size() <= self.adapterPolicy.maxLoaded",
                "more adapters than adapterPolicy.maxLoaded: remove some or raise maxLoaded (64 at most)",
            ),
            rule(
                "!self.source.imageVolume || self.cache.type == 'EmptyDir'",
                "source.imageVolume needs a cache of type EmptyDir: files are linked from the pod's own mount, where "
                "other pods of a claim couldn't follow",
            ),
            rule(
                "!self.source.imageVolume || (self.rollout.strategy != 'InPlace' && "
                "self.rollout.onUnschedulable.action != 'InPlace')",
                "source.imageVolume needs new pods for each revision, since a running one mounts nothing more: the "
                "rollout's strategy and onUnschedulable.action can't be InPlace",
            ),
        )
    )

    source: Source
    served_name: Annotated[
        str | None,
        text(
            "^[A-Za-z0-9][A-Za-z0-9._/-]*$",
            "letters, digits, '.', '_', '/' and '-', first a letter or digit",
            max_length=200,
            description="What clients call the model; default: an hf:// source's repository, else the resource's name.",
        ),
    ] = None
    engine: Engine = Engine()
    adapters: Annotated[
        list[Adapter],
        Field(
            max_length=64,
            description="LoRA adapters; adding, changing or removing one restarts no pod.",
            json_schema_extra=list_map("name"),
        ),
    ] = []
    adapter_policy: AdapterPolicy = AdapterPolicy()
    replicas: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_PODS,
            description="How many pods serve. Leave it out beside `autoscaling`: the autoscaler writes it, by /scale.",
        ),
    ] = 1
    autoscaling: Annotated[
        Autoscaling | None,
        Field(description="Makes a ScaledObject where KEDA is installed, else a HorizontalPodAutoscaler."),
    ] = None
    route: Annotated[Route | None, Field(description="Makes an HTTPRoute where the Gateway API is installed.")] = None
    service: ServiceOptions = ServiceOptions()
    rollout: Rollout = Rollout()
    revision_history_limit: Annotated[
        int, Field(ge=0, le=100, description="Old revisions that are kept as ControllerRevisions.")
    ] = 10
    api_keys: Annotated[
        ApiKeys | None,
        Field(description="Has clients send a key, `Authorization: Bearer <key>`, with every request; default: none."),
    ] = None
    playground: Annotated[
        bool,
        Field(
            description="Serve a page to try the model in a browser, at /playground of its Service; no pod restarts."
        ),
    ] = False
    cache: Cache = Cache()
    resources: Resources = Resources()
    node_selector: NodeSelector = {}
    tolerations: Tolerations = []

    @property
    def pods(self) -> int:
        """How many pods are to serve: `replicas`, kept within an autoscaler's bounds whoever wrote it.

        Where an applied manifest stops naming `replicas`, the API server falls back to 1, however many serve. None at
        all is a decision of its own, by which an autoscaler rests.
        """
        bounds = self.autoscaling
        if bounds is None or self.replicas == 0:
            return self.replicas
        return min(max(self.replicas, bounds.min_replicas), bounds.max_replicas)


Figure = Annotated[str, Field(max_length=20)]


class RevisionStatus(Schema):
    """A model revision in the status."""

    name: Annotated[str, Field(max_length=63, description="<model>-<hash of what makes the scores>.")]
    phase: Annotated[str | None, Field(max_length=63, description="How far it has come.")] = None
    since: Annotated[Timestamp | None, Field(description="When it came there.")] = None
    strategy: Annotated[str | None, Field(max_length=63, description="How it gets to the pods.")] = None
    message: Annotated[Message | None, Field(description="What holds it up.")] = None
    ndcg: Annotated[Figure | None, Field(description="nDCG@k that the gate measured.")] = None
    rank_correlation: Annotated[
        Figure | None, Field(description="Rank correlation with the serving revision that the gate measured.")
    ] = None
    live_rank_correlation: Annotated[
        Figure | None, Field(description="Rank correlation with it on a copy of live queries.")
    ] = None
    p95_milliseconds: Annotated[Figure | None, Field(description="95th percentile that the gate measured.")] = None


class RejectedRevision(RevisionStatus):
    """A revision that was tried and may not serve."""

    reason: Reason
    message: Annotated[Message, Field(description="What was wrong, in words.")]
    attempt: Annotated[
        str,
        Field(
            # Its name of old: a rejection outlives upgrades and rollbacks, of the operator and of the CRDs.
            alias="gate",
            max_length=8,
            description="Hash of what was tried: the gate, the way to the pods and what these are given. "
            "Anything else is tried again.",
        ),
    ]


class Revisions(Schema):
    """Which revision answers, which one is on its way, and which were turned away."""

    serving: Annotated[RevisionStatus | None, Field(description="The revision that answers clients.")] = None
    candidate: Annotated[RevisionStatus | None, Field(description="The revision that is on its way.")] = None
    rejected: Annotated[
        list[RejectedRevision] | None,
        Field(
            max_length=10,
            description="Revisions that failed, the latest last; tried again only under something else (see gate).",
            json_schema_extra=list_map("name"),
        ),
    ] = None


class FleetStatus(Schema):
    """Which of a model's two fleets answers, and how long the other one is kept."""

    active: Annotated[Literal["blue", "green"], Field(description="The fleet that the Service points at.")]
    since: Annotated[Timestamp | None, Field(description="When the Service turned to it.")] = None
    kept: Annotated[
        str | None, Field(max_length=63, description="The revision of the other fleet, to go back to at once.")
    ] = None
    kept_until: Annotated[Timestamp | None, Field(description="When the other fleet goes.")] = None


MOST_DOWNLOADS = 32
ByteCount = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class DownloadStatus(Schema):
    """A download under way, of the pod that is the farthest from its end."""

    name: Annotated[str, Field(max_length=63, description="The revision whose files are on their way.")]
    bytes: Annotated[ByteCount, Field(description="What has come.")]
    total_bytes: Annotated[ByteCount, Field(description="What has to come; 0 while the source hasn't told.")]
    bytes_per_second: Annotated[ByteCount, Field(description="What came in the last ten seconds, by the second.")]
    eta_seconds: Annotated[
        ByteCount | None, Field(description="How long the rest takes at this rate; absent while nothing comes.")
    ] = None
    observed_at: Annotated[Timestamp, Field(description="When this was so; looked at every ten seconds at most.")]


class RerankerModelStatus(Schema):
    """What is. The operator alone writes it."""

    observed_generation: Annotated[int, Field(ge=-1, description="Generation that was acted on; -1: none yet.")] = -1
    replicas: Annotated[int, Field(ge=0, description="Pods that there are.")] = 0
    ready_replicas: Annotated[int, Field(ge=0, description="Pods that answer clients.")] = 0
    selector: Annotated[str, Field(max_length=256, description="Label selector of the pods, for /scale.")] = ""
    endpoint: Annotated[str, Field(max_length=512, description="Address of the Service.")] = ""
    fleet: Annotated[FleetStatus | None, Field(description="Absent until the Service turns for the first time.")] = None
    revisions: Revisions = Revisions()
    downloads: Annotated[
        list[DownloadStatus] | None,
        Field(
            max_length=MOST_DOWNLOADS,
            description="Downloads under way; absent when there is none.",
            json_schema_extra=list_map("name"),
        ),
    ] = None
    adapters: Annotated[
        list[AdapterStatus],
        Field(
            max_length=64,
            description="The adapters of the spec, then the RerankerAdapters that the model takes.",
            json_schema_extra=list_map("name"),
        ),
    ] = []
    adapters_ready: Annotated[
        str, Field(max_length=16, description="How many adapters are ready on every pod, such as 2/2.")
    ] = ""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            description="Ready: this generation serves everywhere. Available: some revision serves. AdaptersReady: "
            "every adapter is loaded on every pod. Autoscaling, Routed: what the spec asks for of these is at work; "
            "absent where it asks for nothing. "
            "Reconciling, Stalled: absent when false.",
            json_schema_extra=list_map("type"),
        ),
    ] = []
