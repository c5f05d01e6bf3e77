"""What a RerankerModel may say of its rollouts: pace, drain, and the gate before a revision's first answer. No I/O."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from reranker_operator.resources.schema import SUBDOMAIN, Schema, rule, rules, text

#: The largest `rollout.drainSeconds`; pods get this and a margin as their termination grace period, so that the value
#: can change without a new pod template.
MAX_DRAIN_SECONDS = 300

SHARE = "^(0([.][0-9]{1,6})?|1([.]0{1,6})?)$"


def share(description: str) -> Any:
    """A decimal from 0 to 1 in a string: the API has no floating-point numbers."""
    return text(SHARE, 'a decimal from 0 to 1 in quotes, such as "0.62"', max_length=8, description=description)


class ConfigMapKey(Schema):
    """A key of a ConfigMap of the model's namespace."""

    name: Annotated[
        str,
        text(
            f"^{SUBDOMAIN}$",
            "the name of a ConfigMap: lower-case letters, digits, '-' and '.'",
            max_length=253,
            description="Name of the ConfigMap.",
        ),
    ]
    key: Annotated[
        str,
        text(
            "^[-._a-zA-Z0-9]+$",
            "a key of a ConfigMap: letters, digits, '-', '_' and '.'",
            max_length=253,
            description="Key whose value is the text.",
        ),
    ] = "golden.jsonl"


class GoldenSet(Schema):
    """Questions whose good answers are known."""

    config_map_ref: Annotated[
        ConfigMapKey,
        Field(
            description='Where it stands: a line of JSON for each question, {"query": "…", "documents": ["…"], '
            '"relevance": [2]}; a relevance of 0 is irrelevant.'
        ),
    ]


class Shadow(Schema):
    """A copy of live queries, which the candidate scores beside the fleet that answers them."""

    percent: Annotated[int, Field(ge=1, le=100, description="How many of 100 requests are copied.")]
    duration_seconds: Annotated[int, Field(ge=1, le=86400, description="For how long.")]


class Gate(Schema):
    """What a revision must show on the golden set before it answers its first client; scores must always be finite."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.shadow) || has(self.minRankCorrelation)",
                "shadow is judged by minRankCorrelation: say how much of it live queries must show",
            )
        )
    )

    golden_set: GoldenSet
    k: Annotated[int, Field(ge=1, le=1000, description="Ranks that nDCG looks at.")] = 10
    min_ndcg: Annotated[
        str | None, Field(alias="minNDCG"), share("Least nDCG@k in the mean of all questions, such as 0.62.")
    ] = None
    min_rank_correlation: Annotated[
        str | None, share("Least rank correlation (Kendall's tau-b, mean) with the revision that serves.")
    ] = None
    max_p95_milliseconds: Annotated[
        int | None,
        Field(ge=1, le=3600000, description="Longest time that 95 of 100 questions may take, without the queue."),
    ] = None
    shadow: Annotated[
        Shadow | None,
        Field(description="After the golden set, also compare the candidate with what serves on live queries."),
    ] = None


class OnUnschedulable(Schema):
    """What to do where no node has room for a pod of a new revision."""

    after_seconds: Annotated[int, Field(ge=1, le=86400, description="How long such a pod may wait for room.")] = 120
    action: Annotated[
        Literal["InPlace", "Wait", "Abort"],
        Field(
            description="InPlace: load the revision beside the one that serves, in the pods that there are. "
            "Wait: for room. Abort: reject the revision."
        ),
    ] = "Wait"


class BlueGreen(Schema):
    """How a second fleet takes over."""

    keep_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=86400,
            description="How long the fleet that served before is kept after the flip. Setting the model back in that "
            "time flips back at once, without a new pod.",
        ),
    ] = 300


class Rollout(Schema):
    """How a new model revision or pod template replaces the one that serves."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.maxSurge > 0 || self.maxUnavailable > 0",
                "maxSurge and maxUnavailable can't both be 0: set maxSurge to 1 or more to replace pods without a gap",
            ),
            rule(
                "self.minReadySeconds < self.progressDeadlineSeconds",
                "minReadySeconds must be less than progressDeadlineSeconds, else no roll could end in time",
            ),
            rule(
                "!has(self.gate) || !has(self.gate.shadow) || "
                "self.gate.shadow.durationSeconds < self.progressDeadlineSeconds",
                "gate.shadow.durationSeconds must be less than progressDeadlineSeconds, else no roll could end in time",
            ),
        )
    )

    strategy: Annotated[
        Literal["RollingUpdate", "InPlace", "BlueGreen"],
        Field(
            description="How a model revision is replaced. RollingUpdate: by new pods. InPlace: the new one is loaded "
            "beside the one that serves and takes over in every pod at once, where nothing else of the pods changes. "
            "BlueGreen: by a second fleet, to which the Service turns once every pod of it is ready."
        ),
    ] = "RollingUpdate"
    max_surge: Annotated[int, Field(ge=0, le=100, description="Pods above `replicas` during a roll.")] = 1
    max_unavailable: Annotated[int, Field(ge=0, le=100, description="Pods below `replicas` during a roll.")] = 0
    min_ready_seconds: Annotated[
        int, Field(ge=0, le=3600, description="A new pod must stay ready for so long before the next one is replaced.")
    ] = 0
    progress_deadline_seconds: Annotated[
        int, Field(ge=30, le=86400, description="A roll without progress for so long is Stalled.")
    ] = 900
    drain_seconds: Annotated[
        int, Field(ge=0, le=MAX_DRAIN_SECONDS, description="Longest wait for requests in flight when a pod ends.")
    ] = 30
    on_unschedulable: OnUnschedulable = OnUnschedulable()
    blue_green: BlueGreen = BlueGreen()
    gate: Annotated[
        Gate | None,
        Field(description="Trial of a revision before it answers; without it, one that loads and scores is admitted."),
    ] = None
