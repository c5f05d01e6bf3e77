"""Which RerankerAdapters a model takes, what its pods are told of them, and what their owners read."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.decisions.adapters import verdicts, wanted_adapters
from reranker_operator.objects import serving
from reranker_operator.settings import Settings
from reranker_operator.status import adapter_conditions, conditions
from reranker_operator.status.adapter_conditions import model_not_found, refused, settled
from reranker_operator.world.adapter_resource import AdapterResource, adapter_resource, model_of
from reranker_operator.world.facts import Problem, condition
from reranker_operator.world.names import Document
from reranker_operator.world.reports import AdapterReport
from reranker_operator.world.state import Manifest, World
from tests.unit.operator.worlds import (
    KEY,
    LEGAL,
    LEGAL_TWO,
    ONE,
    SETTINGS,
    applied,
    empty,
    goal,
    model,
    serving_world,
    with_pods,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HUB, HUB_TWO = {"uri": "hf://acme/legal", "revision": "v1"}, {"uri": "hf://acme/legal", "revision": "v2"}
OPEN = {"allowedNamespaces": ["*"]}


def live(name: str = "legal", namespace: str = "search", source: Document | str = HUB, **metadata: Any) -> Document:
    """A RerankerAdapter for search/bge as the API server has it."""
    source = {"uri": source} if isinstance(source, str) else source
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "generation": 1,
            "resourceVersion": "5",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "spec": {"modelRef": {"name": KEY.name, "namespace": KEY.namespace}, "source": source},
    }


def resource(*args: Any, **kwargs: Any) -> AdapterResource:
    return adapter_resource(live(*args, **kwargs))


def world(*resources: AdapterResource, policy: Document | None = None, **spec: Any) -> World:
    return replace(empty(model(adapterPolicy=policy or {}, **spec)), adapters=resources)


def outcomes(seen: World) -> dict[str, str]:
    """Of each resource the reason why it isn't taken; "" where it is."""
    return {
        str(verdict.resource): verdict.outcome.reason if isinstance(verdict.outcome, Problem) else ""
        for verdict in verdicts(seen)
    }


OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"

VERDICTS: dict[str, tuple[World, dict[str, str]]] = {
    "one of the model's own namespace": (world(resource()), {"search/legal": ""}),
    "another namespace's without leave": (
        world(resource(namespace="law")),
        {"law/legal": "NamespaceNotAllowed"},
    ),
    "another namespace's with leave": (
        world(resource(namespace="law"), policy={"allowedNamespaces": ["law"]}),
        {"law/legal": ""},
    ),
    "a third namespace's where another has leave": (
        world(resource(namespace="lab"), policy={"allowedNamespaces": ["law"]}),
        {"lab/legal": "NamespaceNotAllowed"},
    ),
    "any namespace's where all have leave": (world(resource(namespace="law"), policy=OPEN), {"law/legal": ""}),
    "a claim from another namespace, though the model mounts one of that name": (
        world(resource(namespace="law", source=LEGAL), policy=OPEN),
        {"law/legal": "ClaimOutOfReach"},
    ),
    "a claim that the model mounts": (world(resource(source=LEGAL)), {"search/legal": ""}),
    "a claim that it doesn't": (world(resource(source="pvc://others/legal")), {"search/legal": "ClaimNotMounted"}),
    "a claim that only an adapter of the spec needs": (
        world(resource(source="pvc://others/legal"), adapters={"other": "pvc://others/other"}),
        {"search/legal": ""},
    ),
    "a name that the spec has": (
        world(resource(), adapters={"legal": LEGAL}),
        {"search/legal": "NameTaken"},
    ),
    "a name of two, of which the older has it": (
        world(
            resource(namespace="search", creationTimestamp=NEW),
            resource(namespace="law", creationTimestamp=OLD),
            policy=OPEN,
        ),
        {"law/legal": "", "search/legal": "NameTaken"},
    ),
    "a name of two of the same age, of which the namespace decides": (
        world(resource(namespace="search"), resource(namespace="law"), policy=OPEN),
        {"law/legal": "", "search/legal": "NameTaken"},
    ),
    "a name whose older resource is refused": (
        world(resource(creationTimestamp=NEW), resource(namespace="law", creationTimestamp=OLD)),
        {"law/legal": "NamespaceNotAllowed", "search/legal": ""},
    ),
    "one more than are loaded": (
        world(
            resource("a", creationTimestamp=NEW),
            resource("b", creationTimestamp=OLD),
            adapters={"own": LEGAL},
            policy={"maxLoaded": 2},
        ),
        {"search/b": "", "search/a": "TooManyAdapters"},
    ),
    "a spec of another version": (
        world(adapter_resource({**live(), "spec": {"modelRef": {"name": "bge"}, "source": {"url": "s3://a/b"}}})),
        {"search/legal": "InvalidSpec"},
    ),
}


@pytest.mark.parametrize(("seen", "expected"), VERDICTS.values(), ids=VERDICTS.keys())
def test_a_model_takes_or_refuses(seen: World, expected: dict[str, str]) -> None:
    assert outcomes(seen) == expected
    taken = [adapter.owner for adapter in wanted_adapters(seen) if adapter.owner]
    assert taken == [name for name, reason in expected.items() if not reason]


@pytest.mark.parametrize("seen", [seen for seen, _ in VERDICTS.values()], ids=VERDICTS.keys())
def test_the_order_of_the_listing_decides_nothing(seen: World) -> None:
    assert outcomes(replace(seen, adapters=seen.adapters[::-1])) == outcomes(seen)


@pytest.mark.parametrize("seen", [seen for seen, _ in VERDICTS.values()], ids=VERDICTS.keys())
def test_no_resource_changes_the_pods_template(seen: World) -> None:
    assert goal(seen).template == goal(replace(seen, adapters=())).template


def test_a_resource_names_its_model_with_or_without_the_namespace() -> None:
    assert model_of(live(namespace="law")) == ("search", "bge")
    assert model_of({"metadata": {"namespace": "law"}, "spec": {"modelRef": {"name": "bge"}}}) == ("law", "bge")
    assert model_of({"metadata": {"namespace": "law"}}) is None


def manifest(seen: World) -> Manifest:
    return goal(seen).manifest


def entries(seen: World) -> list[tuple[str, str, bool]]:
    return [
        (entry.source["uri"] + entry.source.get("revision", ""), entry.owner, entry.required)
        for entry in manifest(seen).adapters
    ]


def with_guest(source: Document = HUB, namespace: str = "search") -> World:
    """A fleet that serves one RerankerAdapter, loaded everywhere and required."""
    first = model(adapterPolicy=OPEN)
    seen = replace(applied(empty(first)), adapters=(resource(source=source, namespace=namespace),))
    template = goal(seen).template
    for _ in range(3):
        seen = applied(with_pods(replace(seen, pods=(), reports={}), template, "a", "b"))
    return with_pods(replace(seen, pods=(), reports={}), template, "a", "b")


def test_pods_are_told_whose_an_adapter_is() -> None:
    told = manifest(with_guest())
    assert entries(with_guest()) == [("hf://acme/legalv1", "search/legal", True)]
    assert serving.manifest(serving.text(told)) == told
    assert "owner" not in serving.text(manifest(serving_world(model(adapters={"legal": LEGAL}))))


def test_new_weights_of_the_same_owner_leave_the_old_ones_until_they_are_loaded() -> None:
    edited = replace(with_guest(), adapters=(resource(source=HUB_TWO),))
    assert entries(edited) == [
        ("hf://acme/legalv2", "search/legal", False),
        ("hf://acme/legalv1", "search/legal", True),
    ]


def test_a_name_that_changes_hands_takes_nothing_of_its_former_owner_along() -> None:
    seen = with_guest(namespace="law")
    theirs = replace(seen, adapters=(resource(source=HUB_TWO),))
    assert entries(theirs) == [("hf://acme/legalv2", "search/legal", False)]
    ours = replace(seen, adapters=seen.adapters, model=model(adapters={"legal": LEGAL_TWO}, adapterPolicy=OPEN))
    assert entries(ours) == [(LEGAL_TWO, "", False)]


def test_a_resource_that_is_gone_is_gone_from_the_manifest() -> None:
    assert entries(replace(with_guest(), adapters=())) == []


def reported(seen: World, *, pods: int, phase: str, reason: str = "", message: str = "") -> World:
    """The world in which so many pods say that of the wanted revision, and the others nothing."""
    (wanted,) = wanted_adapters(seen)
    said = AdapterReport(wanted.name, wanted.revision, phase, reason, message)
    reports = {
        name: replace(report, adapters=(said,) if place < pods else ())
        for place, (name, report) in enumerate(seen.reports.items())
    }
    return replace(seen, reports=reports)


def status(seen: World, now: datetime = NOW) -> Document:
    (verdict,) = verdicts(seen)
    return adapter_conditions.status(seen, manifest(seen), verdict, now)


def told(document: Document) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in document["conditions"]}


def scaled_to_zero() -> World:
    seen = with_guest()
    return replace(seen, model=model(adapterPolicy=OPEN, replicas=0), pods=(), reports={})


def spoilt() -> World:
    """New weights that no pod can load; the former ones go on."""
    seen = applied(replace(with_guest(), adapters=(resource(source=HUB_TWO, generation=2),)))
    bad, good = manifest(seen).adapters
    said = (
        AdapterReport(bad.name, bad.revision, "Failed", "AdapterBaseMismatch", "made for another base"),
        AdapterReport(good.name, good.revision, "Loaded"),
    )
    generation = manifest(seen).generation
    reports = {
        name: replace(report, adapters=said, observed_generation=generation) for name, report in seen.reports.items()
    }
    return replace(seen, reports=reports)


STATUSES: dict[str, tuple[Callable[[], World], dict[str, tuple[str, str]], str]] = {
    "loaded on every pod": (
        with_guest,
        {"Accepted": ("True", "Accepted"), "Available": ("True", "Serving"), "Ready": ("True", "Loaded")},
        "2/2",
    ),
    "loaded on one of two": (
        lambda: reported(with_guest(), pods=1, phase="Loaded"),
        {
            "Accepted": ("True", "Accepted"),
            "Available": ("True", "Serving"),
            "Ready": ("False", "Loading"),
            "Reconciling": ("True", "Loading"),
        },
        "1/2",
    ),
    "new weights that don't fit": (
        spoilt,
        {
            "Accepted": ("True", "Accepted"),
            "Available": ("True", "Serving"),
            "Ready": ("False", "AdapterBaseMismatch"),
            "Stalled": ("True", "AdapterBaseMismatch"),
        },
        "0/2",
    ),
    "a model without pods": (
        scaled_to_zero,
        {"Accepted": ("True", "Accepted"), "Available": ("False", "ScaledToZero"), "Ready": ("True", "ScaledToZero")},
        "0/0",
    ),
    "not taken": (
        lambda: world(resource(namespace="law")),
        {
            "Accepted": ("False", "NamespaceNotAllowed"),
            "Available": ("False", "NamespaceNotAllowed"),
            "Ready": ("False", "NamespaceNotAllowed"),
            "Stalled": ("True", "NamespaceNotAllowed"),
        },
        "",
    ),
}


@pytest.mark.parametrize(("make", "expected", "pods"), STATUSES.values(), ids=STATUSES.keys())
def test_an_owner_reads(make: Callable[[], World], expected: dict[str, tuple[str, str]], pods: str) -> None:
    document = status(make())
    assert told(document) == expected
    assert document["pods"] == pods


def test_the_status_names_what_is_wanted_and_what_answers() -> None:
    document = status(spoilt())
    bad, good = manifest(spoilt()).adapters
    assert (document["revision"], document["serving"]) == (bad.revision, good.revision)
    assert document["observedGeneration"] == 2


@pytest.mark.parametrize("make", [make for make, _, _ in STATUSES.values()], ids=STATUSES.keys())
def test_a_status_stays_the_same_document_while_nothing_changes(make: Callable[[], World]) -> None:
    seen = make()
    first = status(seen)
    known = replace(seen, adapters=(replace(seen.adapters[0], status=first),))
    assert status(known, NOW + timedelta(hours=1)) == first
    assert list(adapter_conditions.events(first, status(known))) == []


def test_an_adapter_of_no_model_waits_for_one() -> None:
    document = refused(resource(), model_not_found(KEY, SETTINGS), NOW)
    assert told(document)["Accepted"] == ("False", "ModelNotFound")
    assert "Reconciling" in told(document)
    assert "Stalled" not in told(document)
    elsewhere = refused(resource(), model_not_found(KEY, Settings(namespaces="law")), NOW)
    assert "watches law" in condition(elsewhere, "Ready")["message"]


def test_nothing_is_waited_for_where_an_edit_alone_could_help() -> None:
    assert settled(status(with_guest()))
    assert settled(status(world(resource(namespace="law"))))
    assert not settled(status(spoilt()))


EVENTS: dict[str, tuple[Callable[[], Document], Callable[[], Document], list[tuple[str, str]]]] = {
    "taken and loaded at once": (
        dict,
        lambda: status(with_guest()),
        [("Normal", "Accepted"), ("Normal", "AdapterReady")],
    ),
    "refused": (
        dict,
        lambda: status(world(resource(namespace="law"))),
        [("Warning", "NamespaceNotAllowed")],
    ),
    "the new weights fail": (lambda: status(with_guest()), lambda: status(spoilt()), [("Warning", "AdapterFailed")]),
    "they are mended": (
        lambda: status(spoilt()),
        lambda: status(with_guest(HUB_TWO)),
        [("Normal", "AdapterReady")],
    ),
    "the model goes": (
        lambda: status(with_guest()),
        lambda: refused(resource(), model_not_found(KEY, SETTINGS), NOW),
        [("Warning", "ModelNotFound")],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), EVENTS.values(), ids=EVENTS.keys())
def test_events_tell_each_change_once(
    before: Callable[[], Document], after: Callable[[], Document], expected: list[tuple[str, str]]
) -> None:
    assert [(event.type, event.reason) for event in adapter_conditions.events(before(), after())] == expected


def test_another_teams_bad_adapter_leaves_the_model_ready_and_shows_in_its_count() -> None:
    seen = spoilt()
    document = conditions.status(seen, goal(seen), NOW)
    assert condition(document, "Ready")["status"] == "True"
    assert condition(document, "AdaptersReady")["reason"] == "AdapterBaseMismatch"
    assert document["adaptersReady"] == "0/1"
    assert document["adapters"][0]["owner"] == "search/legal"


def test_a_bound_in_units_is_told_in_bytes() -> None:
    assert manifest(empty(model(adapterPolicy={"maxBytes": "2Mi"}))).adapter_policy["maxBytes"] == 2 * 2**20
    assert "maxBytes" not in manifest(empty(model(ONE))).adapter_policy
