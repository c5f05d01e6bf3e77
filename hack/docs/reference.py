"""The reference page of each kind, written from its CRD: every field, its type, default, bounds and rules.

`python -m hack.docs.reference FOLDER` writes the pages.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hack.repository import ROOT

Json = Mapping[str, Any]

FOLDER = ROOT / "docs/reference"
RULES = "x-kubernetes-validations"

#: Bounds in words, by the keyword of the schema.
BOUNDS = (
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("maxProperties", "at most {} entries"),
)

#: Bounds that hold of anything that is there at all, so they say nothing.
IDLE = (("minLength", 1),)


def pages(crds: Iterable[Path]) -> dict[str, str]:
    """The page of each CRD, by its file's name."""
    loaded = [yaml.safe_load(path.read_text()) for path in crds]
    return {f"{crd['spec']['names']['singular']}.md": page(crd) for crd in loaded}


def page(crd: Json) -> str:
    """One kind: what it is, its columns in kubectl's table, then each object of its schema."""
    names, (version,) = crd["spec"]["names"], crd["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]
    lines = [
        f"<!-- Written by `make generate` from crds/{crd['metadata']['name']}.yaml. -->",
        f"# {names['kind']}",
        "",
        text(root["description"]),
        "",
        _names(crd["spec"]["group"], version["name"], names),
        "",
        *_rules([("metadata.name", each) for each in root.get(RULES, ())]),
        *_columns(version),
    ]
    seen: dict[str, str] = {}
    for name in ("spec", "status"):
        lines += _object(name, root["properties"][name], seen)
    return "\n".join(lines).rstrip() + "\n"


def _names(group: str, version: str, names: Json) -> str:
    short = " and ".join(f"`{name}`" for name in names["shortNames"])
    return f"`apiVersion: {group}/{version}`, `kind: {names['kind']}`, of a namespace; for kubectl also {short}."


def _columns(version: Json) -> list[str]:
    rows = [
        f"| {each['name']} | `{cell(each['jsonPath'])}` | {'with `-o wide`' if each['priority'] else 'yes'} |"
        for each in version["additionalPrinterColumns"]
    ]
    scale = version["subresources"].get("scale")
    said = [f"`kubectl scale` and autoscalers set `{scale['specReplicasPath'].lstrip('.')}`.", ""] if scale else []
    return ["`kubectl get` shows:", "", "| column | value | shown |", "|---|---|---|", *rows, "", *said]


def _object(path: str, node: Json, seen: dict[str, str]) -> Iterator[str]:
    """The section of one object, then those of the objects in it. seen: schema → the section that has it."""
    schema = _comparable(node)
    yield from (f"{'#' * min(4, 2 + path.count('.'))} {path}", "")
    yield from (text(node["description"]), "") if "description" in node else ()
    if schema in seen:
        yield from (f"The fields are those of [{seen[schema]}](#{_anchor(seen[schema])}).", "")
        return
    seen[schema] = path
    fields = node["properties"]
    yield from ("| field | type | default | |", "|---|---|---|---|")
    for name, field in fields.items():
        yield _row(name, field, required=name in node.get("required", ()))
    yield ""
    own = [(path.rsplit(".", 1)[-1], each) for each in node.get(RULES, ())]
    yield from _rules([*own, *(each for name, field in fields.items() for each in _field_rules(name, field))])
    for name, field in fields.items():
        if "properties" in field:
            yield from _object(f"{path}.{name}", field, seen)
        elif "properties" in field.get("items", {}):
            yield from _object(f"{path}.{name}[]", field["items"], seen)


def _row(name: str, field: Json, *, required: bool) -> str:
    default = "required" if required else _default(field)
    return f"| `{name}` | {_type(field)} | {default} | {cell(text(field.get('description', '')))} |"


def _default(field: Json) -> str:
    if "default" not in field or "properties" in field:  # an object's default is told field by field
        return ""
    return f"`{cell(json.dumps(field['default'], ensure_ascii=False))}`"


def _type(field: Json) -> str:
    """The type with its bounds, such as `integer, 0 to 100`."""
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    words = [_bare_type(field), *_range(field)]
    words += [said.format(field[key]) for key, said in BOUNDS if key in field and (key, field[key]) not in IDLE]
    return ", ".join(words)


def _range(field: Json) -> list[str]:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return [f"{low} to {high}"]
    return [f"at least {low}"] if low is not None else [f"at most {high}"] if high is not None else []


def _bare_type(field: Json) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    if field["type"] == "array":
        keys = field.get("x-kubernetes-list-map-keys")
        kind = f"list by `{keys[0]}`" if keys else "set" if field.get("x-kubernetes-list-type") == "set" else "list"
        return kind if "properties" in field["items"] else f"{kind} of {_type(field['items'])}"
    return "time" if field.get("format") == "date-time" else str(field["type"])


def _field_rules(name: str, field: Json) -> Iterator[tuple[str, Json]]:
    """What a field that is no object is held to; its pattern alone where no rule puts it into words."""
    if "properties" in field:
        return
    said = field.get(RULES, ())
    yield from ((name, each) for each in said)
    inner = ((f"{name}[]", field.get("items")), (f"{name}.*", field.get("additionalProperties")))
    for path, node in ((name, field), *inner):
        pattern = node.get("pattern") if node and "properties" not in node else None
        if pattern and not any(pattern in each["rule"] for each in said):
            yield path, {"message": "must match", "rule": pattern}


def _rules(rules: Iterable[tuple[str, Json]]) -> list[str]:
    lines = [f"- `{name}`: {text(each['message'])}<br>{_code(each['rule'])}" for name, each in rules]
    return ["What is checked:", "", *lines, ""] if lines else []


def _code(expression: str) -> str:
    return f"`{' '.join(expression.split())}`"


def _comparable(node: Json) -> str:
    return json.dumps({key: value for key, value in node.items() if key != "description"}, sort_keys=True)


def _anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")


def text(words: str) -> str:
    """Plain words as Markdown: what isn't in backticks stands for itself."""
    parts = re.split(r"(`[^`]*`)", words)
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(words: str) -> str:
    return re.sub(r"([*_\[\]])", r"\\\1", words.replace("<", "&lt;"))


def cell(words: str) -> str:
    """Words that don't end their cell of a table."""
    return words.replace("|", "\\|")


def written() -> dict[str, str]:
    """The pages as they should be."""
    return pages(sorted((ROOT / "crds").glob("*.yaml")))


def differs() -> str:
    """Name the pages that `make generate` would change."""
    kept = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    wanted = written()
    stale = sorted(name for name in wanted.keys() | kept.keys() if wanted.get(name) != kept.get(name))
    return f"out of date: {', '.join(stale)} under docs/reference/: run `make generate`" if stale else ""


def main(folder: Path) -> None:
    """Write a page for each kind."""
    for name, content in written().items():
        (folder / name).write_text(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
