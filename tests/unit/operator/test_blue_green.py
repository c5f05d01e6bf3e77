"""Two fleets and one Service: what is made where, when the Service turns, what is kept, and the way back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.decisions.plan import plan
from reranker_operator.status import conditions, progress
from reranker_operator.status.transitions import events
from reranker_operator.world.actions import Announce, Apply, Remove, Resize
from reranker_operator.world.colours import Colour, Flip, flip, text
from reranker_operator.world.mounts import Mounts
from reranker_operator.world.names import FLIP_ANNOTATION, Document
from reranker_operator.world.reports import AdapterReport
from reranker_operator.world.state import DEPLOYMENTS, Kind, Pod, Target, World
from reranker_operator.world.trials import Failed, Figures, Passed
from tests.unit.operator import test_in_place as in_place
from tests.unit.operator.worlds import (
    LEGAL,
    LEGAL_TWO,
    ONE,
    THREE,
    TWO,
    adapter_revision,
    applied,
    edited,
    empty,
    goal,
    golden_gate,
    model,
    revision,
    serving_world,
    with_pods,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BLUE, GREEN = Colour.BLUE, Colour.GREEN
R1, R2, R3 = revision(ONE), revision(TWO), revision(THREE)
BLUE_GREEN: dict[str, Any] = {"rollout": {"strategy": "BlueGreen"}}
KEEP = timedelta(seconds=300)


def asked(uri: str = TWO, start: World | None = None, **spec: Any) -> World:
    """Two blue pods serve R1; another revision is asked for."""
    world = edited(start or serving_world(), model(uri, **{**BLUE_GREEN, **spec}))
    return replace(world, now=start.now if start is not None else NOW)


def made(world: World) -> World:
    """What was decided is written, and the controller of the second fleet has seen it."""
    return observed(applied(world))


def observed(world: World, available: int = 0) -> World:
    """The controllers say that so many pods of the fleet that comes are available, and all of the other."""
    coming = goal(world).home
    children = dict(world.children)
    for fleet, kind in DEPLOYMENTS.items():
        if kind in children:
            number = available if fleet is coming else world.model.spec.pods
            children[kind] = {**children[kind], "status": {"availableReplicas": number}}
    return replace(world, children=children)


def coming(start: World | None = None, *names: str, **entry: Any) -> World:
    """Pods of the second fleet have been made."""
    world = made(start or asked())
    found = goal(world)
    return with_pods(world, found.template, *(names or ("c", "d")), fleet=found.home, **entry)


def filled(start: World | None = None) -> World:
    """Every pod of the second fleet has loaded, was admitted, and is ready."""
    loaded = coming(start)
    admitted = applied(loaded)
    target = goal(admitted)
    old = tuple(pod for pod in admitted.pods if pod.fleet is not target.home)
    again = with_pods(replace(admitted, pods=old), target.template, "c", "d", fleet=target.home)
    return observed(again, available=2)


def flipped(start: World | None = None, *, after: timedelta = timedelta(0)) -> World:
    """The Service has turned, and all that follows from that at once is written and read."""
    world = applied(filled(start))
    world = read(applied(world))
    return replace(world, now=world.now + after)


def read(world: World) -> World:
    """Every worker has read the manifest."""
    assert world.manifest is not None
    number = world.manifest.generation
    return replace(world, reports={pod: replace(r, observed_generation=number) for pod, r in world.reports.items()})


def without(world: World, fleet: Colour) -> World:
    """The pods of a fleet have ended."""
    pods = tuple(pod for pod in world.pods if pod.fleet is not fleet)
    return replace(world, pods=pods, reports={pod.name: world.reports[pod.name] for pod in pods})


def service(target: Target) -> str:
    return str(target.children[Kind.SERVICE]["spec"]["selector"]["reranker.dev/fleet"])


def writes(world: World) -> list[str]:
    """What is written, but for what pods are told and for history."""
    actions = plan(world, goal(world))
    return [f"{type(a).__name__} {a.kind}" for a in actions if isinstance(a, Apply | Resize | Remove)]


def ready(world: World) -> tuple[str, str]:
    status = conditions.status(world, goal(world), world.now)
    found: Document = next(c for c in status["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"]


def unready(world: World, name: str) -> World:
    return replace(world, pods=tuple(replace(pod, ready=pod.ready and pod.name != name) for pod in world.pods))


def unadmitted() -> World:
    return coming(asked(rollout={**BLUE_GREEN["rollout"], **golden_gate()["rollout"]}))


STAGES: dict[str, tuple[Callable[[], World], Colour, list[str]]] = {
    "it is asked for": (asked, BLUE, [R1]),
    "no pod of it is there": (lambda: made(asked()), BLUE, [R1]),
    "it loads": (lambda: coming(None, "c", phase="Loading"), BLUE, [R1]),
    "one pod of two has it": (lambda: coming(None, "c"), BLUE, [R1, R2]),
    "both have it, and it isn't judged": (unadmitted, BLUE, [R1]),
    "it passed the gate": (lambda: replace(unadmitted(), judgement=Passed(Figures())), BLUE, [R1, R2]),
    "both are ready, for too short a time": (lambda: observed(filled(), available=1), BLUE, [R1, R2]),
    "both were ready, and one isn't": (lambda: unready(filled(), "d"), BLUE, [R1, R2]),
    "both are ready": (filled, GREEN, [R1, R2]),
    "it answers": (flipped, GREEN, [R1, R2]),
}


@pytest.mark.parametrize(("make", "reached", "admitted"), STAGES.values(), ids=STAGES.keys())
def test_a_second_fleet_takes_over_step_by_step(
    make: Callable[[], World], reached: Colour, admitted: list[str]
) -> None:
    found = goal(make())
    assert (found.home, found.flip.active, service(found)) == (GREEN, reached, reached)
    assert sorted(found.manifest.admitted) == sorted(admitted)


def test_the_fleet_that_serves_is_left_alone_while_the_other_one_comes() -> None:
    assert writes(asked()) == ["Apply ConfigMap", "Apply green Deployment"]
    for world in (coming(None, "c", phase="Loading"), unadmitted()):
        assert writes(applied(world)) == []


def test_the_flip_is_one_write_of_the_service_that_tells_where_and_when() -> None:
    world = filled()
    (apply,) = (a for a in plan(world, goal(world)) if isinstance(a, Apply) and a.kind is Kind.SERVICE)
    assert apply.body["spec"]["selector"] == {"reranker.dev/model": "bge", "reranker.dev/fleet": "green"}
    left = goal(serving_world()).template
    assert flip(apply.body["metadata"]["annotations"]["reranker.dev/flip"]) == Flip(GREEN, NOW, left)


def test_a_flip_survives_the_way_through_the_api_and_rubbish_is_as_none() -> None:
    turn = Flip(GREEN, NOW, "t-1")
    assert flip(text(turn)) == turn
    for rubbish in (None, "", "{", "[]", '{"active": "red"}', '{"active": "green", "at": null, "left": ""}'):
        assert flip(rubbish) is None


def test_nothing_is_left_to_write_while_the_old_fleet_is_kept_and_then_it_goes() -> None:
    assert plan(flipped(), goal(flipped())) == ()
    assert plan(flipped(after=KEEP - timedelta(seconds=1)), goal(flipped(after=KEEP - timedelta(seconds=1)))) == ()
    late = flipped(after=KEEP)
    assert writes(late) == ["Remove Deployment"]
    gone = applied(without(applied(late), BLUE))
    assert Kind.DEPLOYMENT not in gone.children
    assert [m.revision for m in goal(gone).manifest.models] == [R2]
    assert writes(gone) == []


def test_the_old_fleet_is_not_kept_longer_than_asked_but_never_goes_in_the_write_that_turns_the_service() -> None:
    world = filled(asked(rollout={**BLUE_GREEN["rollout"], "blueGreen": {"keepSeconds": 0}}))
    assert "Apply Service" in writes(world)
    assert not any(write.startswith("Remove") for write in writes(world))
    assert "Remove Deployment" in writes(applied(world))


def test_pods_that_the_service_left_are_told_to_close_their_connections() -> None:
    old = goal(serving_world()).template
    assert goal(filled()).manifest.parked == ()
    assert goal(flipped()).manifest.parked == (old,)


def back(after: timedelta = timedelta(seconds=60)) -> World:
    """R1 is asked for again while its fleet is kept."""
    return asked(ONE, observed(flipped(after=after), available=2))


def test_the_way_back_is_a_flip_at_once() -> None:
    world = observed(back(), available=2)
    found = goal(world)
    assert (found.home, service(found), found.revision) == (BLUE, BLUE, R1)
    assert "Apply Service" in writes(world)
    template = found.children[Kind.DEPLOYMENT]["spec"]["template"]
    assert template == serving_world().children[Kind.DEPLOYMENT]["spec"]["template"]
    status = conditions.status(world, found, world.now)
    assert status["fleet"] == {
        "active": "blue",
        "since": "2026-01-02T03:05:05Z",
        "kept": R2,
        "keptUntil": "2026-01-02T03:10:05Z",
    }


def swapped() -> World:
    """The blue pods were made for R1 and swapped in place to R2; then a green fleet came with R3, and blue is kept."""
    kept = replace(in_place.swapped(), now=NOW)
    return flipped(asked(THREE, kept), after=timedelta(seconds=60))


def evicted(world: World) -> World:
    """The kept pods ended and were made again, and the operator wrote what it decided while none was there."""
    return replace(applied(without(world, BLUE)), pods=world.pods, reports=world.reports)


SWAPPED: dict[str, Callable[[], World]] = {
    "its pods are those that swapped": swapped,
    "its pods were evicted and made again": lambda: evicted(swapped()),
}


@pytest.mark.parametrize("make", SWAPPED.values(), ids=SWAPPED.keys())
def test_the_way_back_to_a_fleet_that_swapped_in_place_is_a_flip_at_once_when(make: Callable[[], World]) -> None:
    kept = observed(make(), available=2)
    world = observed(asked(TWO, kept), available=2)
    found = goal(world)
    assert (found.home, service(found), found.revision) == (BLUE, BLUE, R2)
    assert found.children[Kind.DEPLOYMENT]["spec"]["template"] == kept.children[Kind.DEPLOYMENT]["spec"]["template"]
    there = read(applied(applied(world)))
    assert plan(there, goal(there)) == ()
    assert {pod.template for pod in there.pods if pod.fleet is BLUE} == {goal(there).template}


def test_the_way_back_and_forth_ends_with_nothing_to_write() -> None:
    world = read(applied(applied(observed(back(), available=2))))
    assert plan(world, goal(world)) == ()
    assert goal(world).manifest.parked == (goal(flipped()).template,)


def test_after_the_time_the_way_back_is_a_fleet_like_any_other() -> None:
    late = flipped(after=KEEP)
    gone = applied(without(applied(late), BLUE))
    world = asked(ONE, gone)
    assert (goal(world).home, service(goal(world))) == (BLUE, GREEN)
    assert writes(world) == ["Apply ConfigMap", "Apply Deployment"]


def overtaken() -> World:
    """R3 is asked for while the fleet of R2 is ready but for one pod."""
    return edited(observed(filled(), available=1), model(THREE, **BLUE_GREEN))


def test_a_revision_that_is_overtaken_never_answers() -> None:
    world = replace(overtaken(), now=NOW)
    found = goal(world)
    assert (found.home, service(found)) == (GREEN, BLUE)
    deployment = found.children[Kind.GREEN_DEPLOYMENT]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "100%"}
    world = applied(world)
    mixed = with_pods(world, found.template, "e", "f", fleet=GREEN)
    assert service(goal(observed(mixed, available=2))) == BLUE
    ending = tuple(replace(pod, terminating=pod.name in "cd", ready=pod.name not in "cd") for pod in mixed.pods)
    assert service(goal(observed(replace(mixed, pods=ending), available=2))) == BLUE


def test_an_edit_back_to_what_serves_removes_the_fleet_that_came() -> None:
    world = edited(filled(), model(ONE, **BLUE_GREEN))
    assert (goal(world).home, service(goal(world))) == (BLUE, BLUE)
    assert "Remove green Deployment" in writes(world)


def test_a_fleet_that_is_kept_gives_way_to_the_next_revision() -> None:
    world = asked(THREE, flipped())
    found = goal(world)
    assert (found.home, service(found)) == (BLUE, GREEN)
    assert writes(world) == ["Apply ConfigMap", "Apply Deployment"]
    assert conditions.status(world, found, NOW)["fleet"].get("kept") == R1
    assert "kept" not in conditions.status(applied(world), goal(applied(world)), NOW)["fleet"]


def test_a_rejected_fleet_goes_and_the_old_one_serves_on() -> None:
    failed = Failed("GateFailed", "nDCG@10 is 0.5000, at least 0.6 is asked", Figures(ndcg=0.5))
    world = replace(unadmitted(), judgement=failed)
    found = goal(world)
    assert (found.revision, found.home, service(found)) == (R1, BLUE, BLUE)
    assert [each.reason for each in found.rejections] == ["GateFailed"]
    assert "Remove green Deployment" in writes(world)
    template = found.children[Kind.DEPLOYMENT]["spec"]["template"]
    assert template == serving_world().children[Kind.DEPLOYMENT]["spec"]["template"]


def test_a_fleet_that_makes_no_progress_is_rejected() -> None:
    world = coming(None, "c", phase="Loading")
    entry = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    late = {**world.children[Kind.GREEN_DEPLOYMENT], "status": {"conditions": [entry]}}
    world = replace(world, children={**world.children, Kind.GREEN_DEPLOYMENT: late})
    assert [each.reason for each in goal(world).rejections] == ["ProgressDeadlineExceeded"]


def roomless(action: str, *, waited_s: int = 120) -> World:
    """One green pod is ready, and no node has had room for the other one for so long."""
    rollout = {**BLUE_GREEN["rollout"], "onUnschedulable": {"action": action}}
    world = unready(filled(asked(rollout=rollout)), "d")
    world = replace(world, pods=tuple(pod for pod in world.pods if pod.name != "d"))
    waiting = Pod("d", goal(world).template, GREEN, mounts=Mounts(("models",)), unschedulable_since=NOW)
    return replace(world, pods=(*world.pods, waiting), now=NOW + timedelta(seconds=waited_s))


def test_a_fleet_without_room_is_waited_for_as_long_as_the_spec_says() -> None:
    for world in (roomless("Wait", waited_s=9999), roomless("InPlace", waited_s=119), roomless("Abort", waited_s=119)):
        assert (goal(world).home, goal(world).rejections) == (GREEN, ())


def test_no_room_for_a_fleet_turns_into_a_swap_in_the_pods_that_serve() -> None:
    world = roomless("InPlace")
    found = goal(world)
    assert (found.home, service(found), found.template) == (BLUE, BLUE, goal(serving_world()).template)
    assert found.manifest.candidates == {found.template: R2}
    assert "Remove green Deployment" in writes(world)
    later = without(applied(world), GREEN)
    assert goal(later).manifest.candidates == {found.template: R2}
    early = roomless("InPlace", waited_s=1)
    before = conditions.status(early, goal(early), NOW)
    known = replace(world, model=replace(world.model, status=before))
    assert "NoRoomForPod" in [event.reason for event in events(before, conditions.status(known, goal(known), NOW))]


def test_no_room_ends_the_attempt_where_it_is_to_be_aborted() -> None:
    found = goal(roomless("Abort"))
    assert [each.reason for each in found.rejections] == ["Unschedulable"]
    assert (found.home, found.revision) == (BLUE, R1)


def never_served() -> World:
    world = applied(empty(model(**BLUE_GREEN)))
    return with_pods(world, goal(world).template, "a", phase="Failed")


ROLLED: dict[str, Callable[[], World]] = {
    "the strategy is RollingUpdate": lambda: asked(rollout={}),
    "the strategy is changed while the second fleet comes": lambda: asked(start=coming(None, "c"), rollout={}),
    "only something else of the pods changes": lambda: asked(ONE, resources={"limits": {"cpu": "2"}}),
    "there are to be no pods": lambda: asked(replicas=0),
    "nothing serves yet": lambda: asked(start=never_served()),
}


@pytest.mark.parametrize("make", ROLLED.values(), ids=ROLLED.keys())
def test_the_fleet_that_clients_reach_is_rolled_instead_when(make: Callable[[], World]) -> None:
    found = goal(make())
    assert (found.home, service(found)) == (BLUE, BLUE)
    assert found.children[Kind.DEPLOYMENT]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_another_strategy_goes_on_with_the_fleet_that_serves_and_keeps_no_other() -> None:
    world = edited(flipped(), model(TWO))
    assert writes(world) == ["Remove Deployment"]
    world = edited(flipped(), model(THREE))
    assert (goal(world).home, service(goal(world))) == (GREEN, GREEN)


def test_both_fleets_get_the_number_of_pods_that_is_asked_for() -> None:
    for world in (edited(coming(None, "c"), model(TWO, replicas=3, **BLUE_GREEN)), asked(start=flipped(), replicas=3)):
        found = goal(world)
        sized = [a for a in plan(world, found) if isinstance(a, Resize)]
        assert [a.body["spec"] for a in sized] == [{"replicas": 3}]
        assert [a.body["metadata"]["resourceVersion"] for a in sized] == ["7"]
        assert found.children[Kind.GREEN_DEPLOYMENT]["spec"]["replicas"] == 3
        assert not [a for a in plan(applied(world), goal(applied(world))) if isinstance(a, Resize)]


def test_a_fleet_that_is_scaled_up_while_it_comes_waits_for_the_new_pods_too() -> None:
    world = observed(applied(edited(filled(), model(TWO, replicas=3, **BLUE_GREEN))), available=2)
    assert service(goal(world)) == BLUE


def test_adapters_are_what_the_pods_that_clients_reach_have() -> None:
    world = edited(flipped(), model(TWO, adapters={"legal": LEGAL}, **BLUE_GREEN))
    world = applied(world)
    template = goal(world).template
    old = tuple(pod for pod in world.pods if pod.fleet is BLUE)
    loaded = with_pods(replace(world, pods=old), template, "c", "d", fleet=GREEN)
    assert [a.required for a in goal(loaded).manifest.adapters] == [True]


def test_a_kept_fleet_stays_ready_with_the_adapter_that_fits_its_model_alone_until_it_is_gone() -> None:
    old, new = adapter_revision("legal", LEGAL), adapter_revision("legal", LEGAL_TWO)
    start = serving_world(model(adapters={"legal": LEGAL}))
    turned = flipped(asked(start=start, adapters={"legal": LEGAL_TWO}))
    answers = {"a": old, "b": old, "c": new, "d": new}
    said = {
        pod: replace(turned.reports[pod], adapters=(AdapterReport("legal", entry, "Loaded"),))
        for pod, entry in answers.items()
    }
    world = replace(turned, reports=said)
    assert [(a.revision, a.required) for a in goal(world).manifest.adapters] == [(new, True), (old, True)]
    assert goal(world).manifest.parked
    left = without(world, BLUE)
    assert [(a.revision, a.required) for a in goal(left).manifest.adapters] == [(new, True)]


def test_an_adapter_that_fails_on_a_pod_that_is_only_kept_is_not_told_of() -> None:
    world = applied(edited(flipped(), model(TWO, adapters={"legal": LEGAL}, **BLUE_GREEN)))
    failed = AdapterReport("legal", adapter_revision("legal", LEGAL), "Failed", "AdapterBaseMismatch", "another base")
    told = {name: replace(world.reports[name], adapters=(failed,)) for name in world.reports}

    def reason(where: Colour) -> str | None:
        said = {pod.name: told[pod.name] for pod in world.pods if pod.fleet is where}
        seen = replace(world, reports={**world.reports, **said})
        found: str | None = conditions.status(seen, goal(seen), NOW)["adapters"][0].get("reason")
        return found

    assert (reason(BLUE), reason(GREEN)) == (None, "AdapterBaseMismatch")


def test_the_manifest_names_the_kept_revision_while_its_pods_are_being_made_again() -> None:
    found = goal(without(flipped(), BLUE)).manifest
    assert {m.revision for m in found.models} == set(found.admitted) == {R1, R2}


def told(world: World) -> World:
    """What was decided is written, and the status tells of it."""
    status = conditions.status(world, goal(world), world.now)
    written = applied(world)
    return replace(written, model=replace(written.model, status=status))


def annotated(world: World, flip: str | None) -> World:
    """Someone wrote that into the place of the Service's flip."""
    live = world.children[Kind.SERVICE]
    annotations = {k: v for k, v in live["metadata"]["annotations"].items() if k != FLIP_ANNOTATION}
    annotations |= {FLIP_ANNOTATION: flip} if flip is not None else {}
    edit = {**live, "metadata": {**live["metadata"], "annotations": annotations}}
    return replace(world, children={**world.children, Kind.SERVICE: edit})


def serviceless(world: World) -> World:
    return replace(world, children={kind: live for kind, live in world.children.items() if kind is not Kind.SERVICE})


LOST: dict[str, Callable[[World], World]] = {
    "the Service was deleted": serviceless,
    "its flip was taken away": lambda world: annotated(world, None),
    "its flip can't be read": lambda world: annotated(world, "green"),
}
TURNED: dict[str, tuple[Callable[[], World], Colour]] = {
    "green serves and blue is kept": (flipped, GREEN),
    "green serves alone": (lambda: applied(without(applied(flipped(after=KEEP)), BLUE)), GREEN),
    "blue serves again and green is kept": (lambda: read(applied(applied(observed(back(), available=2)))), BLUE),
}


@pytest.mark.parametrize(("make", "reached"), TURNED.values(), ids=TURNED.keys())
@pytest.mark.parametrize("lose", LOST.values(), ids=LOST.keys())
def test_a_service_comes_back_for_good_where_it_pointed_last_when(
    lose: Callable[[World], World], make: Callable[[], World], reached: Colour
) -> None:
    before = told(make())
    lost = lose(before)
    assert (writes(lost), service(goal(lost))) == (["Apply Service"], reached)
    again = told(lost)
    assert again.model.status == before.model.status
    assert goal(again).manifest.parked == goal(before).manifest.parked
    assert (writes(again), goal(again).home, service(goal(again))) == ([], reached, reached)


def test_a_fleet_that_comes_is_not_taken_for_one_that_is_kept_when_the_flip_is_lost() -> None:
    before = told(told(asked(THREE, flipped())))
    lost = serviceless(before)
    assert "kept" not in told(lost).model.status["fleet"]
    assert (goal(told(lost)).home, service(goal(told(lost)))) == (BLUE, GREEN)


def test_a_green_fleet_stays_in_the_status_where_nothing_tells_since_when_it_serves() -> None:
    world = serviceless(told(flipped()))
    world = replace(world, model=replace(world.model, status={"fleet": {"active": "green"}}))
    for _ in range(2):
        world = told(world)
        assert (world.model.status["fleet"], service(goal(world))) == ({"active": "green"}, GREEN)


def test_a_selector_that_someone_edited_is_repaired() -> None:
    world = flipped()
    live = world.children[Kind.SERVICE]
    edit = {**live, "spec": {**live["spec"], "selector": {"reranker.dev/model": "bge"}}}
    broken = replace(world, children={**world.children, Kind.SERVICE: edit})
    assert (writes(broken), service(goal(broken))) == (["Apply Service"], GREEN)


def test_the_status_tells_of_the_candidate_and_of_the_flip() -> None:
    world = coming(None, "c", phase="Loading")
    status = conditions.status(world, goal(world), NOW)
    assert (status["revisions"]["serving"]["name"], status["replicas"], status["readyReplicas"]) == (R1, 2, 2)
    candidate = status["revisions"]["candidate"]
    assert (candidate["name"], candidate["phase"], candidate["strategy"]) == (R2, "Loading", "BlueGreen")
    assert status["selector"] == "reranker.dev/model=bge,reranker.dev/fleet=blue"
    assert ready(flipped()) == ("False", "Flipping")
    assert ready(flipped(after=timedelta(seconds=5))) == ("True", "Serving")
    before, after = (conditions.status(each, goal(each), NOW) for each in (world, flipped()))
    assert {"ServiceFlipped", "RolloutFinished"} <= {event.reason for event in events(before, after)}


def test_ready_waits_for_pods_that_keep_connections_and_not_for_those_that_go() -> None:
    world = applied(applied(filled()))
    behind = read(world)
    said = {**behind.reports, "a": replace(behind.reports["a"], observed_generation=1)}
    behind = replace(behind, reports=said, now=NOW + timedelta(seconds=5))
    assert ready(behind) == ("False", "Flipping")
    served = flipped(after=timedelta(seconds=5))
    status = conditions.status(served, goal(served), served.now)
    late = flipped(after=KEEP)
    late = applied(replace(late, model=replace(late.model, status=status)))
    gone = applied(without(late, BLUE))
    assert any(isinstance(action, Announce) for action in plan(gone, goal(gone)))
    assert progress.blocker(gone, goal(gone)) is None
