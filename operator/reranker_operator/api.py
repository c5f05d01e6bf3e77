"""The way to the API server: one request, its timeout, its error, its place in the metrics."""

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from reranker_operator.errors import Conflict, Invalid, NoCluster, NotFound, Refused, Unreachable, cause
from reranker_operator.metrics import Metrics
from reranker_operator.token_bucket import TokenBucket
from reranker_operator.world.names import MANAGER, Document

CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 30

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"

#: Whose requests wait for no turn: a Lease that is renewed late is lost.
URGENT = frozenset({"leases"})

ERRORS = {404: NotFound, 409: Conflict, 422: Invalid}


async def configuration() -> Configuration:
    """Where the API server is and who we are: the pod's service account, else the kubeconfig."""
    found = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=found)
        else:
            await load_kube_config(config_file=os.environ.get("KUBECONFIG"), client_configuration=found)
    except ConfigException as error:
        raise NoCluster(f"no way to a cluster: {error}; run in a pod, or set KUBECONFIG") from error
    # Retries belong to the workqueue: a request that is tried again inside would act on old news.
    found.retries = None
    return found


class Api:
    """Requests as JSON documents; every one has a timeout, is counted, and waits for its turn if there is a bucket."""

    def __init__(self, config: Configuration, metrics: Metrics, bucket: TokenBucket | None = None) -> None:
        self._client = ApiClient(config)
        self._client.user_agent = MANAGER
        self._metrics = metrics
        self._bucket = bucket
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)

    async def close(self) -> None:
        await self._client.close()

    async def get(self, resource: str, path: str, query: Mapping[str, str] | None = None) -> Document:
        return await self._request("GET", resource, path, query=query)

    async def create(self, resource: str, path: str, body: Document, *, dry_run: bool = False) -> Document:
        """Create an object; a dry run returns it as it would be stored, and stores nothing."""
        query = {"dryRun": "All"} if dry_run else None
        return await self._request("POST", resource, path, query=query, body=body)

    async def apply(self, resource: str, path: str, body: Document) -> Document:
        """Server-side apply: take the members of `body` as ours, create the object where there is none."""
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._request("PATCH", resource, path, query=query, body=body, content_type=APPLY)

    async def merge(self, resource: str, path: str, body: Document, *, urgent: bool = False) -> Document:
        """Merge into an object; urgent: without waiting for a turn."""
        query = {"fieldManager": MANAGER}
        return await self._request("PATCH", resource, path, query=query, body=body, content_type=MERGE, urgent=urgent)

    async def delete(self, resource: str, path: str, body: Document) -> Document:
        return await self._request("DELETE", resource, path, body=body)

    async def _request(
        self,
        method: str,
        resource: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        content_type: str = JSON,
        urgent: bool = False,
    ) -> Document:
        if self._bucket is not None and not urgent and resource not in URGENT:
            await asyncio.sleep(self._bucket.take())
        what, code = f"{method} {path}", "none"
        try:
            status, content = await self._exchange(method, path, query, body, content_type)
            code = str(status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"{what}: {cause(error)}") from error
        finally:
            self._metrics.api_requests.labels(method, resource, code).inc()
        if status >= 400:
            raise ERRORS.get(status, Refused)(what, status, _message(content))
        return _document(what, status, content)

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Document | None, content_type: str
    ) -> tuple[int, bytes]:
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": JSON, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._client.call_api(*request, _request_timeout=self._timeout)
        return response.status, await response.read()


def _document(what: str, status: int, content: bytes) -> Document:
    """The object that the API server sends; a load balancer before it may have a page of its own to show."""
    try:
        document: Any = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unreachable(f"{what}: {status}, but no JSON object: {_start(content)}")
    return document


def _message(content: bytes) -> str:
    """The message of a Status object, or the start of whatever a proxy in between said."""
    try:
        status: Any = json.loads(content)
    except ValueError:
        status = None
    if isinstance(status, dict) and "message" in status:
        return str(status["message"])
    return _start(content)


def _start(content: bytes) -> str:
    return content[:200].decode(errors="replace")
