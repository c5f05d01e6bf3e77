"""What one reconcile after the other remembers of a candidate's trial, and what it tells where it can't act."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from reranker_operator import shadow
from reranker_operator.cluster import Cluster
from reranker_operator.errors import (
    Conflict,
    Invalid,
    NotFound,
    OperatorError,
    Refused,
    Unreachable,
    UnreadableSpec,
)
from reranker_operator.judge import Judge
from reranker_operator.reconcile import POLL_MAX_S, POLL_STALLED_MAX_S, Outcome, Reconciler
from reranker_operator.worker_client import WorkerClient
from reranker_operator.world.actions import Event
from reranker_operator.world.colours import Colour
from reranker_operator.world.facts import condition
from reranker_operator.world.names import Document, Key
from reranker_operator.world.reports import WorkerReport
from reranker_operator.world.state import Kind, Pod, World
from reranker_operator.world.trials import Answer, Figures, LiveSample, Passed, Seat
from tests.unit.operator.test_blue_green import filled
from tests.unit.operator.worlds import (
    KEY,
    ONE,
    SETTINGS,
    TWO,
    applied,
    edited,
    empty,
    goal,
    golden_gate,
    late,
    model,
    revision,
    serving_world,
    with_pods,
)

R1, R2 = revision(ONE), revision(TWO)
GATED = golden_gate(minNDCG="0.9")
SHADOW = golden_gate(minRankCorrelation="0.8", shadow={"percent": 20, "durationSeconds": 120})
#: The candidate ranks documents as they are listed.
EASY = '{"query": "q", "documents": ["a", "b"], "relevance": [1, 0]}'
HARD = '{"query": "q", "documents": ["a", "b"], "relevance": [0, 1]}'


@dataclass
class Fleet:
    """A cluster that shows one world, and its workers."""

    world: World
    golden: str | None = EASY
    refusal: OperatorError | None = None
    refused: dict[Kind, str] = field(default_factory=dict)
    asked: int = 0
    sampled: int = 0
    first_sample: asyncio.Event = field(default_factory=asyncio.Event)
    status: Document = field(default_factory=dict)
    unreadable: UnreadableSpec | None = None
    deleted: bool = False
    events: list[Event] = field(default_factory=list)

    async def observe(self, *_: Any) -> World:
        if self.unreadable is not None:
            raise self.unreadable
        return self.world

    async def pods(self, _: Document) -> tuple[Pod, ...]:
        return self.world.pods

    async def config_text(self, *_: Any) -> str | None:
        return self.golden

    async def execute(self, *_: Any) -> dict[Kind, str]:
        if self.refusal is not None:
            raise self.refusal
        return self.refused

    async def write_status(self, key: Key, resource_version: str, patch: Document) -> None:
        assert (key, resource_version) == (KEY, self.world.model.resource_version)
        if self.deleted:
            raise NotFound(f"PATCH {key}", 404, "not found")
        self.status = patch  # the worlds here have no status before, so it is the whole

    async def emit(self, regarding: Document, event: Event) -> None:
        assert regarding == self.world.model.reference
        self.events.append(event)

    async def reports(self, *_: Any) -> dict[str, WorkerReport]:
        return dict(self.world.reports)

    async def samples(self, *_: Any) -> list[LiveSample]:
        self.sampled += 1
        self.first_sample.set()
        return []

    async def score(self, _seat: Seat, _query: str, documents: Sequence[str]) -> Answer:
        self.asked += 1
        return Answer(tuple(1.0 - place / 10 for place in range(len(documents))), 5.0)


class Days:
    """A reconciler of a fleet; between two reconciles, as much time goes by as the test says."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.now = 0.0
        self._ended = asyncio.Event()
        cluster, workers = cast("Cluster", fleet), cast("WorkerClient", fleet)
        judge = Judge(cluster, workers, lambda: self.now, lambda _: self._ended.set())
        self._reconciler = Reconciler(
            cluster,
            workers,
            judge,
            SETTINGS,
            clock=lambda: self.now,
            on_status=lambda *_: None,
            on_adapters=lambda *_: None,
        )

    async def reconcile(self, world: World, *, after_s: float = 10.0) -> Outcome:
        self.now += after_s
        self.fleet.world = world
        return await self._reconciler.reconcile(KEY)

    async def judged(self, world: World) -> None:
        """Reconcile until the trial that this begins has ended and was heeded."""
        self._ended.clear()
        await self.reconcile(world)
        async with asyncio.timeout(5):
            await self._ended.wait()
        await self.reconcile(world)

    def rejected(self) -> list[str]:
        return [each["reason"] for each in self.fleet.status["revisions"].get("rejected", ())]


def rolling(**spec: Any) -> World:
    """Two pods serve R1; one of R2 has loaded it."""
    world = applied(edited(serving_world(), model(TWO, **(spec or GATED))))
    return with_pods(world, goal(world).template, "c")


def back(**spec: Any) -> World:
    return applied(edited(rolling(**spec), model(ONE, **(spec or GATED))))


def restarting() -> World:
    world = rolling()
    return replace(world, reports={pod: said for pod, said in world.reports.items() if pod != "c"})


MEANWHILE: dict[str, tuple[Callable[[], World], list[str]]] = {
    "it was admitted": (lambda: applied(replace(rolling(), judgement=Passed(Figures()))), ["GateFailed"]),
    "another one was asked for": (back, ["GateFailed"]),
    "there was no gate": (lambda: rolling(rollout={}), ["GateFailed"]),
    "only its pod restarted": (restarting, []),
}


@pytest.mark.parametrize(("meanwhile", "rejected"), MEANWHILE.values(), ids=MEANWHILE.keys())
async def test_a_candidate_that_passed_is_tried_anew_where(meanwhile: Callable[[], World], rejected: list[str]) -> None:
    days = Days(Fleet(rolling()))
    await days.judged(rolling())
    await days.reconcile(meanwhile())
    days.fleet.golden = HARD
    if rejected:
        await days.judged(rolling())
    else:
        await days.reconcile(rolling())
    assert days.rejected() == rejected


async def test_live_queries_are_fetched_no_more_once_another_revision_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadow, "PULL_S", 0.001)
    days = Days(Fleet(rolling(**SHADOW)))
    await days.reconcile(rolling(**SHADOW))
    async with asyncio.timeout(5):
        await days.fleet.first_sample.wait()
    await days.reconcile(back(**SHADOW))
    fetched = days.fleet.sampled
    await asyncio.sleep(0.05)
    assert days.fleet.sampled == fetched


async def test_a_candidate_that_waits_for_its_golden_set_is_admitted_when_that_is_there_long_after_the_deadline() -> (
    None
):
    days = Days(Fleet(late(rolling()), golden=None))
    await days.judged(late(rolling()))
    assert days.rejected() == []
    days.fleet.golden = EASY
    await days.judged(late(rolling()))
    candidate = days.fleet.status["revisions"]["candidate"]
    assert (candidate["name"], candidate["phase"], days.rejected()) == (R2, "Admitted", [])


async def test_a_candidate_that_was_rejected_is_asked_nothing_more() -> None:
    days = Days(Fleet(rolling(), golden=HARD))
    await days.judged(rolling())
    asked, world = days.fleet.asked, rolling()
    await days.reconcile(replace(world, model=replace(world.model, status=days.fleet.status)))
    assert (days.rejected(), days.fleet.asked) == (["GateFailed"], asked)


DEPLOYMENT = "PATCH /apis/apps/v1/namespaces/search/deployments/bge"
POLICY = Refused(DEPLOYMENT, 403, 'admission webhook "policy" denied the request: no label team')
TOLD: dict[str, tuple[Callable[[], World], Refused, str]] = {
    "a new model's": (lambda: empty(model()), POLICY, "False"),
    "an edited model's": (lambda: edited(serving_world(), model(TWO)), POLICY, "True"),
    "one that isn't valid": (lambda: edited(serving_world(), model(TWO)), Invalid(DEPLOYMENT, 422, "image"), "True"),
}


@pytest.mark.parametrize(("make", "refusal", "available"), TOLD.values(), ids=TOLD.keys())
async def test_a_refused_object_is_told_in_the_api_servers_words(
    make: Callable[[], World], refusal: Refused, available: str
) -> None:
    days = Days(Fleet(make(), refusal=refusal))
    with pytest.raises(Refused, match=refusal.message):
        await days.reconcile(make())
    status = days.fleet.status
    said = {(c["type"], c["status"]): c["reason"] for c in status["conditions"]}
    assert (said["Ready", "False"], said["Stalled", "True"]) == ("Refused", "Refused")
    assert condition(status, "Available")["status"] == available
    assert refusal.message in condition(status, "Ready")["message"]
    assert status["observedGeneration"] == make().model.generation


PASSING = {
    "somebody wrote in between": Conflict(DEPLOYMENT, 409, "modified"),
    "somebody deleted it meanwhile": NotFound(DEPLOYMENT, 404, "not found"),
    "the API server is in trouble": Refused(DEPLOYMENT, 503, "etcd"),
    "more is asked of the API server than it takes on": Refused(DEPLOYMENT, 429, "too many requests"),
    "the API server is away": Unreachable(DEPLOYMENT),
}


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING.keys())
async def test_what_passes_by_itself_is_told_in_no_status(error: OperatorError) -> None:
    days = Days(Fleet(serving_world(), refusal=error))
    with pytest.raises(type(error)):
        await days.reconcile(edited(serving_world(), model(TWO)))
    assert days.fleet.status == {}


def failed() -> World:
    """A first revision that can't be loaded."""
    world = applied(empty(model()))
    return with_pods(world, goal(world).template, "a", "b", phase="Failed", reason="MissingHead", message="no head")


PACES: dict[str, tuple[Callable[[], World], dict[Kind, str], float | None]] = {
    "it serves": (serving_world, {}, None),
    "it converges": (lambda: applied(empty(model())), {}, POLL_MAX_S),
    "it is Stalled": (failed, {}, POLL_STALLED_MAX_S),
    "it serves, and an accessory was refused": (serving_world, {Kind.HTTP_ROUTE: "no"}, POLL_STALLED_MAX_S),
}


@pytest.mark.parametrize(("make", "refused", "pause_s"), PACES.values(), ids=PACES.keys())
async def test_a_model_is_looked_at_again_after_at_most(
    make: Callable[[], World], refused: dict[Kind, str], pause_s: float | None
) -> None:
    days = Days(Fleet(make(), refused=refused))
    await days.reconcile(make())
    told = replace(make(), model=replace(make().model, status=days.fleet.status))
    for _ in range(30):
        outcome = await days.reconcile(told)
    assert outcome == Outcome(changed=False, again_s=pause_s)


async def test_where_nothing_could_be_written_no_revision_is_admitted_and_no_service_turned() -> None:
    days = Days(Fleet(serving_world(), refusal=POLICY))
    loaded = rolling(rollout={})
    assert R2 in goal(loaded).manifest.admitted
    with pytest.raises(Refused):
        await days.reconcile(loaded)
    assert days.fleet.status["revisions"]["candidate"]["phase"] == "Loaded"
    turning = filled()
    assert goal(turning).flip.active is Colour.GREEN
    with pytest.raises(Refused):
        await days.reconcile(turning)
    assert "fleet" not in days.fleet.status
    assert days.fleet.status["selector"].endswith("blue")


def unreadable(**status: Any) -> UnreadableSpec:
    """The stored model has a spec of another version."""
    stored = model()
    identity = {"namespace": KEY.namespace, "name": KEY.name, "uid": stored.uid}
    metadata = {**identity, "generation": 2, "resourceVersion": stored.resource_version}
    return UnreadableSpec({"metadata": metadata, "status": status}, "spec.source: Field required")


FAILED = {"revisions": {"candidate": {"name": R2, "phase": "Failed", "message": "no head"}}}


@pytest.mark.parametrize("status", [{}, FAILED], ids=["a new model's", "one whose revision failed"])
async def test_a_spec_that_cannot_be_read_is_told_in_the_status_and_in_an_event(status: Document) -> None:
    days = Days(Fleet(serving_world(), unreadable=unreadable(**status)))
    assert (await days.reconcile(serving_world())).changed
    assert condition(days.fleet.status, "Stalled")["reason"] == "InvalidSpec"
    assert days.fleet.events == [Event("Warning", "InvalidSpec", "spec.source: Field required")]
    days.fleet.unreadable = unreadable(**{**status, **days.fleet.status})
    assert not (await days.reconcile(serving_world())).changed
    assert len(days.fleet.events) == 1


@pytest.mark.parametrize("error", [None, unreadable()], ids=["", "its spec can't be read"])
async def test_a_model_that_is_deleted_before_its_status_is_written_is_no_failure(error: UnreadableSpec | None) -> None:
    days = Days(Fleet(serving_world(), unreadable=error, deleted=True))
    assert not (await days.reconcile(serving_world())).changed
    assert days.fleet.events == []
