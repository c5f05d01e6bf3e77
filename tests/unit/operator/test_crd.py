"""The CRD's schema: structural, bounded, described, and the same as the file under crds/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from hack.repository import ROOT
from reranker_operator.resources import crd
from reranker_operator.resources.schema import Schema, rule, rules

CRDS = ROOT / "crds"

Json = dict[str, Any]


def nodes(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema below `schema` with its path."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def root(definition: crd.Definition) -> Json:
    found: Json = crd.crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


NODES = {definition.kind + path: node for definition in crd.DEFINITIONS for path, node in nodes(root(definition))}
OWN = {path: node for path, node in NODES.items() if path.partition(".")[2].startswith(("spec", "status"))}


def test_the_files_under_crds_are_current(tmp_path: Path) -> None:
    crd.main(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in CRDS.iterdir()} == written, "run `make generate`"


@pytest.mark.parametrize("definition", crd.DEFINITIONS, ids=lambda each: str(each.kind))
def test_the_file_says_what_the_models_say(definition: crd.Definition) -> None:
    assert yaml.safe_load((CRDS / definition.file).read_text()) == crd.crd(definition)


@pytest.mark.parametrize("node", NODES.values(), ids=NODES.keys())
def test_a_schema_is_structural(node: Json) -> None:
    assert not {"$ref", "$defs", "title", "oneOf", "allOf", "const", "propertyNames"} & node.keys()
    assert "type" in node or node.get("x-kubernetes-int-or-string")
    assert "anyOf" not in node or node.get("x-kubernetes-int-or-string")
    assert node.get("default", "stated") is not None


@pytest.mark.parametrize("node", OWN.values(), ids=OWN.keys())
def test_a_schema_is_bounded(node: Json) -> None:
    match node.get("type"):
        case "string":
            assert "maxLength" in node or "enum" in node
        case "array":
            assert "maxItems" in node
            assert "x-kubernetes-list-type" in node
        case "object" if "additionalProperties" in node:
            assert "maxProperties" in node
        case "integer":
            assert "minimum" in node


@pytest.mark.parametrize("path", [path for path in OWN if not path.endswith(("[]", "{}"))])
def test_a_field_is_described(path: str) -> None:
    assert OWN[path]["description"]


@pytest.mark.parametrize("path", [path for path, node in OWN.items() if "default" in node and "properties" in node])
def test_the_default_of_an_object_holds_the_defaults_of_its_fields(path: str) -> None:
    own = {name: each["default"] for name, each in OWN[path]["properties"].items() if "default" in each}
    assert OWN[path]["default"] == own


class Inner(Schema):
    """What the type says."""

    model_config = Schema.model_config | {"json_schema_extra": rules(rule("self.size > 0", "of the type"))}

    size: int = 1
    note: str | None = None


class Outer(Schema):
    """Fields in every form that the translation knows."""

    plain: Inner = Inner()
    spoken: Inner | None = Field(
        default=None, description="What the field says.", json_schema_extra=rules(rule("true", "of the field"))
    )
    several: list[Inner] = []
    labels: dict[str, Inner] = {}


OUTER = crd.structural(Outer)["properties"]


def test_a_field_without_words_takes_those_of_its_type() -> None:
    assert OUTER["plain"]["description"] == "What the type says."
    assert OUTER["spoken"]["description"] == "What the field says."


def test_rules_of_a_type_and_of_a_field_both_hold() -> None:
    assert [each["message"] for each in OUTER["spoken"]["x-kubernetes-validations"]] == ["of the type", "of the field"]


def test_optional_is_told_by_absence_alone() -> None:
    assert OUTER["plain"]["properties"]["note"] == {"type": "string"}
    assert "default" not in OUTER["spoken"]
    assert "required" not in crd.structural(Outer)


def test_an_empty_default_is_left_out_and_any_other_kept() -> None:
    assert "default" not in OUTER["several"]
    assert "default" not in OUTER["labels"]
    assert OUTER["plain"]["default"] == {"size": 1}


def test_types_are_written_out_wherever_they_are_used() -> None:
    assert OUTER["several"]["items"]["properties"].keys() == {"size", "note"}
    assert OUTER["labels"]["additionalProperties"]["properties"].keys() == {"size", "note"}
