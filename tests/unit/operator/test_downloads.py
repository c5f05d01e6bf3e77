"""Downloads in the status: what is shown, how seldom it is written, and the Events at both ends."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reranker_operator.status import conditions
from reranker_operator.status.downloads import size
from reranker_operator.status.transitions import events
from reranker_operator.worker_client import worker_report
from reranker_operator.world.names import Document
from reranker_operator.world.reports import AdapterReport, Download
from reranker_operator.world.state import World
from tests.unit.operator.worlds import (
    LEGAL,
    ONE,
    adapter_revision,
    applied,
    empty,
    goal,
    model,
    revision,
    serving_world,
    with_pods,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
R1 = revision(ONE)
GB = 10**9


def downloading(*pods: Download | None) -> World:
    """A first fleet whose pods are that far with R1."""
    world = applied(empty(model()))
    for number, download in enumerate(pods):
        phase = "Downloading" if download else "Loading"
        world = with_pods(world, goal(world).template, f"pod-{number}", phase=phase, download=download)
    return world


def status(world: World, now: datetime = NOW, before: Document | None = None) -> Document:
    world = replace(world, model=replace(world.model, status=before or {}))
    return conditions.status(world, goal(world), now)


def told(changes: Iterable[Any]) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in changes if event.reason.startswith("Download")]


def test_the_pod_that_is_the_farthest_from_its_end_is_shown_with_what_is_left() -> None:
    world = downloading(Download(2 * GB, 2 * GB, 0), Download(GB // 2, 2 * GB, 100_000_001), None)
    assert status(world)["downloads"] == [
        {
            "name": R1,
            "bytes": GB // 2,
            "totalBytes": 2 * GB,
            "bytesPerSecond": 100_000_001,
            "etaSeconds": 15,
            "observedAt": "2026-01-02T03:04:05Z",
        }
    ]


@pytest.mark.parametrize(
    "download", [Download(5, 100, 0), Download(5, 0, 10)], ids=["nothing comes", "its size isn't known yet"]
)
def test_without_a_rate_or_a_size_there_is_no_end_in_sight(download: Download) -> None:
    (shown,) = status(downloading(download))["downloads"]
    assert "etaSeconds" not in shown


@pytest.mark.parametrize(
    ("after_s", "shown"), [(9, 5), (10, 50)], ids=["as it was for ten seconds", "anew after ten seconds"]
)
def test_the_status_follows_every_ten_seconds_at_most(after_s: int, shown: int) -> None:
    before = status(downloading(Download(5, 100, 10)))
    after = status(downloading(Download(50, 100, 10)), NOW + timedelta(seconds=after_s), before)
    assert after["downloads"][0]["bytes"] == shown
    assert (after == before) is (shown == 5)


def test_a_download_that_begins_is_shown_at_once_with_the_others_as_they_are() -> None:
    world = downloading(Download(5, 100, 10))
    before = status(world)
    legal = adapter_revision("legal", LEGAL)
    (report,) = world.reports.values()
    both = replace(report, adapters=(AdapterReport("legal", legal, "Downloading", download=Download(1, 7, 1)),))
    later = replace(world, reports=dict.fromkeys(world.reports, both))
    after = status(later, NOW + timedelta(seconds=1), before)
    assert {each["name"] for each in after["downloads"]} == {R1, legal}


def test_what_is_there_is_shown_no_more() -> None:
    assert "downloads" not in status(serving_world())
    assert "downloads" not in status(serving_world(), before=status(downloading(Download(5, 100, 10))))


def test_events_tell_the_beginning_and_the_end() -> None:
    before, during = status(downloading(None)), status(downloading(Download(0, 2_270_000_000, 0)))
    assert told(events(before, during)) == [("DownloadStarted", f"{R1}: 2.27 GB are on their way")]
    assert told(events(during, during)) == []
    assert told(events(during, before)) == [("DownloadFinished", f"{R1}: 2.27 GB have come")]


def test_a_failure_has_its_own_event_and_no_end_of_a_download() -> None:
    world = downloading(None)
    (report,) = world.reports.values()
    failed = replace(report.models[0], phase="Failed", reason="DigestMismatch", message="differs")
    after = status(replace(world, reports=dict.fromkeys(world.reports, replace(report, models=(failed,)))))
    assert told(events(status(downloading(Download(5, 100, 10))), after)) == []


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "files of unknown size"), (999, "999 B"), (1500, "1.5 kB"), (2_270_000_000, "2.27 GB"), (10**16, "1e+04 TB")],
)
def test_sizes_are_told_in_units(count: int, words: str) -> None:
    assert size(count) == words


def test_a_workers_download_is_read_from_its_state() -> None:
    entry = {"revision": R1, "phase": "Downloading", "admitted": False, "serving": False}
    state = {"observedGeneration": 1, "ready": False, "adapters": []}
    download = {"bytes": 1, "totalBytes": 2, "bytesPerSecond": 3}
    assert worker_report({**state, "models": [{**entry, "download": download}]}).models[0].download == Download(1, 2, 3)
    assert worker_report({**state, "models": [entry]}).models[0].download is None
