"""The CustomResourceDefinition, made from the models of v1alpha1. No I/O but in `main`, which prints it.

A CRD's schema is structural: no references, no null, no union but int-or-string, and the defaults of nested objects
whole. pydantic writes plain JSON Schema; `structural` translates.
"""

import sys
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from reranker_operator.schema import VALIDATIONS, rule, rules
from reranker_operator.v1alpha1 import GROUP, KIND, MAX_NAME, PLURAL, VERSION, RerankerModelSpec, RerankerModelStatus

Json = dict[str, Any]

HEADER = "# Written by `make generate` from operator/reranker_operator/v1alpha1.py.\n"

NAME_RULE = rule(
    f"self.metadata.name.size() <= {MAX_NAME} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    f"the name becomes a Service's: at most {MAX_NAME} lower-case letters, digits and '-', first a letter, "
    "last a letter or digit",
)

COLUMNS = (
    ("READY", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("REVISION", "string", ".status.revisions.serving.name", 0),
    ("CANDIDATE", "string", ".status.revisions.candidate.name", 0),
    ("REPLICAS", "integer", ".status.readyReplicas", 0),
    ("ADAPTERS", "string", ".status.adaptersReady", 0),
    ("AGE", "date", ".metadata.creationTimestamp", 0),
    ("REASON", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
    ("ENDPOINT", "string", ".status.endpoint", 1),
)

#: How a node reads best; what isn't named here stands between `type` and `required` in pydantic's order.
FIRST = ("description", "type", "format", "default")
LAST = ("required", "items", "additionalProperties", "properties")


def crd() -> Json:
    """The CustomResourceDefinition of RerankerModel."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["rrm"],
                "categories": ["reranker"],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def _version() -> Json:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path, "priority": priority}
            for name, type_, path, priority in COLUMNS
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": _root()},
    }


def _root() -> Json:
    return {
        "description": "A reranker: a model and its adapters, served by a fleet of workers.",
        "type": "object",
        **rules(NAME_RULE),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(RerankerModelSpec),
            # kstatus takes a resource without a status for a healthy one.
            "status": {
                **structural(RerankerModelStatus),
                "default": _stated(RerankerModelStatus().model_dump(by_alias=True)),
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


def main() -> None:
    """Print the CRD as YAML."""
    sys.stdout.write(HEADER)
    yaml.dump(crd(), sys.stdout, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    main()
