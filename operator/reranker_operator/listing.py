"""Lists one kind in the namespaces that are watched: one that the operator may not read holds up no other."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from reranker_operator.api import Api
from reranker_operator.errors import Refused
from reranker_operator.paths import objects_path
from reranker_operator.world.names import Document

FORBIDDEN = 403

log = structlog.get_logger("listing")


class Listing:
    """The objects of a kind; namespaces: where to look for them, everywhere when there are none given.

    A namespace that is deleted, with the operator's rights in it, or not made yet, is left out until it can be read.
    """

    def __init__(self, api: Api, prefix: str, plural: str, namespaces: Sequence[str]) -> None:
        self._api = api
        self._plural = plural
        self._scopes = {each: objects_path(prefix, each, plural) for each in namespaces}
        self._everywhere = f"{prefix}/{plural}"
        self.unreadable: frozenset[str] = frozenset()

    async def items(self, query: Mapping[str, str] | None = None) -> list[Document]:
        """All that can be read; raises OperatorError where nothing can, and where the API server is away."""
        if not self._scopes:
            return list((await self._api.get(self._plural, self._everywhere, query))["items"])
        lists = await asyncio.gather(*(self._listed(path, query) for path in self._scopes.values()))
        answers = dict(zip(self._scopes, lists, strict=True))
        refusals = {namespace: answer for namespace, answer in answers.items() if isinstance(answer, Refused)}
        if len(refusals) == len(answers):
            raise next(iter(refusals.values()))
        self._tell(refusals)
        return [live for answer in lists if not isinstance(answer, Refused) for live in answer["items"]]

    async def _listed(self, path: str, query: Mapping[str, str] | None) -> Document | Refused:
        try:
            return await self._api.get(self._plural, path, query)
        except Refused as error:
            if error.status != FORBIDDEN:
                raise
            return error

    def _tell(self, refusals: Mapping[str, Refused]) -> None:
        for namespace in sorted(refusals.keys() - self.unreadable):
            log.warning("a watched namespace can't be read", namespace=namespace, error=str(refusals[namespace]))
        for namespace in sorted(self.unreadable - refusals.keys()):
            log.info("a watched namespace can be read again", namespace=namespace)
        self.unreadable = frozenset(refusals)
