"""The kind RerankerAdapter: an adapter that another team can own, with its own rights and its own Ready. No I/O."""

from typing import Annotated

from pydantic import Field

from reranker_operator.resources.schema import LABEL, Condition, Schema, list_map, rule, rules, text
from reranker_operator.resources.sources import ArtifactSource
from reranker_operator.resources.v1alpha1 import MAX_NAME, MODEL_NAME

ADAPTER_KIND = "RerankerAdapter"
ADAPTER_PLURAL = "rerankeradapters"


class ModelRef(Schema):
    """A RerankerModel."""

    name: Annotated[
        str,
        text(
            MODEL_NAME,
            "the name of a RerankerModel: lower-case letters, digits and '-', first a letter",
            max_length=MAX_NAME,
            description="Name of the RerankerModel.",
        ),
    ]
    namespace: Annotated[
        str | None,
        text(
            f"^{LABEL}$",
            "the name of a namespace: lower-case letters, digits and '-'",
            max_length=63,
            description="Its namespace; default: the adapter's own. Another one takes the adapter only where the "
            "model's adapterPolicy.allowedNamespaces says so.",
        ),
    ] = None


class RerankerAdapterSpec(Schema):
    """What is wanted. Clients call the adapter by the resource's name."""

    model_ref: Annotated[
        ModelRef,
        Field(
            description="The model that the adapter is for.",
            # One model at a time writes the status, so the way from one to another is a new resource.
            json_schema_extra=rules(
                rule("self == oldSelf", "modelRef can't change: delete this RerankerAdapter and create another one")
            ),
        ),
    ]
    source: Annotated[
        ArtifactSource,
        Field(
            description="Where the adapter's files come from. Hubs, buckets and registries are opened with the Secret "
            "of the model's source. A pvc:// claim must be one that the model's spec uses, in the model's namespace.",
        ),
    ]


class RerankerAdapterStatus(Schema):
    """What is. The operator alone writes it."""

    observed_generation: Annotated[int, Field(ge=-1, description="Generation that was acted on; -1: none yet.")] = -1
    revision: Annotated[str, Field(max_length=63, description="The revision that the spec asks for.")] = ""
    serving: Annotated[str, Field(max_length=63, description="The revision that clients get; empty: none.")] = ""
    ready: Annotated[int, Field(ge=0, description="Pods that serve the wanted revision.")] = 0
    desired: Annotated[int, Field(ge=0, description="Pods that should.")] = 0
    pods: Annotated[str, Field(max_length=16, description="Both in one, such as 2/2.")] = ""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            description="Accepted: the model takes the adapter. Available: clients get some revision of it. "
            "Ready: this generation is loaded on every pod. Reconciling, Stalled: absent when false.",
            json_schema_extra=list_map("type"),
        ),
    ] = []
