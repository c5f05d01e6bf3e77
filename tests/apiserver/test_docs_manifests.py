"""Every resource that the pages and examples show, and every part of one, is taken by a strict API server."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, CustomObjectsApi

from hack.docs.code import documents, everything, manifests
from reranker_operator.resources.adapter_kind import ADAPTER_KIND, ADAPTER_PLURAL
from reranker_operator.resources.v1alpha1 import GROUP, KIND, PLURAL, VERSION, RerankerModelSpec

pytestmark = pytest.mark.apiserver

PLURALS = {KIND: PLURAL, ADAPTER_KIND: ADAPTER_PLURAL}
SHOWN = [(where, each) for where, each in manifests(everything()) if each["kind"] in PLURALS]
EXAMPLES = [
    (str(path), each)
    for path in sorted(Path("examples").rglob("*.yaml"))
    for each in yaml.safe_load_all(path.read_text())
    if each and each.get("kind") in PLURALS
]
# Parts of a model's spec; "…" stands for what is left out.
PARTS = [
    (f"{piece.where}#{number}", each.get("spec", each))
    for piece in everything()
    for number, each in enumerate(documents(piece))
    if isinstance(each, dict) and "kind" not in each and "…" not in piece.text
    if each.get("spec", each).keys() <= RerankerModelSpec.model_json_schema()["properties"].keys()
]


@pytest.mark.parametrize(("where", "part"), PARTS, ids=[where for where, _ in PARTS])
def test_a_shown_part_of_a_model_is_taken(api: ApiClient, where: str, part: dict[str, Any]) -> None:
    spec = {"source": {"uri": "hf://acme/model", "revision": "v1"}} | part
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": "shown"}, "spec": spec}
    CustomObjectsApi(api).create_namespaced_custom_object(
        GROUP, VERSION, "default", PLURAL, body, dry_run="All", field_validation="Strict"
    )


@pytest.mark.parametrize(("where", "manifest"), [*SHOWN, *EXAMPLES], ids=[where for where, _ in [*SHOWN, *EXAMPLES]])
def test_a_shown_resource_is_taken(api: ApiClient, where: str, manifest: dict[str, Any]) -> None:
    body = manifest | {"metadata": manifest["metadata"] | {"namespace": "default"}}
    created = CustomObjectsApi(api).create_namespaced_custom_object(
        GROUP, VERSION, "default", PLURALS[manifest["kind"]], body, dry_run="All", field_validation="Strict"
    )
    taken, shown = created["spec"]["source"], manifest["spec"]["source"]
    assert {name: taken.get(name) for name in shown} == shown
    assert taken.keys() - shown.keys() <= {"imageVolume"}, "what isn't shown is a default"
