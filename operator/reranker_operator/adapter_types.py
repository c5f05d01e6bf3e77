"""Adapters in the API: those in a model's spec, the bounds for them, and how far they are. No I/O."""

from typing import Annotated

from pydantic import Field

from reranker_operator.schema import Message, Reason, Schema, text
from reranker_operator.sources import ArtifactSource


class Adapter(Schema):
    """A LoRA adapter in PEFT's format that clients ask for as `<servedName>:<name>` or by the field `adapter`."""

    name: Annotated[
        str,
        text(
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "lower-case letters, digits and '-', first and last a letter or digit",
            max_length=40,
            description="Name that clients use; a valid label value.",
        ),
    ]
    source: ArtifactSource


class AdapterPolicy(Schema):
    """Bounds for adapters."""

    max_loaded: Annotated[int, Field(ge=1, le=64, description="Most adapters loaded at once.")] = 16
    max_rank: Annotated[int, Field(ge=1, le=512, description="Largest LoRA rank that is accepted.")] = 64


class AdapterStatus(Schema):
    """How many pods have an adapter's wanted revision."""

    name: Annotated[str, Field(max_length=40, description="Name of the adapter.")]
    revision: Annotated[str, Field(max_length=63, description="The wanted revision.")]
    ready: Annotated[int, Field(ge=0, description="Pods that serve the wanted revision.")]
    desired: Annotated[int, Field(ge=0, description="Pods that should.")]
    reason: Annotated[Reason | None, Field(description="Why it isn't ready.")] = None
    message: Annotated[Message | None, Field(description="What would help.")] = None
