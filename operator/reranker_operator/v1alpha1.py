"""The API group reranker.dev/v1alpha1 as pydantic models: one source for the CRD's schema and for parsed specs. No I/O.

`crd.py` turns these models into the structural schema under crds/. A field stands here only when something acts on it.
Validation rules in CEL travel in `json_schema_extra`; every list and string is bounded, so that the API server can
price the rules.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "reranker.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "RerankerModel"
PLURAL = "rerankermodels"

#: The largest `rollout.drainSeconds`; pods get this and a margin as their termination grace period, so that the value
#: can change without a new pod template.
MAX_DRAIN_SECONDS = 300


def rule(expression: str, message: str) -> dict[str, str]:
    """A CEL rule whose message says what would be accepted."""
    return {"rule": expression, "message": message}


def rules(*several: dict[str, str]) -> dict[str, Any]:
    return {"x-kubernetes-validations": list(several)}


class Schema(BaseModel):
    """Camel case in the API, snake case here; unknown fields are the API server's business (it prunes them)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class SecretRef(Schema):
    """A Secret of the model's namespace. It opts in by having the key HF_TOKEN: no other key is ever read."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]


class ArtifactSource(Schema):
    """Where the files of a model or an adapter come from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!self.uri.startsWith('hf://') || has(self.revision)",
                "an hf:// source needs a revision: a commit hash, tag or branch of the repository",
            ),
            rule(
                "!self.uri.startsWith('hf://') || self.uri.matches('^hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$')",
                "an hf:// source has the form hf://<owner>/<repository>",
            ),
            rule(
                "!self.uri.startsWith('pvc://') || "
                "self.uri.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$')",
                "a pvc:// source has the form pvc://<claim>/<folder>[/<folder>…]; "
                "folder names start with a letter, digit or _",
            ),
            rule(
                "!self.uri.startsWith('pvc://') || !has(self.revision)",
                "a pvc:// source has no revision: name another folder, or set digest, for other content",
            ),
        )
    )

    uri: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            description="hf://<owner>/<repository> or pvc://<claim>/<folder>.",
            json_schema_extra=rules(
                rule(
                    "self.startsWith('hf://') || self.startsWith('pvc://')",
                    "the scheme must be hf:// or pvc://",
                )
            ),
        ),
    ]
    revision: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
            description="Commit, tag or branch of an hf:// repository.",
        ),
    ] = None
    digest: Annotated[
        str | None,
        Field(
            pattern=r"^sha256:[0-9a-f]{64}$",
            max_length=71,
            description="Digest of the served files as `reranker-worker digest` prints it; checked after the download.",
        ),
    ] = None


class Source(ArtifactSource):
    """A model's source. Its Secret also opens the repositories of the model's adapters."""

    secret_ref: Annotated[
        SecretRef | None, Field(description="Secret whose key HF_TOKEN is the token for an hf:// repository.")
    ] = None


class Adapter(Schema):
    """A LoRA adapter in PEFT's format that clients ask for as `<servedName>:<name>` or by the field `adapter`."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=40,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            description="Name that clients use; a valid label value.",
        ),
    ]
    source: ArtifactSource


class Engine(Schema):
    """How the model is run. dtype, maxLength and scores make the scores, so they are part of the revision."""

    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Field(description="auto: bfloat16 where the device computes in it, else float32."),
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


class AdapterPolicy(Schema):
    """Bounds for adapters."""

    max_loaded: Annotated[int, Field(ge=1, le=64, description="Most adapters loaded at once.")] = 16
    max_rank: Annotated[int, Field(ge=1, le=512, description="Largest LoRA rank that is accepted.")] = 64


class Rollout(Schema):
    """How a new model revision or pod template replaces the one that serves."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.maxSurge > 0 || self.maxUnavailable > 0",
                "maxSurge and maxUnavailable can't both be 0: set maxSurge to 1 or more to replace pods without a gap",
            )
        )
    )

    max_surge: Annotated[int, Field(ge=0, le=100, description="Pods above `replicas` during a roll.")] = 1
    max_unavailable: Annotated[int, Field(ge=0, le=100, description="Pods below `replicas` during a roll.")] = 0
    progress_deadline_seconds: Annotated[
        int, Field(ge=30, le=86400, description="A roll without progress for so long is Stalled.")
    ] = 900
    drain_seconds: Annotated[
        int, Field(ge=0, le=MAX_DRAIN_SECONDS, description="Longest wait for requests in flight when a pod ends.")
    ] = 30


class Cache(Schema):
    """Where downloads are kept: an emptyDir of the pod."""

    size: Annotated[
        str,
        Field(
            max_length=20,
            pattern=r"^[1-9][0-9]*(Mi|Gi|Ti|M|G|T)$",
            description="Size limit of the emptyDir, such as 10Gi.",
        ),
    ] = "20Gi"


Quantity = Annotated[str, Field(max_length=40)]


class Resources(Schema):
    """Resources of the scoring container, as in a pod."""

    limits: Annotated[dict[str, Any], Field(max_length=16)] = {}
    requests: Annotated[dict[str, Any], Field(max_length=16)] = {}


class Toleration(Schema):
    """As in a pod."""

    key: Annotated[str | None, Field(max_length=316)] = None
    operator: Literal["Exists", "Equal"] | None = None
    value: Annotated[str | None, Field(max_length=63)] = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class RerankerModelSpec(Schema):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.adapters) || self.adapters.size() <= self.adapterPolicy.maxLoaded",
                "more adapters than adapterPolicy.maxLoaded: remove some or raise maxLoaded (64 at most)",
            ),
        )
    )

    source: Source
    served_name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
            description="What clients call the model; default: an hf:// source's repository, else the resource's name.",
        ),
    ] = None
    engine: Engine = Engine()
    adapters: Annotated[
        list[Adapter],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    adapter_policy: AdapterPolicy = AdapterPolicy()
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    rollout: Rollout = Rollout()
    cache: Cache = Cache()
    resources: Resources = Resources()
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = {}
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = []


class RevisionStatus(Schema):
    """A model revision in the status."""

    name: str
    phase: str | None = None
    since: str | None = None
    message: str | None = None


class Revisions(Schema):
    """Which revision answers, and which one is on its way."""

    serving: RevisionStatus | None = None
    candidate: RevisionStatus | None = None


class AdapterStatus(Schema):
    """How many pods have an adapter's wanted revision."""

    name: str
    revision: str
    ready: int
    desired: int
    reason: str | None = None
    message: str | None = None


class Condition(Schema):
    """As in metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    observed_generation: int | None = None
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    reason: Annotated[str, Field(max_length=1024)]
    message: Annotated[str, Field(max_length=32768)]


class RerankerModelStatus(Schema):
    """What is."""

    observed_generation: int = -1
    replicas: int = 0
    ready_replicas: int = 0
    selector: str = ""
    endpoint: str = ""
    revisions: Revisions = Revisions()
    adapters: Annotated[
        list[AdapterStatus],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
    ] = []
    conditions: Annotated[
        list[Condition],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = []
