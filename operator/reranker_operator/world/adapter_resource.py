"""A RerankerAdapter as the API server has it, as plain frozen data. No I/O."""

from dataclasses import dataclass, field

from pydantic import ValidationError

from reranker_operator.resources.adapter_kind import ADAPTER_KIND, RerankerAdapterSpec
from reranker_operator.resources.schema import first_error
from reranker_operator.resources.v1alpha1 import API_VERSION
from reranker_operator.world.names import Document


@dataclass(frozen=True)
class AdapterResource:
    """One RerankerAdapter. `spec` is None where this version can't parse it, and `problem` says why."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: str
    spec: RerankerAdapterSpec | None
    problem: str = ""
    status: Document = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def reference(self) -> Document:
        """What an Event is about."""
        return {
            "apiVersion": API_VERSION,
            "kind": ADAPTER_KIND,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }


def model_of(live: Document) -> tuple[str, str] | None:
    """Namespace and name of the model that a live RerankerAdapter is for; None where it names none."""
    reference = (live.get("spec") or {}).get("modelRef") or {}
    if not isinstance(reference.get("name"), str):
        return None
    return reference.get("namespace") or live["metadata"]["namespace"], reference["name"]


def adapter_resource(live: Document) -> AdapterResource:
    metadata = live["metadata"]
    spec, problem = None, ""
    try:
        spec = RerankerAdapterSpec.model_validate(live["spec"])
    except ValidationError as error:
        problem = first_error(error)
    return AdapterResource(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        created=metadata["creationTimestamp"],
        spec=spec,
        problem=problem,
        status=live.get("status") or {},
    )
