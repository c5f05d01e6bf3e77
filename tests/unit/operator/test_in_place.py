"""Swaps without a new pod: what is loaded beside what serves, when it takes over, and when pods are rolled instead."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.decisions.plan import plan
from reranker_operator.objects import serving
from reranker_operator.status import conditions
from reranker_operator.status.transitions import events
from reranker_operator.world.mounts import Mounts
from reranker_operator.world.reports import AdapterReport, ModelReport
from reranker_operator.world.state import Kind, Manifest, Pod, World
from reranker_operator.world.trials import Figures, Passed
from tests.unit.operator.worlds import (
    LEGAL,
    LEGAL_TWO,
    ONE,
    TWO,
    adapter_revision,
    applied,
    edited,
    empty,
    goal,
    golden_gate,
    model,
    reread,
    revision,
    serving_world,
    with_pods,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
R1, R2 = revision(ONE), revision(TWO)
LEGAL_REVISION, LEGAL_TWO_REVISION = adapter_revision("legal", LEGAL), adapter_revision("legal", LEGAL_TWO)
IN_PLACE: dict[str, Any] = {"rollout": {"strategy": "InPlace"}}


def asked(start: World | None = None, **spec: Any) -> World:
    """Two pods serve R1; R2 is asked for."""
    return edited(start or serving_world(), model(TWO, **{**IN_PLACE, **spec}))


def swapping(start: World | None = None, **spec: Any) -> World:
    return applied(asked(start, **spec))


def told(world: World, phases: str | dict[str, str], *, serves: str = R1, adapter: str = "", **entry: Any) -> World:
    """Each pod has read the manifest, answers with `serves` and has come so far with R2."""
    assert world.manifest is not None
    by_pod = dict.fromkeys((pod.name for pod in world.pods), phases) if isinstance(phases, str) else phases
    nested = (
        (AdapterReport("legal", LEGAL_REVISION, adapter, "AdapterBaseMismatch", "another base"),) if adapter else ()
    )
    reports = {
        name: replace(
            world.reports[name],
            observed_generation=world.manifest.generation,
            models=(
                *((ModelReport(R1, "Loaded", admitted=True, serving=True),) if serves == R1 else ()),
                replace(
                    ModelReport(
                        R2, phase, admitted=R2 in world.manifest.admitted, serving=serves == R2, adapters=nested
                    ),
                    **entry,
                ),
            ),
        )
        for name, phase in by_pod.items()
    }
    return replace(world, reports={**world.reports, **reports})


def swapped() -> World:
    """All pods answer with R2."""
    flipping = applied(told(swapping(), "Loaded"))
    return applied(told(applied(told(flipping, "Loaded", serves=R2)), "Loaded", serves=R2))


def legal() -> World:
    return serving_world(model(adapters={"legal": LEGAL}))


def with_legal(adapter: str) -> World:
    return told(swapping(legal(), adapters={"legal": LEGAL}), "Loaded", adapter=adapter)


def gated() -> World:
    return told(swapping(rollout={**IN_PLACE["rollout"], **golden_gate()["rollout"]}), "Loaded")


def manifest(world: World) -> Manifest:
    return goal(world).manifest


BESIDE = "beside"
STAGES: dict[str, tuple[Callable[[], World], str, list[str]]] = {
    "it is asked for": (asked, BESIDE, [R1]),
    "no pod says anything of it": (swapping, BESIDE, [R1]),
    "it loads": (lambda: told(swapping(), "Loading"), BESIDE, [R1]),
    "one pod of two has it": (lambda: told(swapping(), {"a": "Loaded", "b": "Loading"}), BESIDE, [R1]),
    "every pod has it": (lambda: told(swapping(), "Loaded"), R2, [R1, R2]),
    "every pod has it, and it isn't judged": (gated, BESIDE, [R1]),
    "it passed the gate": (lambda: replace(gated(), judgement=Passed(Figures())), R2, [R1, R2]),
    "a required adapter isn't loaded on it": (lambda: with_legal(""), BESIDE, [R1]),
    "a required adapter loads on it": (lambda: with_legal("Loading"), BESIDE, [R1]),
    "the required adapters are loaded on it": (lambda: with_legal("Loaded"), R2, [R1, R2]),
    "a required adapter can't be loaded on it": (lambda: with_legal("Failed"), R1, [R1]),
    "one pod has no memory for it": (
        lambda: told(swapping(), {"a": "Failed", "b": "Loaded"}, reason="OutOfMemory"),
        R1,
        [R1],
    ),
    "its source can't be reached": (lambda: told(swapping(), "Failed", reason="SourceUnreachable"), BESIDE, [R1]),
    "pods still answer with the old one": (lambda: applied(told(swapping(), "Loaded")), R2, [R1, R2]),
    "every pod answers with it": (swapped, R2, [R2]),
}


@pytest.mark.parametrize(("make", "serves", "admitted"), STAGES.values(), ids=STAGES.keys())
def test_a_swap_in_place_goes_step_by_step(make: Callable[[], World], serves: str, admitted: list[str]) -> None:
    before, found = goal(serving_world()), goal(make())
    assert found.template == before.template or serves == R1
    template = found.template
    assert found.manifest.serve == {template: R1 if serves == BESIDE else serves}
    assert found.manifest.candidates == ({template: R2} if serves == BESIDE else {})
    assert list(found.manifest.admitted) == admitted


def test_no_pod_is_replaced_by_it() -> None:
    before = serving_world().children[Kind.DEPLOYMENT]["spec"]["template"]
    for world in (asked(), told(swapping(), "Loaded"), swapped()):
        assert goal(world).children[Kind.DEPLOYMENT]["spec"]["template"] == before


def test_after_it_nothing_is_left_to_write_whatever_the_strategy_is_then() -> None:
    assert plan(swapped(), goal(swapped())) == ()
    rolling = edited(swapped(), model(TWO))
    assert goal(rolling).template == goal(serving_world()).template
    assert (
        plan(replace(rolling, model=replace(rolling.model, generation=swapped().model.generation)), goal(rolling)) == ()
    )


def test_a_pod_that_has_not_flipped_keeps_the_old_revision_in_the_manifest() -> None:
    world = applied(told(swapping(), "Loaded"))
    flipped = told(world, {"a": "Loaded"}, serves=R2)
    assert [m.revision for m in manifest(flipped).models] == [R1, R2]
    assert manifest(flipped).admitted == (R1, R2)


def test_a_manifest_with_a_candidate_survives_the_way_through_the_api() -> None:
    written = manifest(asked())
    assert reread(written) == written
    assert serving.document(written)["candidates"] == dict(written.candidates)
    assert "candidates" not in serving.document(manifest(serving_world()))


def unannotated(world: World) -> World:
    deployment = world.children[Kind.DEPLOYMENT]
    annotations = {k: v for k, v in deployment["metadata"]["annotations"].items() if "inputs" not in k}
    live = {**deployment, "metadata": {**deployment["metadata"], "annotations": annotations}}
    return replace(world, children={**world.children, Kind.DEPLOYMENT: live})


def never_served() -> World:
    world = applied(empty(model()))
    return with_pods(world, goal(world).template, "a", phase="Failed")


ROLLED: dict[str, Callable[[], World]] = {
    "the strategy is RollingUpdate": lambda: asked(rollout={}),
    "something else of the pods changes too": lambda: asked(resources={"limits": {"cpu": "2"}}),
    "it needs a claim that the pods don't mount": lambda: edited(serving_world(), model("pvc://other/two", **IN_PLACE)),
    "there are to be no pods": lambda: asked(replicas=0),
    "nothing serves yet": lambda: asked(never_served()),
    "what the template was made of isn't known": lambda: asked(unannotated(serving_world())),
}


@pytest.mark.parametrize("make", ROLLED.values(), ids=ROLLED.keys())
def test_pods_are_rolled_instead_when(make: Callable[[], World]) -> None:
    found = goal(make())
    assert found.template != goal(serving_world()).template
    assert found.manifest.candidates == {}
    assert found.manifest.serve[found.template] == found.revision


def test_the_key_of_a_template_that_was_swapped_in_place_is_not_made_again_for_its_first_revision() -> None:
    back = edited(swapped(), model(ONE))
    found = goal(back)
    assert found.template != goal(swapped()).template
    assert found.manifest.serve == {goal(swapped()).template: R2, found.template: R1}
    assert goal(applied(back)).template == found.template


def test_a_candidate_without_progress_is_rejected_at_the_deadline() -> None:
    world = told(swapping(), "Downloading")
    world = replace(world, model=replace(world.model, status=conditions.status(world, goal(world), NOW)))
    assert goal(replace(world, now=NOW + timedelta(seconds=899))).rejections == ()
    (rejected,) = goal(replace(world, now=NOW + timedelta(seconds=900))).rejections
    assert (rejected.reason, rejected.message) == ("ProgressDeadlineExceeded", "Downloading for 900 s")


def full(action: str, *, waited_s: int = 120, start: World | None = None) -> World:
    """A roll whose surge pod has found no node for so long."""
    world = applied(edited(start or serving_world(), model(TWO, rollout={"onUnschedulable": {"action": action}})))
    surge = Pod("c", goal(world).template, mounts=Mounts(("models",)), unschedulable_since=NOW)
    return replace(world, pods=(*world.pods, surge), now=NOW + timedelta(seconds=waited_s))


def over_quota(action: str, *, waited_s: int = 120) -> World:
    """A roll whose surge pod the namespace's quota has refused for so long, so that there is none."""
    world = applied(edited(serving_world(), model(TWO, rollout={"onUnschedulable": {"action": action}})))
    refusal = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": 'pods "bge-1" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1',
        "lastTransitionTime": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    live = {**world.children[Kind.DEPLOYMENT], "status": {"observedGeneration": 1, "conditions": [refusal]}}
    children = {**world.children, Kind.DEPLOYMENT: live}
    return replace(world, children=children, now=NOW + timedelta(seconds=waited_s))


def test_a_quota_that_is_used_up_is_no_room_either() -> None:
    assert goal(over_quota("InPlace", waited_s=119)).manifest.candidates == {}
    before = goal(serving_world())
    assert goal(over_quota("InPlace")).manifest.candidates == {before.template: R2}
    (rejected,) = goal(over_quota("Abort")).rejections
    assert rejected.reason == "Unschedulable"
    assert "exceeded quota: gpus" in rejected.message


def test_a_surge_pod_without_room_is_waited_for_as_long_as_the_spec_says() -> None:
    for world in (full("Wait", waited_s=9999), full("InPlace", waited_s=119), full("Abort", waited_s=119)):
        assert goal(world).template == goal(applied(edited(serving_world(), model(TWO)))).template
        assert goal(world).manifest.candidates == {}


def test_no_room_turns_the_roll_into_a_swap_in_the_pods_that_there_are_and_stays_so() -> None:
    world = full("InPlace")
    before, found = goal(serving_world()), goal(world)
    assert found.template == before.template
    assert found.manifest.candidates == {before.template: R2}
    assert found.children[Kind.DEPLOYMENT]["spec"]["template"] == before.children[Kind.DEPLOYMENT]["spec"]["template"]
    later = applied(world)
    later = replace(later, pods=later.pods[:2])
    assert goal(later).manifest.candidates == {before.template: R2}
    done = applied(told(later, "Loaded"))
    assert goal(done).manifest.serve == {before.template: R2}
    assert goal(applied(told(done, "Loaded", serves=R2))).template == before.template


def paired(new: str, old: str = "Failed", *, new_reason: str = "AdapterBaseMismatch", **spec: Any) -> World:
    """R2 is asked for with another adapter; each pod has come so far with that and with the former one on R2."""
    world = told(swapping(legal(), adapters={"legal": LEGAL_TWO}, **spec), "Loaded")
    entries = (
        AdapterReport("legal", LEGAL_TWO_REVISION, new, new_reason if new == "Failed" else "", "as it is"),
        AdapterReport("legal", LEGAL_REVISION, old, "AdapterBaseMismatch" if old == "Failed" else "", "another base"),
    )
    return with_nested(world, entries)


def with_nested(world: World, entries: tuple[AdapterReport, ...]) -> World:
    """Each pod says that of the adapters on R2."""
    return replace(
        world,
        reports={
            name: replace(
                said, models=tuple(replace(m, adapters=entries if m.revision == R2 else ()) for m in said.models)
            )
            for name, said in world.reports.items()
        },
    )


PAIRED: dict[str, tuple[Callable[[], World], list[tuple[str, str]]]] = {
    "the wanted adapter downloads": (lambda: paired("Downloading"), []),
    "the wanted adapter loads": (lambda: paired("Loading"), []),
    "the wanted adapter's source can't be reached": (lambda: paired("Failed", new_reason="SourceUnreachable"), []),
    "the wanted adapter can't be loaded, and the former is on its way": (lambda: paired("Failed", "Loading"), []),
    "none of them can be loaded": (
        lambda: paired("Failed", new_reason="InvalidAdapter"),
        [("InvalidAdapter", "adapter legal on pod a: as it is")],
    ),
}


@pytest.mark.parametrize(("make", "rejected"), PAIRED.values(), ids=PAIRED.keys())
def test_a_candidate_is_rejected_for_an_adapter_once_none_of_its_name_can_be_had_with_it(
    make: Callable[[], World], rejected: list[tuple[str, str]]
) -> None:
    found = goal(make())
    assert [(each.reason, each.message) for each in found.rejections] == rejected
    assert bool(found.manifest.candidates) is not bool(rejected)


def on_what_answers(world: World, phase: str) -> World:
    """Each pod says that of the wanted adapter on R1, which the former one goes on answering for."""
    reason = "AdapterBaseMismatch" if phase == "Failed" else ""
    entries = (
        AdapterReport("legal", LEGAL_TWO_REVISION, phase, reason, "another base"),
        AdapterReport("legal", LEGAL_REVISION, "Loaded"),
    )
    return replace(world, reports={name: replace(said, adapters=entries) for name, said in world.reports.items()})


FAILING: dict[str, tuple[Callable[[], World], str, str]] = {
    "it fails on what answers and loads on the candidate": (
        lambda: on_what_answers(paired("Loading"), "Failed"),
        "Reconciling",
        "Loading",
    ),
    "it fails on what answers and is loaded on the candidate": (
        lambda: on_what_answers(paired("Loaded"), "Failed"),
        "Reconciling",
        "Loading",
    ),
    "it fails on what answers, and pods are about to turn to the candidate": (
        lambda: applied(on_what_answers(paired("Loaded"), "Failed")),
        "Reconciling",
        "Loading",
    ),
    "it fails on both": (
        lambda: on_what_answers(paired("Failed", "Loaded", new_reason="InvalidAdapter"), "Failed"),
        "Stalled",
        "InvalidAdapter",
    ),
}


@pytest.mark.parametrize(("make", "pace", "reason"), FAILING.values(), ids=FAILING.keys())
def test_an_adapter_that_is_asked_for_with_a_model_fails_where_it_fails_on_that(
    make: Callable[[], World], pace: str, reason: str
) -> None:
    world = make()
    told = {c["type"]: c["reason"] for c in conditions.status(world, goal(world), NOW)["conditions"]}
    assert pace in told
    assert told["AdaptersReady"] == reason


def test_no_room_ends_the_roll_where_it_is_to_be_aborted() -> None:
    found = goal(full("Abort"))
    assert found.revision == R1
    assert [each.reason for each in found.rejections] == ["Unschedulable"]


def test_an_event_tells_that_a_roll_became_a_swap_in_place() -> None:
    early = full("InPlace", waited_s=1)
    before = conditions.status(early, goal(early), NOW)
    late = full("InPlace")
    late = replace(late, model=replace(late.model, status=before))
    assert "NoRoomForPod" in [event.reason for event in events(before, conditions.status(late, goal(late), NOW))]


def test_the_status_tells_of_the_swap() -> None:
    def stated(world: World) -> tuple[str, str, str]:
        status = conditions.status(world, goal(world), NOW)
        ready = next(c for c in status["conditions"] if c["type"] == "Ready")
        candidate = status["revisions"]["candidate"]
        return candidate["phase"], candidate["strategy"], ready["reason"]

    assert stated(told(swapping(), "Loading")) == ("Loading", "InPlace", "LoadingModel")
    waits = told(swapping(), "Loading", message="waits for the room of r0, which a request holds")
    ready = next(c for c in conditions.status(waits, goal(waits), NOW)["conditions"] if c["type"] == "Ready")
    assert ready["message"] == f"{R2} on pod a: Loading, it waits for the room of r0, which a request holds"
    loading = told(swapping(), "Loading")
    known = replace(loading, model=replace(loading.model, status=conditions.status(loading, goal(loading), NOW)))
    assert stated(told(applied(told(known, "Loaded")), "Loaded")) == ("Admitted", "InPlace", "Swapping")
    done = swapped()
    assert "candidate" not in conditions.status(done, goal(done), NOW)["revisions"]
