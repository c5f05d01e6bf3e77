"""The reference has every field of the CRDs, with its bounds, defaults and rules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.docs.reference import RULES, cell, page, text, written

CRDS = {path.name.split("s.")[0]: yaml.safe_load(path.read_text()) for path in sorted(Path("crds").glob("*.yaml"))}


def nodes(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field below `node` with the path of the object that has it."""
    for name, field in node.get("properties", {}).items():
        yield path, {**field, "name": name}
        yield from nodes(f"{path}.{name}", field)
        yield from nodes(f"{path}.{name}[]", field.get("items", {}))


def kind(**root: Any) -> dict[str, Any]:
    """Return the CRD of a kind with this spec."""
    schema = {"description": "A thing.", "properties": {"spec": root, "status": {"properties": {}}}}
    version = {"name": "v1", "additionalPrinterColumns": [], "subresources": {}, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Thing", "shortNames": ["th"]}
    return {"metadata": {"name": "things.x"}, "spec": {"group": "x", "names": names, "versions": [version]}}


@pytest.mark.parametrize("name", CRDS)
def test_every_field_has_a_row_and_a_description(name: str) -> None:
    rows = {line.split("|")[1].strip() for line in written()[f"{name}.md"].splitlines() if line.startswith("|")}
    root = CRDS[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    fields = [each for part in ("spec", "status") for each in nodes(part, root[part])]
    assert len(fields) > 15
    assert [f"{path}.{field['name']}" for path, field in fields if f"`{field['name']}`" not in rows] == []
    assert [f"{path}.{field['name']}" for path, field in fields if not field.get("description")] == []


@pytest.mark.parametrize("name", CRDS)
def test_every_rule_stands_there_with_its_message(name: str) -> None:
    content = written()[f"{name}.md"]
    root = CRDS[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = [field for part in ("spec", "status") for _, field in nodes(part, root["properties"][part])]
    rules = [rule for node in (root, *fields) for rule in node.get(RULES, ())]
    assert len(rules) > 5
    assert [rule for rule in rules if f"{text(rule['message'])}<br>`{rule['rule']}`" not in content] == []


@pytest.mark.parametrize(
    ("field", "row"),
    [
        pytest.param(
            {"type": "integer", "minimum": 0, "maximum": 9, "default": 3}, "integer, 0 to 9 | `3`", id="a range"
        ),
        pytest.param({"type": "integer", "minimum": -1}, "integer, at least -1 | ", id="open above"),
        pytest.param({"enum": ["A", "B"], "default": "A"}, '`A`, `B` | `"A"`', id="a choice"),
        pytest.param(
            {"type": "string", "minLength": 1, "maxLength": 4}, "string, at most 4 characters | ", id="a string"
        ),
        pytest.param(
            {"type": "string", "format": "date-time", "maxLength": 64}, "time, at most 64 characters | ", id="a time"
        ),
        pytest.param(
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 2},
            "set of string, at most 2 items | ",
            id="a set",
        ),
        pytest.param(
            {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
            "map of integer or string | ",
            id="quantities",
        ),
    ],
)
def test_a_row_tells_the_type_its_bounds_and_the_default(field: dict[str, Any], row: str) -> None:
    made = page(kind(properties={"a": {**field, "description": "What it is."}}))
    assert f"| `a` | {row} | What it is. |" in made


def test_a_pattern_stands_there_where_no_rule_says_it_in_words() -> None:
    bare = {"type": "string", "pattern": "^a+$"}
    said = {**bare, RULES: [{"rule": "self.matches('^a+$')", "message": "must be some a"}]}
    made = page(kind(properties={"bare": bare, "said": said}))
    assert "- `bare`: must match<br>`^a+$`" in made
    assert "- `said`: must be some a<br>`self.matches('^a+$')`" in made
    assert "- `said`: must match" not in made


def test_an_object_that_comes_again_refers_to_its_first_place() -> None:
    source = {"type": "object", "description": "One.", "properties": {"uri": {"type": "string"}}}
    made = page(kind(properties={"source": source, "other": {**source, "description": "Another."}}))
    assert "### spec.other\n\nAnother.\n\nThe fields are those of [spec.source](#specsource).\n" in made


def test_words_stand_for_themselves() -> None:
    assert text("hf://<owner> or a_b* in `<code>`") == "hf://&lt;owner> or a\\_b\\* in `<code>`"
    assert cell("a|b") == "a\\|b"
