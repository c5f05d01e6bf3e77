"""What the reconciler decides, as a table of worlds; no thread, no file, no engine."""

from dataclasses import replace
from typing import Any

import pytest

from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus
from reranker_worker.manifest import Manifest, ModelEntry, Source
from reranker_worker.reconciling.decisions import decide, missing_adapters
from reranker_worker.reconciling.world import (
    AdapterLoad,
    Beside,
    DropAdapter,
    DropModel,
    Failure,
    ModelLoad,
    Serve,
    Served,
    World,
)
from tests.fixtures.manifests import adapter, manifest, model

COMPLETE = ArtifactStatus(ArtifactPhase.COMPLETE, digest="sha256:d")
DOWNLOADING = ArtifactStatus(ArtifactPhase.DOWNLOADING)


def world(wanted: Manifest, *, missing: tuple[str, ...] = (), **members: Any) -> World:
    """Return a world of template t1 in which every artifact is complete but those of the `missing` revisions."""
    entries = [(entry.revision, entry.source) for entry in wanted.models]
    entries += [(entry.revision, entry.source) for entry in wanted.adapters]
    artifacts = {source: DOWNLOADING if revision in missing else COMPLETE for revision, source in entries}
    return World("t1", wanted, artifacts, **members)


def load_of(revision: str, name: str = "legal", onto: str = "m-1") -> AdapterLoad:
    return AdapterLoad(onto, name, revision, Source(f"pvc://models/{revision}"), "sha256:d", max_rank=64)


def model_entry(revision: str) -> ModelEntry:
    return manifest(models=[model(revision)], serve={"t1": revision}).models[0]


def test_a_model_is_loaded_once_its_artifact_is_complete() -> None:
    wanted = manifest()
    assert decide(world(wanted, missing=("m-1",), served=Served(generation=1))) == []
    assert decide(world(wanted, served=Served(generation=1))) == [ModelLoad(wanted.models[0], "sha256:d")]


def test_a_load_under_way_or_failed_is_not_started_again() -> None:
    wanted = manifest()
    load = ModelLoad(wanted.models[0], "sha256:d")
    assert decide(world(wanted, loading={load}, served=Served(generation=1))) == []
    failed = world(wanted, failures={load: Failure("OutOfMemory", "")}, served=Served(generation=1))
    assert decide(failed) == []


def test_a_model_waits_for_the_load_of_one_that_is_wanted_no_more() -> None:
    candidate = {"candidates": {"t1": "m-2"}}
    wanted = manifest(2, models=[model("m-1"), model("m-2")], **candidate)
    served = Served("m-1", {}, 2)
    obsolete = ModelLoad(model_entry("m-0"), "sha256:d")
    load = ModelLoad(model_entry("m-2"), "sha256:d")
    assert decide(world(wanted, models={"m-1"}, served=served)) == [load]
    assert decide(world(wanted, models={"m-1"}, served=served, loading={obsolete})) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"models": [model("m-1", maxLength=128)]}, id="the entry"),
        pytest.param({"models": [model("m-1", uri="pvc://models/other")]}, id="the source"),
    ],
)
def test_a_failed_model_is_tried_again_when_something_in_it_changed(change: dict[str, Any]) -> None:
    failures = {ModelLoad(manifest().models[0], "sha256:d"): Failure("InvalidCheckpoint", "")}
    edited = manifest(2, **change)
    assert ModelLoad(edited.models[0], "sha256:d") in decide(world(edited, failures=failures))


def test_a_model_that_is_not_admitted_is_held_and_answers_nobody() -> None:
    actions = decide(world(manifest(admitted=[]), models={"m-1"}, served=Served(generation=1)))
    assert actions == [Serve(Served(None, {}, 1, {"m-1": Beside(admitted=False)}))]


def test_an_admitted_model_answers_as_soon_as_it_is_loaded() -> None:
    assert decide(world(manifest(), models={"m-1"})) == [Serve(Served("m-1", {}, 1))]


def test_a_model_whose_admission_is_withdrawn_stops_answering() -> None:
    actions = decide(world(manifest(2, admitted=[]), models={"m-1"}, served=Served("m-1", {}, 1)))
    assert actions == [Serve(Served(None, {}, 2, {"m-1": Beside(admitted=False)}))]


def test_a_manifest_without_the_template_changes_nothing() -> None:
    unknown = manifest(9, serve={"t2": "m-1"}, admitted=[])
    assert decide(world(unknown, models={"m-1"}, served=Served("m-1", {}, 1))) == []
    assert decide(World("t1")) == []


SWAP: dict[str, Any] = {"models": [model("m-1"), model("m-2")], "serve": {"t1": "m-2"}}


@pytest.mark.parametrize(
    ("wanted", "models", "expected"),
    [
        pytest.param(
            manifest(2, **SWAP, admitted=["m-1"]),
            {"m-1"},
            [Serve(Served("m-1", {}, 2)), ModelLoad(manifest(**SWAP).models[1], "sha256:d")],
            id="the target is loaded beside",
        ),
        pytest.param(
            manifest(2, **SWAP, admitted=["m-1"]),
            {"m-1", "m-2"},
            [Serve(Served("m-1", {}, 2, {"m-2": Beside(admitted=False)}))],
            id="until it is admitted the model before it answers",
        ),
        pytest.param(
            manifest(2, **SWAP, admitted=["m-1", "m-2"]),
            {"m-1", "m-2"},
            [Serve(Served("m-2", {}, 2)), DropModel("m-1")],
            id="once admitted it takes over and the old one goes",
        ),
        pytest.param(
            manifest(2, **SWAP, admitted=["m-2"]),
            {"m-1"},
            [Serve(Served(None, {}, 2)), DropModel("m-1")],
            id="a model that isn't admitted any more doesn't bridge the gap",
        ),
    ],
)
def test_a_swap_in_place(wanted: Manifest, models: set[str], expected: list[Any]) -> None:
    assert decide(world(wanted, models=models, served=Served("m-1", {}, 1))) == expected


def test_a_swap_in_place_waits_for_the_adapters_that_the_fleet_has() -> None:
    legal = adapter("legal", "legal-1", required=True)
    wanted = manifest(2, **SWAP, admitted=["m-1", "m-2"], adapters=[legal])
    before = world(
        wanted,
        models={"m-1", "m-2"},
        adapters={("m-1", "legal", "legal-1")},
        served=Served("m-1", {"legal": "legal-1"}, 2, {"m-2": Beside(admitted=True)}),
    )
    assert decide(before) == [load_of("legal-1", onto="m-2")]
    after = replace(before, adapters={("m-1", "legal", "legal-1"), ("m-2", "legal", "legal-1")})
    assert decide(after) == [
        Serve(Served("m-2", {"legal": "legal-1"}, 2)),
        DropModel("m-1"),
        DropAdapter("m-1", "legal", "legal-1"),
    ]


BOTH: dict[str, Any] = {"models": [model("m-1"), model("m-2")], "candidates": {"t1": "m-2"}}
FIRST, SECOND = (ModelLoad(entry, "sha256:d") for entry in manifest(**BOTH).models)
UNADMITTED = {"m-2": Beside(admitted=False)}


@pytest.mark.parametrize(
    ("wanted", "members", "expected"),
    [
        pytest.param(manifest(**BOTH), {}, [FIRST], id="what serves is loaded first"),
        pytest.param(manifest(**BOTH), {"missing": ("m-1",)}, [], id="even if the candidate arrives before it"),
        pytest.param(manifest(**BOTH), {"loading": {FIRST}}, [], id="its load isn't raced for memory"),
        pytest.param(
            manifest(**BOTH),
            {"models": {"m-1"}},
            [Serve(Served("m-1", {}, 1)), SECOND],
            id="then it answers and the candidate is loaded beside",
        ),
        pytest.param(
            manifest(**BOTH),
            {"failures": {FIRST: Failure("MissingHead", "")}},
            [SECOND],
            id="what can't be loaded takes no room",
        ),
        pytest.param(
            manifest(**BOTH),
            {"models": {"m-1"}, "served": Served("m-1", {}, 1), "failures": {SECOND: Failure("OutOfMemory", "")}},
            [],
            id="a candidate without room is tried once",
        ),
        pytest.param(
            manifest(**BOTH),
            {"models": {"m-1", "m-2"}, "served": Served("m-1", {}, 1)},
            [Serve(Served("m-1", {}, 1, UNADMITTED))],
            id="a loaded candidate is held and answers nobody",
        ),
        pytest.param(
            manifest(2, **BOTH, admitted=["m-1", "m-2"]),
            {"models": {"m-1", "m-2"}, "served": Served("m-1", {}, 1, UNADMITTED)},
            [Serve(Served("m-1", {}, 2, {"m-2": Beside(admitted=True)}))],
            id="admitted it may be pinned, and still doesn't answer the others",
        ),
        pytest.param(
            manifest(3, models=BOTH["models"], serve={"t1": "m-2"}, candidates={"t1": "m-1"}, admitted=["m-1", "m-2"]),
            {"models": {"m-1", "m-2"}, "served": Served("m-1", {}, 2, {"m-2": Beside(admitted=True)})},
            [Serve(Served("m-2", {}, 3, {"m-1": Beside(admitted=True)}))],
            id="the swap is one flip, and the way back stays open while it is listed",
        ),
        pytest.param(
            manifest(4, models=[model("m-2")], serve={"t1": "m-2"}, admitted=["m-2"]),
            {"models": {"m-1", "m-2"}, "served": Served("m-2", {}, 3, {"m-1": Beside(admitted=True)})},
            [Serve(Served("m-2", {}, 4)), DropModel("m-1")],
            id="then the old one goes",
        ),
        pytest.param(
            manifest(2),
            {"models": {"m-1", "m-2"}, "served": Served("m-1", {}, 1, UNADMITTED)},
            [Serve(Served("m-1", {}, 2)), DropModel("m-2")],
            id="a rejected candidate goes",
        ),
        pytest.param(
            manifest(
                2,
                models=[model("m-1"), model("m-2"), model("m-3")],
                candidates={"t1": "m-3"},
            ),
            {"models": {"m-1", "m-2"}, "served": Served("m-1", {}, 1, UNADMITTED)},
            [Serve(Served("m-1", {}, 2)), DropModel("m-2")],
            id="one candidate makes room for the next",
        ),
        pytest.param(
            manifest(2, models=[model("m-1"), model("m-3")], candidates={"t1": "m-3"}),
            {"models": {"m-1"}, "served": Served("m-1", {}, 2)},
            [ModelLoad(model_entry("m-3"), "sha256:d")],
            id="which is loaded then",
        ),
        pytest.param(
            manifest(**BOTH),
            {"models": {"m-1"}, "served": Served("m-1", {}, 1), "leaving": {"m-0"}},
            [],
            id="nothing is loaded before the last one has left",
        ),
        pytest.param(
            manifest(**BOTH | {"candidates": {"t2": "m-2"}}),
            {"models": {"m-1"}, "served": Served("m-1", {}, 1)},
            [],
            id="another template's candidate isn't loaded",
        ),
        pytest.param(
            manifest(**BOTH | {"candidates": {"t1": "m-1"}}),
            {"models": {"m-1"}, "served": Served("m-1", {}, 1)},
            [],
            id="what serves is no candidate",
        ),
    ],
)
def test_a_candidate(wanted: Manifest, members: dict[str, Any], expected: list[Any]) -> None:
    base: dict[str, Any] = {"served": Served(None, {}, wanted.generation)}
    assert decide(world(wanted, **base | members)) == expected


def test_adapters_are_loaded_onto_the_candidate_too_and_the_flip_takes_them_along() -> None:
    legal = adapter("legal", "legal-1", required=True)
    loaded = Served("m-1", {"legal": "legal-1"}, 1, UNADMITTED)
    before = world(
        manifest(**BOTH, adapters=[legal]),
        models={"m-1", "m-2"},
        adapters={("m-1", "legal", "legal-1")},
        served=loaded,
    )
    assert decide(before) == [load_of("legal-1", onto="m-2")]
    after = replace(before, adapters={("m-1", "legal", "legal-1"), ("m-2", "legal", "legal-1")})
    held = Served("m-1", {"legal": "legal-1"}, 1, {"m-2": Beside({"legal": "legal-1"}, admitted=False)})
    assert decide(after) == [Serve(held)]
    flipped = manifest(2, models=BOTH["models"], serve={"t1": "m-2"}, admitted=["m-1", "m-2"], adapters=[legal])
    assert decide(replace(after, manifest=flipped, served=held))[0] == Serve(Served("m-2", {"legal": "legal-1"}, 2))


NEW_AND_OLD = [adapter("legal", "legal-2"), adapter("legal", "legal-1")]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param({}, [load_of("legal-2")], id="the preferred entry is loaded first"),
        pytest.param({"missing": ("legal-2",)}, [load_of("legal-1")], id="while it downloads, the one before it is"),
        pytest.param({"failures": {load_of("legal-2"): Failure("", "")}}, [load_of("legal-1")], id="or when it fails"),
        pytest.param(
            {"adapters": {("m-1", "legal", "legal-1")}, "served": Served("m-1", {"legal": "legal-1"}, 1)},
            [load_of("legal-2")],
            id="the preferred one is loaded beside the one that answers",
        ),
        pytest.param(
            {
                "adapters": {("m-1", "legal", "legal-1"), ("m-1", "legal", "legal-2")},
                "served": Served("m-1", {"legal": "legal-1"}, 1),
            },
            [Serve(Served("m-1", {"legal": "legal-2"}, 1)), DropAdapter("m-1", "legal", "legal-1")],
            id="then the name flips and the old one goes",
        ),
        pytest.param(
            {"adapters": {("m-1", "legal", "legal-2")}, "served": Served("m-1", {"legal": "legal-2"}, 1)},
            [],
            id="what is less preferred isn't loaded",
        ),
    ],
)
def test_an_adapter_with_two_entries(members: dict[str, Any], expected: list[Any]) -> None:
    base: dict[str, Any] = {"models": {"m-1"}, "served": Served("m-1", {}, 1)}
    assert decide(world(manifest(adapters=NEW_AND_OLD), **base | members)) == expected


def test_a_name_keeps_its_revision_until_the_one_that_replaces_it_is_loaded() -> None:
    """The operator may list the new revision alone; a client must not see the name vanish meanwhile."""
    before = world(
        manifest(2, adapters=[adapter("legal", "legal-2")]),
        models={"m-1"},
        adapters={("m-1", "legal", "legal-1")},
        served=Served("m-1", {"legal": "legal-1"}, 2),
    )
    assert decide(before) == [load_of("legal-2")]
    after = replace(before, adapters={("m-1", "legal", "legal-1"), ("m-1", "legal", "legal-2")})
    assert decide(after) == [Serve(Served("m-1", {"legal": "legal-2"}, 2)), DropAdapter("m-1", "legal", "legal-1")]


def test_a_name_that_is_no_longer_listed_is_unloaded() -> None:
    actions = decide(
        world(
            manifest(2),
            models={"m-1"},
            adapters={("m-1", "legal", "legal-1")},
            served=Served("m-1", {"legal": "legal-1"}, 1),
        )
    )
    assert actions == [Serve(Served("m-1", {}, 2)), DropAdapter("m-1", "legal", "legal-1")]


def test_one_adapters_failure_touches_no_other() -> None:
    wanted = manifest(adapters=[adapter("bad", "bad-1"), adapter("legal", "legal-1")])
    failed = {load_of("bad-1", "bad"): Failure("InvalidAdapter", "")}
    actions = decide(world(wanted, models={"m-1"}, failures=failed, served=Served("m-1", {}, 1)))
    assert actions == [load_of("legal-1")]


def test_names_beyond_max_loaded_are_left_alone() -> None:
    wanted = manifest(
        adapters=[adapter("a", "a-1"), adapter("b", "b-1", required=True)],
        adapterPolicy={"maxLoaded": 1, "maxRank": 64},
    )
    assert decide(world(wanted, models={"m-1"}, served=Served("m-1", {}, 1))) == [load_of("a-1", "a")]
    assert missing_adapters(wanted, {"a": "a-1"}) == []


@pytest.mark.parametrize(
    ("entries", "loaded", "missing"),
    [
        pytest.param([adapter("x", "x-1")], {}, [], id="never ready in the fleet: blocks nobody"),
        pytest.param([adapter("x", "x-1", required=True)], {}, ["x"], id="required and not loaded"),
        pytest.param([adapter("x", "x-1", required=True)], {"x": "x-1"}, [], id="required and loaded"),
        pytest.param([adapter("x", "x-2"), adapter("x", "x-1", required=True)], {"x": "x-2"}, [], id="a better one"),
        pytest.param([adapter("x", "x-2", required=True), adapter("x", "x-1")], {"x": "x-1"}, ["x"], id="a worse one"),
    ],
)
def test_required_adapters(entries: list[dict[str, Any]], loaded: dict[str, str], missing: list[str]) -> None:
    assert missing_adapters(manifest(adapters=entries), loaded) == missing
