"""The serving manifest through a fleet's life: what is named, served, admitted and required when."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reranker_operator.decisions import rollout, templates
from reranker_operator.world.reports import AdapterReport
from reranker_operator.world.state import Manifest, Model, World
from tests.unit.operator.worlds import (
    LEGAL,
    LEGAL_TWO,
    ONE,
    SETTINGS,
    THREE,
    TWO,
    adapter_revision,
    applied,
    edited,
    empty,
    goal,
    model,
    reread,
    revision,
    serving_world,
    with_pods,
    without_manifest,
)

R1, R2, R3 = revision(ONE), revision(TWO), revision(THREE)
A1, A2, A3 = (adapter_revision("legal", uri) for uri in (LEGAL, LEGAL_TWO, THREE))


def rolling(*, loaded: bool) -> World:
    """Two pods serve R1; the Deployment has made one of R2, which has loaded or not."""
    world = applied(edited(serving_world(), model(TWO)))
    phase = "Loaded" if loaded else "Loading"
    return with_pods(world, goal(world).template, "c", phase=phase)


def rolled() -> World:
    world = rolling(loaded=True)
    world = applied(world)
    template = goal(world).template
    return with_pods(replace(world, pods=(), reports={}), template, "c", "d")


def overtaken() -> World:
    """R3 is asked for while a pod of R2 loads, which has loaded meanwhile."""
    return edited(rolling(loaded=True), model(THREE))


WORLDS: dict[str, tuple[Callable[[], World], list[str], list[str]]] = {
    "nothing lives: named, not admitted": (lambda: empty(model()), [R1], []),
    "the first pod has loaded: admitted": (
        lambda: with_pods(applied(empty(model())), goal(empty(model())).template, "a"),
        [R1],
        [R1],
    ),
    "it serves: stays so": (serving_world, [R1], [R1]),
    "a new revision is asked for: named beside the old": (lambda: edited(serving_world(), model(TWO)), [R1, R2], [R1]),
    "its pod loads: not admitted": (lambda: rolling(loaded=False), [R1, R2], [R1]),
    "its pod has loaded: admitted": (lambda: rolling(loaded=True), [R1, R2], [R1, R2]),
    "no pod of the old one is left: pruned": (rolled, [R2], [R2]),
    "overtaken by a third: the middle one is kept for its pod and never admitted": (overtaken, [R1, R2, R3], [R1]),
    "back to the old one in the middle: it stays admitted": (
        lambda: edited(rolling(loaded=False), model(ONE)),
        [R2, R1],
        [R1],
    ),
    "the ConfigMap is deleted in the middle: known from what the pods were told": (
        lambda: without_manifest(rolling(loaded=False)),
        [R1, R2],
        [R1],
    ),
    "every pod is gone: only the wanted one": (
        lambda: replace(edited(serving_world(), model(TWO)), pods=(), reports={}, children={}),
        [R2],
        [],
    ),
}


@pytest.mark.parametrize(("make", "named", "admitted"), WORLDS.values(), ids=WORLDS.keys())
def test_revisions_are_named_and_admitted_when(
    make: Callable[[], World], named: list[str], admitted: list[str]
) -> None:
    manifest = goal(make()).manifest
    assert [m.revision for m in manifest.models] == named
    assert list(manifest.admitted) == admitted
    assert set(manifest.serve.values()) == set(named)


def test_a_pod_that_ends_keeps_its_revision_in_the_manifest_until_it_is_gone() -> None:
    world = rolled()
    old = serving_world()
    ending = tuple(replace(pod, terminating=True, ready=False) for pod in old.pods[:1])
    manifest = goal(replace(world, pods=(*world.pods, *ending), manifest=goal(rolling(loaded=True)).manifest)).manifest
    assert {m.revision for m in manifest.models} == {R1, R2}


def test_a_pod_that_ends_admits_nothing() -> None:
    world = rolling(loaded=True)
    ending = tuple(replace(pod, terminating=pod.name == "c") for pod in world.pods)
    assert goal(replace(world, pods=ending)).manifest.admitted == (R1,)


def test_the_old_source_comes_from_the_manifest_not_from_the_spec() -> None:
    manifest = goal(edited(serving_world(), model(TWO))).manifest
    assert [m.source["uri"] for m in manifest.models] == [ONE, TWO]


def adapters(world: World) -> list[tuple[str, bool]]:
    return [(a.revision, a.required) for a in goal(world).manifest.adapters]


def loading(world: World, name: str, uri: str, phase: str = "Loading") -> World:
    """Every worker says that of the adapter revision."""
    entry = AdapterReport(name, adapter_revision(name, uri), phase)
    reports = {pod: replace(r, adapters=(*r.adapters, entry)) for pod, r in world.reports.items()}
    return replace(world, reports=reports)


def test_an_adapter_is_required_once_every_ready_pod_has_it() -> None:
    plain = edited(serving_world(), model(adapters={"legal": LEGAL}))
    assert adapters(plain) == [(A1, False)]
    assert adapters(loading(plain, "legal", LEGAL)) == [(A1, False)]
    assert adapters(loading(plain, "legal", LEGAL, "Loaded")) == [(A1, True)]


def test_one_pod_without_the_adapter_or_without_an_answer_keeps_it_optional() -> None:
    world = loading(edited(serving_world(), model(adapters={"legal": LEGAL})), "legal", LEGAL, "Loaded")
    silent = replace(world, reports={"a": world.reports["a"]})
    assert adapters(silent) == [(A1, False)]


def test_the_old_adapter_revision_stays_until_the_new_one_is_on_every_pod() -> None:
    world = edited(serving_world(model(adapters={"legal": LEGAL})), model(adapters={"legal": LEGAL_TWO}))
    assert adapters(world) == [(A2, False), (A1, True)]
    assert adapters(loading(world, "legal", LEGAL_TWO, "Failed")) == [(A2, False), (A1, True)]
    assert adapters(loading(world, "legal", LEGAL_TWO, "Loaded")) == [(A2, True)]


def having(world: World, revisions: dict[str, str]) -> World:
    """Each pod answers for the adapter's name with that revision."""
    entries = {pod: (AdapterReport("legal", revision, "Loaded"),) for pod, revision in revisions.items()}
    return replace(world, reports={pod: replace(world.reports[pod], adapters=said) for pod, said in entries.items()})


def paired(uri: str, adapter: str, start: World | None = None) -> World:
    """A model is asked for together with the only adapter that fits it."""
    wanted = model(uri, adapters={"legal": adapter})
    return edited(start, wanted) if start is not None else serving_world(wanted)


def in_the_middle() -> World:
    """Two pods answer with R1 and A1; of the roll to R2 with A2, one pod is ready."""
    asked = applied(paired(TWO, LEGAL_TWO, paired(ONE, LEGAL)))
    loaded = applied(with_pods(asked, goal(asked).template, "c"))
    made = with_pods(replace(loaded, pods=loaded.pods[:2]), goal(loaded).template, "c")
    return applied(having(made, {"a": A1, "b": A1, "c": A2}))


IN_THE_MIDDLE: dict[str, tuple[tuple[str, str], list[tuple[str, bool]]]] = {
    "back to both": ((ONE, LEGAL), [(A1, True), (A2, True)]),
    "another adapter": ((TWO, THREE), [(A3, False), (A2, True), (A1, True)]),
    "another model and its adapter": ((THREE, THREE), [(A3, False), (A2, True), (A1, True)]),
}


@pytest.mark.parametrize(("edit", "expected"), IN_THE_MIDDLE.values(), ids=IN_THE_MIDDLE.keys())
def test_what_ready_pods_answer_with_stays_good_enough_in_the_middle_of_a_roll_whatever_is_asked_for(
    edit: tuple[str, str], expected: list[tuple[str, bool]]
) -> None:
    world = paired(*edit, in_the_middle())
    assert adapters(world) == expected
    assert adapters(applied(world)) == expected


def test_what_was_required_stays_while_a_ready_pod_does_not_answer() -> None:
    world = applied(paired(ONE, LEGAL, in_the_middle()))
    assert adapters(replace(world, reports={"a": world.reports["a"]})) == [(A1, True), (A2, True)]


def test_after_a_roll_that_was_overtaken_only_the_wanted_adapter_is_left() -> None:
    world = applied(paired(TWO, THREE, in_the_middle()))
    assert adapters(having(world, {"a": A3, "b": A3, "c": A2})) == [(A3, False), (A2, True), (A1, True)]
    assert adapters(having(world, dict.fromkeys("abc", A3))) == [(A3, True)]


def test_what_pods_answer_with_in_the_middle_of_a_roll_stays_for_its_owner_alone() -> None:
    world = in_the_middle()
    assert world.manifest is not None
    others = tuple(replace(each, owner="law/legal") for each in world.manifest.adapters)
    theirs = replace(world, manifest=replace(world.manifest, adapters=others))
    assert adapters(paired(ONE, LEGAL, world)) == [(A1, True), (A2, True)]
    assert adapters(paired(ONE, LEGAL, theirs)) == [(A1, False)]


def test_an_adapter_revision_that_was_never_loaded_is_dropped_for_the_next() -> None:
    base = serving_world(model(adapters={"legal": LEGAL}))
    middle = applied(edited(base, model(adapters={"legal": LEGAL_TWO})))
    last = edited(middle, model(adapters={"legal": THREE}))
    assert adapters(last) == [(adapter_revision("legal", THREE), False), (A1, True)]


def test_an_adapter_that_is_no_longer_asked_for_leaves_at_once() -> None:
    assert adapters(edited(serving_world(model(adapters={"legal": LEGAL})), model())) == []


def generation(world: World) -> int:
    return goal(world).manifest.generation


def told(world: World, manifest: Manifest) -> World:
    return replace(world, pods=tuple(replace(pod, manifest=manifest) for pod in world.pods))


def test_the_generation_stays_while_the_content_stays() -> None:
    world = serving_world()
    assert world.manifest is not None
    assert generation(world) == world.manifest.generation
    assert generation(replace(world, manifest=reread(world.manifest))) == world.manifest.generation


@pytest.mark.parametrize("where", ["ConfigMap", "annotation", "state"])
def test_a_new_generation_is_above_every_one_that_was_seen(where: str) -> None:
    world = edited(serving_world(), model(TWO))
    assert world.manifest is not None
    high = replace(world.manifest, generation=41)
    seen = {
        "ConfigMap": replace(world, manifest=high),
        "annotation": told(world, high),
        "state": replace(world, reports={p: replace(r, observed_generation=41) for p, r in world.reports.items()}),
    }[where]
    assert generation(seen) == 42


def test_content_that_stays_gets_a_new_generation_when_a_pod_is_ahead_of_it() -> None:
    world = serving_world()
    ahead = {p: replace(r, observed_generation=41) for p, r in world.reports.items()}
    assert generation(replace(world, reports=ahead)) == 42


def test_a_restored_manifest_keeps_the_generation_that_the_pods_have() -> None:
    world = serving_world()
    assert world.manifest is not None
    assert generation(without_manifest(world)) == world.manifest.generation


CLAIMS = {
    "the model's and the adapters'": (
        edited(empty(model()), model("pvc://m/x", adapters={"l": "pvc://l/x"})),
        ("l", "m"),
    ),
    "none for a hub's model": (
        empty(model("hf://o/r", source={"uri": "hf://o/r", "revision": "main"})),
        (),
    ),
    "a removed adapter's while the revision stays": (
        edited(serving_world(model(adapters={"legal": "pvc://lora/legal"})), model()),
        ("lora", "models"),
    ),
    "not a removed adapter's in a new revision": (
        edited(serving_world(model(adapters={"legal": "pvc://lora/legal"})), model(TWO)),
        ("models",),
    ),
}


@pytest.mark.parametrize(("world", "claims"), CLAIMS.values(), ids=CLAIMS.keys())
def test_pods_mount_the_claims(world: World, claims: tuple[str, ...]) -> None:
    assert templates.template(world, rollout.wanted_model(world.model), SETTINGS).mounts.claims == claims


REGISTRY = "oci://ghcr.io/acme/bge"
ONE_IMAGE, TWO_IMAGES = ("sha256:" + digit * 64 for digit in "12")


def imaged(revision: str = ONE_IMAGE, *, mounted: bool = True, **spec: Any) -> Model:
    return model(source={"uri": REGISTRY, "revision": revision, "imageVolume": mounted}, **spec)


def reference(revision: str) -> str:
    return f"ghcr.io/acme/bge@{revision}"


IMAGES: dict[str, tuple[World, str]] = {
    "the source's": (empty(imaged()), reference(ONE_IMAGE)),
    "none where the fetcher brings the files": (empty(imaged(mounted=False)), ""),
    "a new revision's own": (edited(serving_world(imaged()), imaged(TWO_IMAGES)), reference(TWO_IMAGES)),
    "the same one for another adapter": (
        edited(serving_world(imaged()), imaged(adapters={"legal": "pvc://lora/legal"})),
        reference(ONE_IMAGE),
    ),
    "none where the cluster has no image volumes": (replace(empty(imaged()), image_volumes=False), ""),
    "none while what was fetched serves": (edited(serving_world(imaged(mounted=False)), imaged()), ""),
    "the next revision's after what was fetched": (
        edited(serving_world(imaged(mounted=False)), imaged(TWO_IMAGES)),
        reference(TWO_IMAGES),
    ),
    "a download instead of one that a node can't mount": (
        edited(serving_world(imaged()), imaged(mounted=False)),
        "",
    ),
}


@pytest.mark.parametrize(("world", "image"), IMAGES.values(), ids=IMAGES.keys())
def test_pods_mount_the_image_of_the_revision_that_they_are_made_for(world: World, image: str) -> None:
    assert templates.template(world, rollout.wanted_model(world.model), SETTINGS).mounts.image == image


@pytest.mark.parametrize("before", [True, False], ids=["its image", "what it fetched"])
def test_a_pod_that_serves_the_wanted_revision_from_an_image_or_without_is_kept(before: bool) -> None:
    world = serving_world(imaged(mounted=before))
    assert goal(edited(world, imaged(replicas=3))).template == goal(world).template


NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "given": ({"source": {"uri": ONE}, "servedName": "mine"}, "mine"),
    "the hub's repository": ({"source": {"uri": "hf://BAAI/bge", "revision": "main"}}, "BAAI/bge"),
    "the resource's": ({"source": {"uri": ONE}}, "bge"),
}


@pytest.mark.parametrize(("spec", "expected"), NAMES.values(), ids=NAMES.keys())
def test_clients_call_the_model_by_the_name(spec: dict[str, Any], expected: str) -> None:
    assert goal(empty(model(**spec))).manifest.served_name == expected
