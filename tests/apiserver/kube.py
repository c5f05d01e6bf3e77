"""A small asynchronous client of the API server for tests, which shares no code with what is tested."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

T = TypeVar("T")
Json = dict[str, Any]

# A watch from what the API server has in memory. One without a version is refused with 504 while that is behind etcd,
# as it can be in a server's first seconds.
ANY_VERSION = "0"

PREFIXES = {
    "configmaps": "/api/v1",
    "controllerrevisions": "/apis/apps/v1",
    "deployments": "/apis/apps/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "events": "/apis/events.k8s.io/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "pods": "/api/v1",
    "replicasets": "/apis/apps/v1",
    "rerankeradapters": "/apis/reranker.dev/v1alpha1",
    "rerankermodels": "/apis/reranker.dev/v1alpha1",
    "scaledobjects": "/apis/keda.sh/v1alpha1",
    "services": "/api/v1",
}


class Kube:
    """One namespace of one API server."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
        self.namespace = namespace
        self._http = httpx.AsyncClient(base_url=cluster["server"], verify=tls, timeout=10, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def request(
        self, method: str, path: str, *, body: Any = None, content_type: str = "application/json"
    ) -> Json:
        """Send one request; HTTPStatusError carries the answer when it says no."""
        answer = await self._http.request(method, path, json=body, headers={"Content-Type": content_type})
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        document: Json = answer.json()
        return document

    def path(self, resource: str, name: str = "") -> str:
        tail = f"/{name}" if name else ""
        return f"{PREFIXES[resource]}/namespaces/{self.namespace}/{resource}{tail}"

    async def get(self, resource: str, name: str) -> Json | None:
        try:
            return await self.request("GET", self.path(resource, name))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 404:
                return None
            raise

    async def items(self, resource: str) -> list[Json]:
        found: list[Json] = (await self.request("GET", self.path(resource)))["items"]
        return found

    async def create(self, resource: str, body: Json) -> Json:
        return await self.request("POST", self.path(resource), body=body)

    async def patch(self, resource: str, name: str, body: Json, subresource: str = "") -> Json:
        tail = f"/{subresource}" if subresource else ""
        content_type = "application/merge-patch+json"
        return await self.request("PATCH", self.path(resource, name) + tail, body=body, content_type=content_type)

    async def delete(self, resource: str, name: str, **options: Any) -> Json:
        return await self.request("DELETE", self.path(resource, name), body=options or None)


async def eventually(see: Callable[[], Awaitable[T]], *, within_s: float = 30, what: str = "") -> T:
    """The first true value of `see`; fails with what was seen last."""
    end = time.monotonic() + within_s
    while not (seen := await see()):
        assert time.monotonic() < end, f"not within {within_s} s: {what or see}; last seen: {seen!r}"
        await asyncio.sleep(0.05)
    return seen
