"""JSON schemas for kubeconform: Kubernetes' own from its published module, ours, Argo CD's and Flux's from their CRDs;
nothing is downloaded from anywhere but the Go module proxy.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.golang import KUBERNETES_MODULE, KUBERNETES_VERSION, module_folder
from hack.cluster.paths import build_once, cache_home
from hack.gitops.verdicts import ARGO_CD, ARGO_CD_VERSION

Json = dict[str, Any]

#: kubeconform's -schema-location below each folder that is returned here.
TEMPLATE = "{{ .Group }}-{{ .ResourceKind }}-{{ .ResourceAPIVersion }}.json"

#: Kinds of other projects that the examples hold: module, version, and the CRDs' files in it.
PUBLISHED = (
    (ARGO_CD, ARGO_CD_VERSION, "manifests/crds/application-crd.yaml"),
    ("github.com/fluxcd/source-controller", "1.8.5", "config/crd/bases/*_gitrepositories.yaml"),
    ("github.com/fluxcd/kustomize-controller", "1.9.1", "config/crd/bases/*.yaml"),
    ("github.com/fluxcd/helm-controller", "1.4.0", "config/crd/bases/*.yaml"),
)

#: What Go writes as text or as a number; OpenAPI v2 calls it a string.
EITHER = (
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
)


def kubernetes_schemas() -> Path:
    """Return a folder of strict schemas, one for each kind that Kubernetes serves."""
    return build_once(cache_home() / f"schemas-{KUBERNETES_VERSION}", _write_kubernetes_schemas)


def _write_kubernetes_schemas(folder: Path) -> None:
    module = module_folder(KUBERNETES_MODULE, KUBERNETES_VERSION)
    swagger = json.loads((module / "api/openapi-spec/swagger.json").read_text())
    definitions = {name: strict(each) for name, each in swagger["definitions"].items()}
    definitions |= {name: {"type": ["string", "number"]} for name in EITHER}
    for name, definition in definitions.items():
        for gvk in definition.get("x-kubernetes-group-version-kind", []):
            schema = {
                "$ref": f"#/definitions/{name}",
                "definitions": {each: definitions[each] for each in _closure(name, definitions)},
            }
            (folder / file_name(gvk["group"], gvk["kind"], gvk["version"])).write_text(json.dumps(schema))


def published_schemas() -> Path:
    """Return a folder of strict schemas of other projects' kinds."""
    versions = "-".join(version for _, version, _ in PUBLISHED)
    return build_once(cache_home() / f"schemas-gitops-{versions}", _write_published_schemas)


def _write_published_schemas(folder: Path) -> None:
    for module, version, files in PUBLISHED:
        write_crd_schemas(folder, sorted(module_folder(module, version).glob(files)))


def write_crd_schemas(folder: Path, crds: Iterable[Path]) -> None:
    """Write the strict schema of every version of `crds`."""
    for crd in (yaml.safe_load(path.read_text()) for path in crds):
        for version in crd["spec"]["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
            name = file_name(crd["spec"]["group"], crd["spec"]["names"]["kind"], version["name"])
            (folder / name).write_text(json.dumps(schema))


def file_name(group: str, kind: str, version: str) -> str:
    """The name that kubeconform makes of TEMPLATE; it takes the version of the core group for a group."""
    return f"{group or version}-{kind.lower()}-{version}.json"


def strict(schema: Json) -> Json:
    """`schema` with fields that it doesn't name refused, as the API server's strict field validation does."""
    schema = dict(schema)
    if "properties" in schema:
        schema["properties"] = {name: strict(each) for name, each in schema["properties"].items()}
        schema.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = strict(schema[key])
    return schema


def _closure(name: str, definitions: Json) -> set[str]:
    found: set[str] = set()
    pending = [name]
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending.extend(_references(definitions[each]))
    return found


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix("#/definitions/")
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)
