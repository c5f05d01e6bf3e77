"""Within which bounds and by what an autoscaler sets the number of pods, as a spec says it. No I/O."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from reranker_operator.resources.schema import Schema, rule, rules

MOST_PODS = 1000


class Trigger(Schema):
    """A trigger of KEDA's, beside the workers' load."""

    type: Annotated[
        Literal["prometheus", "metrics-api", "external-push", "cron"],
        Field(description="KEDA's name for it; those that need no credentials of a pod."),
    ]
    metadata: Annotated[
        dict[str, Annotated[str, Field(max_length=2048)]],
        Field(
            min_length=1,
            max_length=16,
            description="As KEDA's page on the trigger says.",
            json_schema_extra=rules(
                rule("self.all(key, key.size() <= 63)", "a member of a trigger's metadata has at most 63 characters")
            ),
        ),
    ]


class Autoscaling(Schema):
    """The bounds of an autoscaler and what it goes by."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self.minReplicas <= self.maxReplicas", "minReplicas must be at most maxReplicas"),
            rule(
                "self.minReplicas > 0 || (has(self.triggers) && self.triggers.size() > 0)",
                "minReplicas 0 needs triggers: where no worker runs none can tell of load, so one of KEDA's triggers "
                "must wake the model",
            ),
        )
    )

    min_replicas: Annotated[
        int, Field(ge=0, le=MOST_PODS, description="Fewest pods; 0 (asleep until a trigger is active) needs KEDA.")
    ] = 1
    max_replicas: Annotated[int, Field(ge=1, le=MOST_PODS, description="Most pods.")]
    target_load_percent: Annotated[
        int,
        Field(
            ge=10,
            le=100,
            description="Share of what it can score that a worker is to be asked for, by its own measurement "
            "(reranker_load_ratio); more pods come above it.",
        ),
    ] = 70
    idle_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=86400,
            description="Time without an active trigger and without load after which KEDA takes the last pods.",
        ),
    ] = 300
    triggers: Annotated[
        list[Trigger],
        Field(
            max_length=4,
            description="KEDA's triggers beside the workers' load; they also wake a model from zero.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = []
