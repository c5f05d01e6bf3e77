"""How an API type states its bounds and rules, for pydantic and the CRD at once, and what every status has. No I/O."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

VALIDATIONS = "x-kubernetes-validations"

#: The longest message in a status; the API server would refuse the whole status because of a longer one.
MAX_MESSAGE = 4096

#: Names as the API server has them: of namespaces, and of most other objects.
LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
SHA256 = "sha256:[0-9a-f]{64}"

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Schema(BaseModel):
    """Camel case in the API, snake case here; unknown fields are the API server's business (it prunes them)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


def rule(expression: str, message: str) -> dict[str, str]:
    """A CEL rule whose message says what would be accepted."""
    return {"rule": expression, "message": message}


def rules(*several: dict[str, str]) -> dict[str, Any]:
    return {VALIDATIONS: list(several)}


def list_map(key: str) -> dict[str, Any]:
    """A list whose items are told apart by `key`: unique, and merged item by item."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def text(pattern: str, expects: str, *, max_length: int, description: str | None = None) -> Any:
    """A string that matches `pattern`; a refusal says in words what it `expects`, beside the bare pattern."""
    return Field(
        min_length=1,
        max_length=max_length,
        pattern=pattern,
        description=description,
        json_schema_extra=rules(rule(f"self.matches('{pattern}')", f"must be {expects}")),
    )


def byte_count(amount: str) -> int:
    """The bytes of a whole amount such as 512Mi."""
    digits = amount.rstrip("kMGTi")
    return int(digits) * UNITS[amount[len(digits) :]]


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong with a spec, by the path of its field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"spec.{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"


def shorten(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


Message = Annotated[str, BeforeValidator(shorten), Field(max_length=MAX_MESSAGE)]
Timestamp = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
Reason = Annotated[str, Field(max_length=1024, description="CamelCase reason.")]


class Condition(Schema):
    """As in metav1.Condition."""

    type: Annotated[str, Field(max_length=316, description="What holds or doesn't, such as Ready.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it holds.")]
    observed_generation: Annotated[int | None, Field(ge=0, description="Generation that was looked at.")] = None
    last_transition_time: Annotated[Timestamp, Field(description="When the status last changed.")]
    reason: Reason
    message: Annotated[Message, Field(description="The reason in words.")]
