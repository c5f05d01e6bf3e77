"""The byte budget of adapters: what is let in, what fails by itself, and that arrival decides nothing."""

import itertools
from typing import Any

import pytest

from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus
from reranker_worker.manifest import AdapterEntry, Source
from reranker_worker.reconciling.budget import over_budget
from reranker_worker.reconciling.decisions import decide, missing_adapters
from reranker_worker.reconciling.state import adapter_states
from reranker_worker.reconciling.world import AdapterLoad, DropAdapter, Failure, Serve, Served, World
from tests.fixtures.manifests import adapter, manifest


def entry(revision: str, *, required: bool = False) -> AdapterEntry:
    return AdapterEntry(revision.partition("-")[0], revision, Source(f"pvc://models/{revision}"), required)


A, B, A2 = entry("a-1"), entry("b-1"), entry("a-2")
A_HELD, B_HELD = entry("a-1", required=True), entry("b-1", required=True)

BUDGETS: dict[str, tuple[list[list[AdapterEntry]], dict[AdapterEntry, int], list[AdapterEntry]]] = {
    "all that fits": ([[A], [B]], {A: 60, B: 40}, []),
    "one too large by itself": ([[A], [B]], {A: 101, B: 40}, [A]),
    "the second of two, by the manifest's order": ([[A], [B]], {A: 60, B: 41}, [B]),
    "a small one after a large one that failed to fit": ([[A], [B]], {A: 101, B: 100}, [A]),
    "one that hasn't arrived takes no room": ([[A], [B]], {B: 100}, []),
    "what the fleet has goes before what comes first": ([[A], [B_HELD]], {A: 60, B_HELD: 41}, [A]),
    "what the fleet has stays under a lower budget": ([[A_HELD], [B_HELD]], {A_HELD: 80, B_HELD: 80}, []),
    "and lets nobody else in": ([[A_HELD], [B]], {A_HELD: 180, B: 1}, [B]),
    "new weights take the place of the old ones": ([[A2, A_HELD], [B_HELD]], {A2: 60, A_HELD: 50, B_HELD: 40}, []),
    "new weights that don't fit leave the old ones": (
        [[A2, A_HELD], [B_HELD]],
        {A2: 61, A_HELD: 50, B_HELD: 40},
        [A2],
    ),
    "new weights make room for the next": ([[A2, A_HELD], [B]], {A2: 20, A_HELD: 90, B: 80}, []),
}


@pytest.mark.parametrize(("names", "sizes", "refused"), BUDGETS.values(), ids=BUDGETS.keys())
def test_of_a_hundred_bytes(
    names: list[list[AdapterEntry]], sizes: dict[AdapterEntry, int], refused: list[AdapterEntry]
) -> None:
    found = over_budget(names, sizes, 100)
    assert list(found) == refused
    assert all(str(sizes[entry]) in message and "maxBytes (100)" in message for entry, message in found.items())


def world(sizes: dict[str, int], served: Served, *entries: dict[str, Any], **members: Any) -> World:
    """A world in which the artifacts of `sizes` are complete, and 100 bytes are allowed."""
    policy = {"maxLoaded": 16, "maxRank": 64, "maxBytes": 100}
    wanted = manifest(1, adapters=list(entries), adapterPolicy=policy)
    artifacts = {
        Source(f"pvc://models/{revision}"): ArtifactStatus(ArtifactPhase.COMPLETE, "sha256:d", size=size)
        for revision, size in {"m-1": 9999, **sizes}.items()
    }
    loaded = {("m-1", name, revision) for name, revision in served.adapters.items()}
    return World("t1", wanted, artifacts, models={"m-1"}, adapters=loaded, served=served, **members)


def load(revision: str) -> AdapterLoad:
    name = revision.partition("-")[0]
    return AdapterLoad("m-1", name, revision, Source(f"pvc://models/{revision}"), "sha256:d", max_rank=64)


def settle(seen: World) -> dict[str, str]:
    """Decide until nothing is left to do, every load succeeding at once; the adapters that answer then."""
    while actions := decide(seen):
        models, adapters, served = set(seen.models), set(seen.adapters), seen.served
        for action in actions:
            match action:
                case AdapterLoad(model, name, revision):
                    adapters.add((model, name, revision))
                case DropAdapter(model, name, revision):
                    adapters.remove((model, name, revision))
                case Serve(served):
                    pass
        seen = World(seen.template, seen.manifest, seen.artifacts, models, adapters, served=served)
    return dict(seen.served.adapters)


def test_an_adapter_over_budget_fails_alone_with_its_reason() -> None:
    seen = world({"a-1": 60, "b-1": 50}, Served("m-1", {"a": "a-1"}, 1), adapter("a", "a-1"), adapter("b", "b-1"))
    assert decide(seen) == []
    states = {state.name: (state.phase, state.reason) for state in adapter_states(seen)}
    assert states == {"a": ("Loaded", ""), "b": ("Failed", "AdapterBudgetExceeded")}
    (_, failed) = adapter_states(seen)
    assert "its files hold 50 bytes" in failed.message
    assert "leave 40" in failed.message


def test_new_weights_over_budget_leave_the_revision_that_answers() -> None:
    entries = (adapter("a", "a-2"), adapter("a", "a-1", required=True))
    seen = world({"a-1": 60, "a-2": 101}, Served("m-1", {"a": "a-1"}, 1), *entries)
    assert decide(seen) == []
    assert [(s.revision, s.phase) for s in adapter_states(seen)] == [("a-2", "Failed"), ("a-1", "Loaded")]
    assert seen.manifest is not None
    assert missing_adapters(seen.manifest, seen.served.adapters) == []


def test_one_that_can_never_be_loaded_holds_no_room() -> None:
    bad = {load("a-1"): Failure("AdapterBaseMismatch", "made for another base")}
    seen = world({"a-1": 60, "b-1": 50}, Served("m-1", {}, 1), adapter("a", "a-1"), adapter("b", "b-1"), failures=bad)
    assert decide(seen) == [load("b-1")]


ARRIVALS = list(itertools.permutations(["a-1", "b-1", "c-1"]))


@pytest.mark.parametrize("arrivals", ARRIVALS, ids=[" ".join(each) for each in ARRIVALS])
def test_pods_end_with_the_same_adapters_in_whatever_order_the_files_came(arrivals: tuple[str, ...]) -> None:
    sizes, entries = {"a-1": 60, "b-1": 50, "c-1": 40}, [adapter(name, f"{name}-1") for name in "abc"]
    answers: dict[str, str] = {}
    for count in range(1, 4):
        here = {revision: sizes[revision] for revision in arrivals[:count]}
        answers = settle(world(here, Served("m-1", answers, 1), *entries))
    assert answers == {"a": "a-1", "c": "c-1"}
