"""CRDs of other projects as they publish them, installed for as long as a test needs them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiextensionsV1Api, ApisApi

from hack.cluster.golang import module_folder
from tests.apiserver.conftest import install

KEDA, KEDA_VERSION = "github.com/kedacore/keda/v2", "2.21.0"
GATEWAY_API, GATEWAY_API_VERSION = "sigs.k8s.io/gateway-api", "1.6.3"


def crds(module: str, version: str, *files: str) -> list[dict[str, Any]]:
    """CRDs out of a Go module."""
    folder = module_folder(module, version)
    return [yaml.safe_load(path.read_text()) for pattern in files for path in sorted(folder.glob(pattern))]


@contextmanager
def served(api: ApiClient, definitions: list[dict[str, Any]]) -> Iterator[None]:
    """Their kinds are served; afterwards neither they nor any object of them is there."""
    names = [definition["metadata"]["name"] for definition in definitions]
    try:
        for definition in definitions:
            install(api, definition)
        _until_listed(api, definitions, listed=True)
        yield
    finally:
        for name in names:
            ApiextensionsV1Api(api).delete_custom_resource_definition(name)
        _until_listed(api, definitions, listed=False)


def _until_listed(api: ApiClient, definitions: list[dict[str, Any]], *, listed: bool) -> None:
    """Wait until the API server names their versions, or none of them: it does so a while after a CRD came or went."""
    specs = [definition["spec"] for definition in definitions]
    versions = {f"{spec['group']}/{version['name']}" for spec in specs for version in spec["versions"]}
    end = time.monotonic() + 60
    while True:
        groups = ApisApi(api).get_api_versions().groups
        found = versions & {version.group_version for group in groups for version in group.versions}
        if found == (versions if listed else set()):
            return
        assert time.monotonic() < end, f"listed after a minute: {sorted(found)}"
        time.sleep(0.1)
