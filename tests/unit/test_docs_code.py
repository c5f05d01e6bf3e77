"""What the pages show is so: fields, targets, commands and their flags exist, and scripts and JSON can be read."""

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.docs.code import Code, code, commands, documents, everything, flags, manifests, pages
from hack.docs.pages import page
from hack.repository import tracked
from reranker_worker.__main__ import parse_settings

EVERYTHING = list(everything())
CRDS = [yaml.safe_load(path.read_text()) for path in sorted(Path("crds").glob("*.yaml"))]
SCHEMAS = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in CRDS}
MANIFESTS = [(where, each) for where, each in manifests(iter(EVERYTHING)) if each["kind"] in SCHEMAS]
MODEL = SCHEMAS["RerankerModel"]["properties"]
FRAGMENTS = [
    (piece.where, each)
    for piece in EVERYTHING
    for each in documents(piece)
    if isinstance(each, dict) and "kind" not in each
]
COMMANDS = [(piece.where, words) for piece in EVERYTHING for words in commands(piece)]
WORKER = [
    (where, words[place + 1 :])
    for where, words in COMMANDS
    for place, word in enumerate(words[:-2])
    if word == "reranker-worker"
]
MODULES = [
    (where, words[words.index("-m") + 1 :])
    for where, words in COMMANDS
    if re.search(r"\bpython3?$", words[0]) and "-m" in words and words[words.index("-m") + 1] not in ("venv", "pip")
]


def unknown(schema: dict[str, Any], value: Any, path: str) -> list[str]:
    """Return the paths of fields that the schema doesn't have."""
    if isinstance(value, list):
        return [each for item in value for each in unknown(schema.get("items", {}), item, f"{path}[]")]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    properties = schema["properties"]
    return [
        each
        for name, inner in value.items()
        for each in (unknown(properties[name], inner, f"{path}.{name}") if name in properties else [f"{path}.{name}"])
    ]


def shape(value: Any) -> dict[str, Any]:
    """Return a schema with the fields that the chart's values have; what is empty there may hold anything."""
    return (
        {"properties": {name: shape(inner) for name, inner in value.items()}}
        if value and isinstance(value, dict)
        else {}
    )


#: What a part of a YAML document can be.
PARTS = {
    "RerankerModel": {"properties": {"spec": MODEL["spec"]}},
    "spec": MODEL["spec"],
    "status": MODEL["status"],
    "values": shape(yaml.safe_load(Path("charts/reranker-operator/values.yaml").read_text())),
}


@pytest.mark.parametrize(("where", "manifest"), MANIFESTS, ids=[where for where, _ in MANIFESTS])
def test_a_resource_has_only_fields_that_there_are(where: str, manifest: dict[str, Any]) -> None:
    resource = {name: each for name, each in manifest.items() if name != "metadata"}  # that is the API server's
    assert unknown(SCHEMAS[manifest["kind"]], resource, manifest["kind"]) == []


@pytest.mark.parametrize(("where", "fragment"), FRAGMENTS, ids=[where for where, _ in FRAGMENTS])
def test_a_part_of_a_resource_or_of_the_values_has_only_fields_that_there_are(
    where: str, fragment: dict[str, Any]
) -> None:
    missing = {
        name: unknown(part, fragment, name)
        for name, part in PARTS.items()
        if fragment.keys() & part["properties"].keys()
    }
    assert not missing or [] in missing.values(), missing


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", Path("Makefile").read_text(), re.MULTILINE))
    named = {
        (where, word)
        for where, words in COMMANDS
        if words[0] == "make"
        for word in words[1:]
        if re.match("[a-z]", word)
    }
    assert {"demo", "check", "e2e"} <= {word for _, word in named}
    assert [(where, word) for where, word in sorted(named) if word not in targets] == []


@pytest.mark.parametrize(("where", "words"), WORKER, ids=[where for where, _ in WORKER])
def test_the_worker_understands_its_command_line(where: str, words: list[str]) -> None:
    settings = parse_settings([word for word in words if word != "&"])
    given = {flag.removeprefix("--").replace("-", "_") for flag in flags(words)}
    assert given <= settings.model_fields_set


@pytest.mark.parametrize(("where", "words"), MODULES, ids=[f"{where} {words[0]}" for where, words in MODULES])
def test_a_module_that_is_run_has_the_flags_that_it_is_given(where: str, words: list[str]) -> None:
    spec = importlib.util.find_spec(words[0])
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin)
    known = (source.parent / "__main__.py" if source.name == "__init__.py" else source).read_text()
    assert [flag for flag in flags(words) if f'"{flag}"' not in known] == []


@pytest.mark.parametrize("piece", [each for each in EVERYTHING if each.language == "sh"], ids=lambda each: each.where)
def test_a_script_can_be_read_by_a_shell(piece: Code) -> None:
    done = subprocess.run(["bash", "-n"], input=piece.text, text=True, capture_output=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("piece", [each for each in EVERYTHING if each.language == "json"], ids=lambda each: each.where)
def test_json_is_one_document(piece: Code) -> None:
    json.loads(piece.text)


@pytest.mark.parametrize("piece", [each for each in EVERYTHING if each.language == "yaml"], ids=lambda each: each.where)
def test_yaml_says_nothing_twice(piece: Code) -> None:
    """A reader who copies a block with two alternatives would get the last of them."""
    assert [twice for document in yaml.compose_all(piece.text) for twice in repeated(document)] == []


def repeated(node: yaml.Node) -> Iterator[str]:
    """The keys that stand twice in one mapping, however deep."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from repeated(item)
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from (key for key in set(keys) if keys.count(key) > 1)
        for _, value in node.value:
            yield from repeated(value)


@pytest.mark.parametrize(("path", "text"), pages().items(), ids=pages())
def test_every_link_to_a_file_of_the_repository_leads_to_one(path: str, text: str) -> None:
    assert page(path, text, lambda target: Path(target).exists()).gone == ()


def test_the_quick_start_installs_the_images_that_it_builds() -> None:
    of_the_page = [words for where, words in COMMANDS if where.startswith("docs/quickstart.md")]
    (install,) = (words for words in of_the_page if words[:2] == ["helm", "install"])
    given = dict(word.split("=", 1) for word in install if re.match(r"[a-z.]*image\.", word))
    pushed = {words[2] for words in of_the_page if words[:2] == ["docker", "push"]}
    built = {words[words.index("-t") + 1] for words in of_the_page if words[:2] == ["docker", "build"]}
    installed = {f"{given[f'{each}.repository']}:{given[f'{each}.tag']}" for each in ("image", "worker.image")}
    assert installed == pushed == built


def test_the_architecture_names_every_folder() -> None:
    table = Path("docs/architecture.md").read_text().partition("## Where things are")[2]
    files = tracked("hack/*", "examples/*", "tests/*")
    named = {name for path in files if len(parts := path.split("/")) > 2 for name in (parts[1],)}
    top = {path.split("/")[0] for path in tracked() if "/" in path and not path.startswith(".")}
    assert [name for name in sorted(named | top) if not re.search(rf"[`/]{name}[`/]", table)] == []


def test_code_is_found_in_blocks_and_spans() -> None:
    text = "Run `make x`.\n\n1. Then:\n\n    ```sh\n    a --b \\\n      --c=1 | d --e\n    ```\n"
    span, block = code("page.md", text)
    assert span == Code("page.md:1", "", "make x")
    assert block == Code("page.md:5", "sh", "a --b \\\n  --c=1 | d --e\n")
    (words,) = commands(block)
    assert flags(words) == ["--b", "--c"]
    assert commands(Code("x", "console", "$ make demo\nits output\n")) == [["make", "demo"]]


def test_a_field_that_there_isnt_is_found_however_deep() -> None:
    assert unknown(PARTS["RerankerModel"], {"spec": {"adapters": [{"label": "x"}]}}, "x") == ["x.spec.adapters[].label"]
    assert unknown(PARTS["values"], {"worker": {"gpus": {}, "fetcherEnv": {"A": "b"}}}, "x") == ["x.worker.gpus"]
