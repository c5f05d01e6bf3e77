"""CRDs of other projects as they publish them, installed for as long as a test needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiextensionsV1Api

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
        yield
    finally:
        for name in names:
            ApiextensionsV1Api(api).delete_custom_resource_definition(name)
