"""Which artifacts to fetch, give up or try again, from what is wanted and what has happened. No I/O."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from reranker_worker.errors import SourceError
from reranker_worker.manifest import Manifest, Source

RETRIED = frozenset(
    {"SourceUnreachable", "SourceNotFound", "SourceUnauthorized", "DiskFull", "DigestMismatch", "NotInCache"}
)
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


@dataclass(frozen=True)
class Setback:
    """An artifact's last failure and when it may be tried again; never, with `retry_at_s` None."""

    failures: int
    retry_at_s: float | None


@dataclass(frozen=True)
class Turn:
    """What the fetcher does next."""

    start: tuple[Source, ...] = ()
    cancel: frozenset[Source] = field(default_factory=frozenset)


def wanted_sources(manifest: Manifest, template: str) -> tuple[Source, ...]:
    """Return the sources of the template's model, adapters, candidate and what is fetched ahead, each once."""
    target = manifest.target(template)
    if target is None:
        return ()
    candidate = manifest.candidate(template)
    beside = [entry.source for entry in (candidate, *manifest.prefetched) if entry is not None]
    return tuple(dict.fromkeys([target.source, *(adapter.source for adapter in manifest.adapters), *beside]))


def next_turn(
    wanted: tuple[Source, ...],
    complete: AbstractSet[Source],
    running: AbstractSet[Source],
    setbacks: Mapping[Source, Setback],
    now_s: float,
) -> Turn:
    """Decide what starts and what is given up."""
    idle = [source for source in wanted if source not in complete and source not in running]
    return Turn(
        start=tuple(source for source in idle if _is_due(setbacks.get(source), now_s)),
        cancel=frozenset(running - set(wanted)),
    )


def setback(error: SourceError, previous: Setback | None, now_s: float) -> Setback:
    """Return when a failed artifact is tried again: 1 s later, then twice as long each time, up to a minute."""
    failures = previous.failures + 1 if previous else 1
    if error.reason not in RETRIED:
        return Setback(failures, retry_at_s=None)
    delay_s = min(_FIRST_RETRY_S * 2 ** min(failures - 1, 16), _LONGEST_RETRY_S)
    return Setback(failures, now_s + delay_s)


def _is_due(setback: Setback | None, now_s: float) -> bool:
    return setback is None or (setback.retry_at_s is not None and setback.retry_at_s <= now_s)
