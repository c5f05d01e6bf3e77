"""What a RerankerModel may set of its pods: resources and the choice of nodes, by typed fields only. No I/O.

A raw pod template would give whoever may create models the rights of whoever may create pods.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from reranker_operator.resources.schema import SUBDOMAIN, Schema, rule, rules, text

#: The grammar of resource.Quantity, as controller-gen writes it into CRDs, but for the sign.
QUANTITY = r"^([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]+))?$"

LABEL_VALUE = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
LABEL_KEY = f"^({SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
RESOURCE_NAME = f"^(cpu|memory|ephemeral-storage|{SUBDOMAIN}/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$"

Quantity = Annotated[
    str,
    BeforeValidator(str),  # 1 and "1" are the same amount, and must make the same pod template
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "pattern": QUANTITY,
            "maxLength": 40,
        }
    ),
]

AMOUNTS = rules(
    rule(
        f"self.all(name, name.matches('{RESOURCE_NAME}'))",
        "a resource is cpu, memory, ephemeral-storage or <domain>/<name>, such as nvidia.com/gpu",
    ),
    rule(
        "self.all(name, isQuantity(string(self[name])))",
        "an amount must be a quantity such as 500m, 2 or 16Gi",
    ),
    rule(
        "self.all(name, !name.contains('/') || string(self[name]).matches('^[0-9]+$'))",
        "a device such as nvidia.com/gpu is counted in whole numbers",
    ),
)


def compared(name: str) -> str:
    """CEL that is below 0, 0 or above 0 as the request of resource `name` is below, at or above its limit."""
    return f"quantity(string(self.requests[{name}])).compareTo(quantity(string(self.limits[{name}])))"


class Resources(Schema):
    """Resources of the scoring container, as in a pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.requests) || !has(self.limits) || "
                f"self.requests.all(name, !(name in self.limits) || {compared('name')} <= 0)",
                "a request can't be above the limit of the same resource: lower the request or raise the limit",
            ),
            rule(
                "!has(self.requests) || self.requests.all(name, !name.contains('/') || "
                f"(has(self.limits) && name in self.limits && {compared('name')} == 0))",
                "a device such as nvidia.com/gpu belongs in limits; in requests leave it out or repeat the limit",
            ),
            rule(
                "!has(self.limits) || !('nvidia.com/gpu' in self.limits) || "
                "quantity(string(self.limits['nvidia.com/gpu'])).compareTo(quantity('1')) <= 0",
                "a worker computes on one GPU: set nvidia.com/gpu to 1, and replicas to as many as there are",
            ),
        )
    )

    limits: Annotated[
        dict[str, Quantity], Field(max_length=16, description="Most of each resource.", json_schema_extra=AMOUNTS)
    ] = {}
    requests: Annotated[
        dict[str, Quantity],
        Field(max_length=16, description="Share of each resource that is set aside.", json_schema_extra=AMOUNTS),
    ] = {}


class Toleration(Schema):
    """As in a pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
                "a toleration without a key tolerates every taint: it needs operator Exists",
            ),
            rule(
                "!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
                "operator Exists takes no value: leave value out, or set operator to Equal",
            ),
            rule(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds belongs to effect NoExecute",
            ),
        )
    )

    key: Annotated[
        str | None,
        text(LABEL_KEY, "a taint's key, such as nvidia.com/gpu", max_length=317, description="Key of the taint."),
    ] = None
    operator: Annotated[
        Literal["Exists", "Equal"] | None, Field(description="Equal (the default) compares the value, Exists doesn't.")
    ] = None
    value: Annotated[
        str | None, text(LABEL_VALUE, "a taint's value", max_length=63, description="Value of the taint.")
    ] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Effect of the taint; absent: all effects."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(ge=0, le=2**31 - 1, description="How long a NoExecute taint is tolerated.")
    ] = None


NodeSelector = Annotated[
    dict[str, Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]],
    Field(
        max_length=32,
        description="Labels that a node must have.",
        json_schema_extra=rules(
            rule(
                f"self.all(key, key.matches('{LABEL_KEY}') && self[key].matches('{LABEL_VALUE}'))",
                "must be labels, such as cloud.google.com/gke-accelerator: nvidia-l4",
            )
        ),
    ),
]

Tolerations = Annotated[
    list[Toleration],
    Field(
        max_length=32,
        description="Taints that the pods tolerate.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    ),
]
