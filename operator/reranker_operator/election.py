"""Lets one of several operators act at a time: whoever holds the Lease works, the others wait.

A holder stops before its Lease can run out for the others, even if the API server hangs in the middle of a write: what
was sent by then still loses to whoever acts next, for every write names the version that it was decided on.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from reranker_operator import lease
from reranker_operator.api import Api
from reranker_operator.errors import Conflict, NotFound, OperatorError
from reranker_operator.lease import Pace, Sight
from reranker_operator.paths import LEASES, objects_path
from reranker_operator.world.names import Document

log = structlog.get_logger(__name__)

RESOURCE = "leases"
#: A process that leaves shouldn't hang on an API server that does: the Lease then runs out by itself.
GIVE_BACK_S = 2.0

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Candidacy:
    """For which Lease, as <namespace>/<name>, by which name, and how fast."""

    lease: str
    identity: str
    pace: Pace


class Election:
    """One candidate for one Lease; while it waits, `asked` is told whether the API server answers."""

    def __init__(
        self, api: Api, candidacy: Candidacy, clock: Callable[[], float], asked: Callable[[bool], None]
    ) -> None:
        namespace, _, self._name = candidacy.lease.partition("/")
        self._leases = objects_path(LEASES, namespace, RESOURCE)
        self._api = api
        self._identity = candidacy.identity
        self._pace = candidacy.pace
        self._clock = clock
        self._asked = asked
        self._seen: Sight | None = None
        self._held: Document | None = None
        self._held_since = 0.0

    async def lead(self, work: Work) -> None:
        """Run `work` for as long as the Lease is ours, as often as it becomes so; ends only by being cancelled."""
        while True:
            await self._repeat(self._take)
            log.info("this operator leads", lease=self._name, identity=self._identity)
            try:
                await self._first_of(work(), self._keep())
            finally:
                await self._give_back()
            log.warning("this operator leads no more", lease=self._name, identity=self._identity)

    async def _first_of(self, *both: Coroutine[Any, Any, None]) -> None:
        """Run both until one ends, which cancels the other; raises what the ended one raised."""
        tasks = [asyncio.create_task(each) for each in both]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self) -> None:
        """Renew the Lease until that fails for too long, or somebody else has it."""
        while self._held is not None:
            await asyncio.sleep(self._pace.retry_s)
            try:
                async with asyncio.timeout(self._held_since + self._pace.give_up_s - self._clock()):
                    await self._repeat(self._renew)
            except TimeoutError:
                self._held = None
                log.warning("the Lease couldn't be renewed in time", lease=self._name)

    async def _repeat(self, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Try until an attempt succeeds."""
        while True:
            if await self._answered(attempt):
                return
            await asyncio.sleep(self._pace.retry_s)

    async def _answered(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        try:
            done = await attempt()
        except OperatorError as error:
            self._tell(answered=False)
            log.warning("the Lease couldn't be had", lease=self._name, error=str(error))
            return False
        self._tell(answered=True)
        return done

    def _tell(self, *, answered: bool) -> None:
        if self._held is None:
            self._asked(answered)

    async def _take(self) -> bool:
        """Take the Lease if it is free; whether it is ours now."""
        try:
            live = await self._api.get(RESOURCE, self._path)
        except NotFound:
            live = None
        if live is not None:
            self._seen = lease.sight(live, self._seen, self._clock())
            if not lease.is_free(live, self._identity, self._seen, self._clock()):
                return False
        return await self._write(live)

    async def _renew(self) -> bool:
        """Renew the Lease, or see it lost; whether there is no more to try."""
        held = self._held
        if held is None:
            return True
        try:
            if await self._write(held):
                return True
            live = await self._api.get(RESOURCE, self._path)
        except NotFound:
            live = {}
        # Still ours where an answer got lost, or where somebody wrote into it without taking it.
        self._held = live if lease.holder(live) == self._identity else None
        return self._held is None

    async def _write(self, live: Document | None) -> bool:
        """Write ourselves into the Lease as it was read; False where somebody was faster."""
        sent_at = self._clock()
        spec = lease.taken(live, self._identity, self._pace, datetime.now(UTC))
        try:
            self._held = await self._create(spec) if live is None else await self._merge(live, spec)
        except Conflict:
            return False
        self._held_since = sent_at
        return True

    async def _create(self, spec: Document) -> Document:
        return await self._api.create(RESOURCE, self._leases, {"metadata": {"name": self._name}, "spec": spec})

    async def _merge(self, live: Document, spec: Document) -> Document:
        body = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "spec": spec}
        return await self._api.merge(RESOURCE, self._path, body)

    async def _give_back(self) -> None:
        """Let the next one begin at once, where the Lease is still ours."""
        held, self._held = self._held, None
        if held is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_BACK_S):
                try:
                    await self._merge(held, lease.given_back(datetime.now(UTC)))
                except OperatorError as error:
                    log.warning("the Lease couldn't be given back", lease=self._name, error=str(error))

    @property
    def _path(self) -> str:
        return f"{self._leases}/{self._name}"
