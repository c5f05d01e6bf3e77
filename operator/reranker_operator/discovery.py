"""What the API server serves, which clusters have or lack: KEDA and others by CRDs, image volumes by a feature gate."""

from collections.abc import Callable

import structlog

from reranker_operator.api import Api
from reranker_operator.errors import Refused
from reranker_operator.paths import APPS, objects_path
from reranker_operator.world.names import MANAGER, Document

#: Within this time after an API was installed it is used.
KEPT_S = 30.0
#: The same for image volumes: the API server restarts for them.
ABSENCE_KEPT_S = 600.0

log = structlog.get_logger("discovery")


class Discovery:
    """Asks once in a while, for all models."""

    def __init__(self, api: Api, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._apis: frozenset[str] = frozenset()
        self._asked_at = -KEPT_S
        self._image_volumes = False
        self._probed_at = -ABSENCE_KEPT_S

    async def apis(self) -> frozenset[str]:
        """What is served, as groups and as group/version; the core group isn't named."""
        now = self._clock()
        if now - self._asked_at >= KEPT_S:
            groups = (await self._api.get("apis", "/apis"))["groups"]
            versions = {version["groupVersion"] for group in groups for version in group["versions"]}
            self._apis = frozenset({*versions, *(group["name"] for group in groups)})
            self._asked_at = now
        return self._apis

    async def image_volumes(self, namespace: str) -> bool:
        """Whether image volumes are kept. Without the feature gate they are dropped in silence, as a dry run shows.

        namespace: where the dry run is tried; the answer is the cluster's.
        Once they are there they stay: while API servers are replaced, some may have the gate and others not.
        """
        if not self._image_volumes and self._clock() - self._probed_at >= ABSENCE_KEPT_S:
            self._image_volumes = await self._probe(namespace)
            self._probed_at = self._clock()
        return self._image_volumes

    async def _probe(self, namespace: str) -> bool:
        path = objects_path(APPS, namespace, "deployments")
        try:
            kept = await self._api.create("deployments", path, _PROBE, dry_run=True)
        except Refused as error:
            if error.outage:
                raise
            log.warning("whether there are image volumes can't be told; the worker fetches", error=str(error))
            return False
        volumes = kept["spec"]["template"]["spec"].get("volumes") or ()
        found = any("image" in volume for volume in volumes)
        log.info("image volumes are there" if found else "no image volumes, by their feature gate; the worker fetches")
        return found


_LABELS = {"app.kubernetes.io/name": f"{MANAGER}-probe"}
_PROBE: Document = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": f"{MANAGER}-probe", "labels": _LABELS},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": _LABELS},
            "spec": {
                "containers": [{"name": "probe", "image": "probe"}],
                "volumes": [{"name": "probe", "image": {"reference": "probe"}}],
            },
        },
    },
}
