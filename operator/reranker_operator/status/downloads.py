"""The downloads under way in a fleet, as the status shows them: few writes, and none once all is there. No I/O."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from reranker_operator.resources.v1alpha1 import MOST_DOWNLOADS, DownloadStatus
from reranker_operator.world.facts import timestamp
from reranker_operator.world.reports import AdapterReport, Download, ModelReport, PrefetchReport
from reranker_operator.world.state import World

#: A status that told each byte would be written at every look.
PERIOD = timedelta(seconds=10)
UNITS = ("B", "kB", "MB", "GB", "TB")


def downloads(world: World, before: Iterable[DownloadStatus], now: datetime) -> list[DownloadStatus]:
    """Per revision the pod that is the farthest from its end; as they were, until something began or time passed."""
    known = {each.name: each for each in before}
    slowest = _slowest(world)
    fresh = {name for name, each in known.items() if now - datetime.fromisoformat(each.observed_at) < PERIOD}
    if slowest.keys() <= fresh:
        return [known[name] for name in slowest]
    return [_status(name, each, now) for name, each in slowest.items()]


def _slowest(world: World) -> dict[str, Download]:
    """The largest rests, in the order of their revisions' names; more than the status holds are told later."""
    found = {name: max(several, key=_left) for name, several in _by_name(world).items()}
    largest = sorted(found, key=lambda name: _left(found[name]), reverse=True)[:MOST_DOWNLOADS]
    return {name: found[name] for name in sorted(largest)}


def size(count: int) -> str:
    """A number of bytes as an Event tells it."""
    if not count:
        return "files of unknown size"
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.3g} {UNITS[unit]}"


def _by_name(world: World) -> dict[str, list[Download]]:
    """What living pods download, by revision."""
    found: dict[str, list[Download]] = {}
    for pod in world.pods:
        report = world.report(pod)
        if report is None or pod.terminating:
            continue
        entries: tuple[ModelReport | AdapterReport | PrefetchReport, ...] = (
            *report.models,
            *report.adapters,
            *report.prefetch,
        )
        for entry in entries:
            if entry.download is not None:
                found.setdefault(entry.revision, []).append(entry.download)
    return found


def _status(name: str, download: Download, now: datetime) -> DownloadStatus:
    rate = download.bytes_per_second
    return DownloadStatus(
        name=name,
        bytes=download.bytes,
        total_bytes=download.total_bytes,
        bytes_per_second=rate,
        eta_seconds=-(-_left(download) // rate) if rate and download.total_bytes else None,
        observed_at=timestamp(now),
    )


def _left(download: Download) -> int:
    return max(0, download.total_bytes - download.bytes)
