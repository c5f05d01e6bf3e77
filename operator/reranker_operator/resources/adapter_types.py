"""Adapters in the API: those in a model's spec, the bounds for them, and how far they are. No I/O."""

from typing import Annotated

from pydantic import Field

from reranker_operator.resources.schema import LABEL, Message, Reason, Schema, rule, rules, text
from reranker_operator.resources.sources import ArtifactSource

ADAPTER_NAME = f"^{LABEL}$"
MAX_ADAPTER_NAME = 40
EVERY_NAMESPACE = "*"
NAMESPACE = f"^([*]|{LABEL})$"


class Adapter(Schema):
    """A LoRA adapter in PEFT's format that clients ask for as `<servedName>:<name>` or by the field `adapter`."""

    name: Annotated[
        str,
        text(
            ADAPTER_NAME,
            "lower-case letters, digits and '-', first and last a letter or digit",
            max_length=MAX_ADAPTER_NAME,
            description="Name that clients use; a valid label value.",
        ),
    ]
    source: ArtifactSource


class AdapterPolicy(Schema):
    """Bounds for adapters, and who may bring them."""

    max_loaded: Annotated[int, Field(ge=1, le=64, description="Most adapters loaded at once.")] = 16
    max_rank: Annotated[int, Field(ge=1, le=512, description="Largest LoRA rank that is accepted.")] = 64
    max_bytes: Annotated[
        str | None,
        text(
            "^[1-9][0-9]{0,14}(k|M|G|T|Ki|Mi|Gi|Ti)?$",
            "a whole number of bytes, maybe with the unit k, M, G, T, Ki, Mi, Gi or Ti, such as 512Mi",
            max_length=20,
            description="Most bytes that the files of all adapters hold together. One that doesn't fit isn't loaded; "
            "what every pod has already stays.",
        ),
    ] = None
    allowed_namespaces: Annotated[
        list[Annotated[str, Field(max_length=63, pattern=NAMESPACE)]],
        Field(
            max_length=64,
            description="Other namespaces whose RerankerAdapters the model takes; '*' stands for all. Those of the "
            "model's own namespace are always taken.",
            json_schema_extra={
                "x-kubernetes-list-type": "set",
                **rules(
                    rule(
                        f"self.all(each, each.matches('{NAMESPACE}'))",
                        "must be names of namespaces, or '*' for all of them",
                    )
                ),
            },
        ),
    ] = []


class AdapterStatus(Schema):
    """How many pods have an adapter's wanted revision."""

    name: Annotated[str, Field(max_length=MAX_ADAPTER_NAME, description="Name of the adapter.")]
    owner: Annotated[
        str | None, Field(max_length=128, description="The RerankerAdapter that brings it; absent: this model's spec.")
    ] = None
    revision: Annotated[str, Field(max_length=63, description="The wanted revision.")]
    ready: Annotated[int, Field(ge=0, description="Pods that serve the wanted revision.")]
    desired: Annotated[int, Field(ge=0, description="Pods that should.")]
    reason: Annotated[Reason | None, Field(description="Why it isn't ready.")] = None
    message: Annotated[Message | None, Field(description="What would help.")] = None
