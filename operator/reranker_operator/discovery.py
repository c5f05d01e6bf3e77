"""Which APIs the API server serves: KEDA and others come with CRDs that a cluster may have or not."""

from collections.abc import Callable

from reranker_operator.api import Api

#: Within this time after an API was installed it is used.
KEPT_S = 30.0


class Discovery:
    """Asks once in a while, for all models."""

    def __init__(self, api: Api, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._apis: frozenset[str] = frozenset()
        self._asked_at = -KEPT_S

    async def apis(self) -> frozenset[str]:
        """What is served, as groups and as group/version; the core group isn't named."""
        now = self._clock()
        if now - self._asked_at >= KEPT_S:
            groups = (await self._api.get("apis", "/apis"))["groups"]
            versions = {version["groupVersion"] for group in groups for version in group["versions"]}
            self._apis = frozenset({*versions, *(group["name"] for group in groups)})
            self._asked_at = now
        return self._apis
