"""Every resource that the pages and examples show is taken by a strict API server."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, CustomObjectsApi

from hack.docs.code import everything, manifests
from reranker_operator.adapter_kind import ADAPTER_KIND, ADAPTER_PLURAL
from reranker_operator.v1alpha1 import GROUP, KIND, PLURAL, VERSION

pytestmark = pytest.mark.apiserver

PLURALS = {KIND: PLURAL, ADAPTER_KIND: ADAPTER_PLURAL}
SHOWN = [(where, each) for where, each in manifests(everything()) if each["kind"] in PLURALS]
EXAMPLES = [
    (str(path), each)
    for path in sorted(Path("examples").rglob("*.yaml"))
    for each in yaml.safe_load_all(path.read_text())
    if each and each.get("kind") in PLURALS
]


@pytest.mark.parametrize(("where", "manifest"), [*SHOWN, *EXAMPLES], ids=[where for where, _ in [*SHOWN, *EXAMPLES]])
def test_a_shown_resource_is_taken(api: ApiClient, where: str, manifest: dict[str, Any]) -> None:
    body = manifest | {"metadata": manifest["metadata"] | {"namespace": "default"}}
    created = CustomObjectsApi(api).create_namespaced_custom_object(
        GROUP, VERSION, "default", PLURALS[manifest["kind"]], body, dry_run="All", field_validation="Strict"
    )
    taken, shown = created["spec"]["source"], manifest["spec"]["source"]
    assert {name: taken.get(name) for name in shown} == shown
    assert taken.keys() - shown.keys() <= {"imageVolume"}, "what isn't shown is a default"
