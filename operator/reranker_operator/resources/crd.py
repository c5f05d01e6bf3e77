"""The CustomResourceDefinitions, made from the API's models. No I/O but in `main`, which writes the files.

A CRD's schema is structural: no references, no null, no union but int-or-string, and the defaults of nested objects
whole. pydantic writes plain JSON Schema; `structural` translates.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from reranker_operator.resources import adapter_kind
from reranker_operator.resources.adapter_types import ADAPTER_NAME, MAX_ADAPTER_NAME
from reranker_operator.resources.schema import VALIDATIONS, rule, rules
from reranker_operator.resources.v1alpha1 import (
    GROUP,
    KIND,
    MAX_NAME,
    MODEL_NAME,
    PLURAL,
    VERSION,
    RerankerModelSpec,
    RerankerModelStatus,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Definition:
    """What tells one kind from another. columns: of kubectl's table, each with name, type, path and priority."""

    kind: str
    plural: str
    short: str
    description: str
    name_rule: Json
    columns: tuple[tuple[str, str, str, int], ...]
    spec: type[BaseModel]
    status: type[BaseModel]
    source: str
    scale: Json | None = None
    selectable: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.plural}.{GROUP}.yaml"


MODEL = Definition(
    kind=KIND,
    plural=PLURAL,
    short="rrm",
    description="A reranker: a model and its adapters, served by a fleet of workers.",
    name_rule=rule(
        f"self.metadata.name.size() <= {MAX_NAME} && self.metadata.name.matches('{MODEL_NAME}')",
        f"the name becomes a Service's: at most {MAX_NAME} lower-case letters, digits and '-', first a letter, "
        "last a letter or digit",
    ),
    columns=(
        ("READY", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
        ("REVISION", "string", ".status.revisions.serving.name", 0),
        ("CANDIDATE", "string", ".status.revisions.candidate.name", 0),
        ("REPLICAS", "integer", ".status.readyReplicas", 0),
        ("ADAPTERS", "string", ".status.adaptersReady", 0),
        ("AGE", "date", ".metadata.creationTimestamp", 0),
        ("PHASE", "string", ".status.revisions.candidate.phase", 1),
        ("REASON", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
        ("ENDPOINT", "string", ".status.endpoint", 1),
    ),
    spec=RerankerModelSpec,
    status=RerankerModelStatus,
    source="v1alpha1.py",
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

ADAPTER = Definition(
    kind=adapter_kind.ADAPTER_KIND,
    plural=adapter_kind.ADAPTER_PLURAL,
    short="rra",
    description="A LoRA adapter of a RerankerModel, owned by whoever may write it.",
    name_rule=rule(
        f"self.metadata.name.size() <= {MAX_ADAPTER_NAME} && self.metadata.name.matches('{ADAPTER_NAME}')",
        f"clients ask for the adapter by its name: at most {MAX_ADAPTER_NAME} lower-case letters, digits and '-', "
        "first and last a letter or digit",
    ),
    columns=(
        ("MODEL", "string", ".spec.modelRef.name", 0),
        ("READY", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
        ("REVISION", "string", ".status.revision", 0),
        ("PODS", "string", ".status.pods", 0),
        ("AGE", "date", ".metadata.creationTimestamp", 0),
        ("REASON", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
        ("SERVING", "string", ".status.serving", 1),
        ("MODEL-NAMESPACE", "string", ".spec.modelRef.namespace", 1),
    ),
    spec=adapter_kind.RerankerAdapterSpec,
    status=adapter_kind.RerankerAdapterStatus,
    source="adapter_kind.py",
    selectable=(".spec.modelRef.name",),
)

DEFINITIONS = (MODEL, ADAPTER)

#: How a node reads best; what isn't named here stands between `type` and `required` in pydantic's order.
FIRST = ("description", "type", "format", "default")
LAST = ("required", "items", "additionalProperties", "properties")


def crd(definition: Definition) -> Json:
    """The CustomResourceDefinition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": [definition.short],
                "categories": ["reranker"],
            },
            "scope": "Namespaced",
            "versions": [_version(definition)],
        },
    }


def _version(definition: Definition) -> Json:
    selectable = [{"jsonPath": path} for path in definition.selectable]
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path, "priority": priority}
            for name, type_, path, priority in definition.columns
        ],
        **({"selectableFields": selectable} if selectable else {}),
        "subresources": {"status": {}, **({"scale": definition.scale} if definition.scale else {})},
        "schema": {"openAPIV3Schema": _root(definition)},
    }


def _root(definition: Definition) -> Json:
    return {
        "description": definition.description,
        "type": "object",
        **rules(definition.name_rule),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(definition.spec),
            # kstatus takes a resource without a status for a healthy one.
            "status": {
                **structural(definition.status),
                "default": _stated(definition.status().model_dump(by_alias=True)),
            },
        },
    }


def structural(model: type[BaseModel]) -> Json:
    """The structural schema of `model`."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.pop("$defs", {}))


def _structural(node: Json, definitions: Mapping[str, Json]) -> Json:
    node = _resolved(node, definitions)
    node.pop("title", None)
    default = _stated(node.pop("default", None))
    if default is not None:
        node["default"] = default
    if node.get("type") == "integer":
        node["format"] = "int32" if node.get("maximum", sys.maxsize) < 2**31 else "int64"
    for key in ("items", "additionalProperties"):
        if key in node:
            node[key] = _structural(node[key], definitions)
    if "properties" in node:
        node["properties"] = {name: _structural(each, definitions) for name, each in node["properties"].items()}
    return _ordered(node)


def _resolved(node: Json, definitions: Mapping[str, Json]) -> Json:
    """`node` with what it refers to written out, and optional told by absence alone; its own words win."""
    node = dict(node)
    target: Json = {}
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        (target,) = (each for each in node.pop("anyOf") if each != {"type": "null"})
    elif "$ref" in node:
        target = definitions[node.pop("$ref").removeprefix("#/$defs/")]
    if not target:
        return node
    target = _resolved(target, definitions)
    both = [*target.get(VALIDATIONS, []), *node.get(VALIDATIONS, [])]
    return {**target, **node, **({VALIDATIONS: both} if both else {})}


def _stated(default: Any) -> Any:
    """`default` without its empty members: reading an absent one gives the same, and the API server stores less."""
    if isinstance(default, dict):
        default = {name: stated for name, each in default.items() if (stated := _stated(each)) is not None}
    return None if default in (None, "", [], {}) else default


def _ordered(node: Json) -> Json:
    middle = tuple(key for key in node if key not in FIRST + LAST)
    return {key: node[key] for key in FIRST + middle + LAST if key in node}


class _Dumper(yaml.SafeDumper):
    """Indents lists under their key, as yamllint wants it, and repeats a value instead of naming it by an anchor."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def text(definition: Definition) -> str:
    """The CustomResourceDefinition as the file under crds/ has it."""
    body = yaml.dump(crd(definition), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return f"# Written by `make generate` from operator/reranker_operator/resources/{definition.source}.\n{body}"


def main(folder: Path) -> None:
    """Write a file for each kind."""
    for definition in DEFINITIONS:
        (folder / definition.file).write_text(text(definition))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
