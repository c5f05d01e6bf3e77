"""How clients find a model's pods beside its Service, as a spec says it. No I/O."""

from typing import Annotated

from pydantic import Field

from reranker_operator.resources.schema import LABEL, Schema, text

NAME = f"^{LABEL}([.]{LABEL})*$"
HOSTNAME = f"^([*][.])?{LABEL}([.]{LABEL})*$"


class ParentRef(Schema):
    """A Gateway."""

    name: Annotated[
        str,
        text(
            NAME, "a Gateway's name: lower-case letters, digits, '-' and '.'", max_length=253, description="Its name."
        ),
    ]
    namespace: Annotated[
        str | None,
        text(
            f"^{LABEL}$",
            "a namespace: lower-case letters, digits and '-'",
            max_length=63,
            description="Its namespace; default: the model's.",
        ),
    ] = None
    section_name: Annotated[
        str | None,
        text(
            NAME,
            "the name of a listener: lower-case letters, digits, '-' and '.'",
            max_length=253,
            description="One of its listeners; default: all that let the route in.",
        ),
    ] = None


class Route(Schema):
    """The way to the model through Gateways."""

    parent_refs: Annotated[
        list[ParentRef],
        Field(
            min_length=1,
            max_length=8,
            description="Gateways that clients come through.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ]
    hostnames: Annotated[
        list[
            Annotated[
                str,
                text(
                    HOSTNAME,
                    "a host name such as bge.example.com or *.example.com, without scheme, port and path",
                    max_length=253,
                ),
            ]
        ],
        Field(
            max_length=16,
            description="Host names of this model alone: all its paths are served there. None: a host name that models "
            "share, where the model is told by the path, /v1/score/<served name> and /v1/models/<served name>.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    timeout_seconds: Annotated[
        int | None,
        Field(
            ge=1,
            le=86400,
            description="How long Gateways that know timeouts of HTTPRoutes wait for an answer, which workers give "
            "within 60 seconds; default: the Gateway's own.",
        ),
    ] = None


class ServiceOptions(Schema):
    """What stands beside the model's Service."""

    headless: Annotated[
        bool,
        Field(
            description="Makes a Service <name>-headless, whose name resolves to the addresses of all ready pods, for "
            "clients that balance by themselves."
        ),
    ] = False
