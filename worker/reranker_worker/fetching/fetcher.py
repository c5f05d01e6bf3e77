"""The fetcher's loop: follows the manifest, keeps the cache filled and says what it uses. No failure ends it."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import structlog

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import ArtifactPhase, Completion, Progress, artifact_key
from reranker_worker.fetching.cache import ArtifactCache, on_any_disk
from reranker_worker.fetching.collection import used_keys
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.origins import Origins
from reranker_worker.fetching.pace import Pace
from reranker_worker.fetching.room import SIGN_S, Room
from reranker_worker.fetching.schedule import Setback, Turn, next_turn, setback, wanted_sources
from reranker_worker.fetching.transfer import Cancelled, Transfer
from reranker_worker.manifest import Manifest, Source
from reranker_worker.manifest_files import ManifestReader

_TICK_S = 0.05
_PROGRESS_S = 0.5  # to look at all files of a download takes a shared file system a while
_PARALLEL_DOWNLOADS = 4  # an adapter of a few hundred kilobytes must not wait for a model's gigabytes

log = structlog.get_logger("fetcher")


@dataclass(frozen=True)
class _Download:
    transfer: Transfer
    result: Future[Completion]
    pace: Pace = field(default_factory=Pace)


@dataclass
class Fetcher:
    """Owns the cache's write side; without `room` the cache has no bound, and nothing in it is ever removed."""

    manifests: ManifestReader
    template: str
    cache: ArtifactCache
    origins: Origins
    room: Room | None = None
    _pool: ThreadPoolExecutor = field(init=False)
    _running: dict[Source, _Download] = field(init=False, default_factory=dict)
    _complete: set[Source] = field(init=False, default_factory=set)
    _setbacks: dict[Source, Setback] = field(init=False, default_factory=dict)
    _followed: Manifest | None = field(init=False, default=None)
    _problem: str = field(init=False, default="")
    _listed: frozenset[str] = field(init=False, default=frozenset())
    _last_listed_s: dict[str, float] = field(init=False, default_factory=dict)
    _used: frozenset[str] = field(init=False, default=frozenset())
    _next_sign_s: float = field(init=False, default=0.0)
    _next_progress_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Prepare the download threads."""
        self._pool = ThreadPoolExecutor(_PARALLEL_DOWNLOADS, thread_name_prefix="download")

    def run(self, stop: threading.Event) -> None:
        """Follow the manifest until told to stop."""
        tick = on_any_disk(self.tick, log)
        try:
            while not stop.is_set():
                tick()
                stop.wait(_TICK_S)
        finally:  # whatever ends it: a process waits for its threads, and one that tells nothing more has to begin anew
            for download in self._running.values():
                download.transfer.cancelled.set()
            self._pool.shutdown(cancel_futures=True)

    def tick(self) -> None:
        """Take in what has finished, then start and give up what the manifest asks for."""
        self._follow()
        for source, download in list(self._running.items()):
            self._take_in(source, download)
        if time.monotonic() >= self._next_progress_s:
            self._next_progress_s = time.monotonic() + _PROGRESS_S
        if self._followed is not None:
            if self.room is not None:
                self._say_what_is_used(self.room)
            self._act(self._turn(self._followed))

    def _follow(self) -> None:
        reading = self.manifests.read()
        if reading.problem != self._problem:
            self._problem = reading.problem
            log.warning("manifest ignored", problem=reading.problem) if reading.problem else None
        if reading.effective is not self._followed:
            self._followed = reading.effective
            self._retry_at_once(reading.effective)  # an edit may be the repair
            self._listed = frozenset(map(artifact_key, _listed_sources(reading.effective)))
            log.info("following manifest", generation=reading.effective.generation if reading.effective else None)

    def _retry_at_once(self, manifest: Manifest | None) -> None:
        wanted = wanted_sources(manifest, self.template) if manifest is not None else ()
        again = Setback(failures=0, retry_at_s=time.monotonic())
        self._setbacks = {source: again for source in wanted if source in self._setbacks}

    def _say_what_is_used(self, room: Room) -> None:
        """Tell other fetchers before this one relies on it, whenever it changes and to show that this one lives."""
        now_s = time.monotonic()
        self._last_listed_s |= dict.fromkeys(self._listed, now_s)
        used = used_keys(self._last_listed_s, now_s)
        if used == self._used and now_s < self._next_sign_s:
            return
        self._last_listed_s = {key: self._last_listed_s[key] for key in used}
        self._used, self._next_sign_s = used, now_s + SIGN_S
        # Others may have taken this one for gone, and somebody may tidy up by hand.
        self._complete = {source for source in self._complete if self.cache.completion(source) is not None}
        try:
            room.use(used)
        except OSError as error:
            log.warning("what is used can't be told to others", error=error.strerror)

    def _turn(self, manifest: Manifest) -> Turn:
        wanted = wanted_sources(manifest, self.template)
        self._complete.intersection_update(wanted)
        for source in wanted:
            if source not in self._complete and source not in self._running and source not in self._setbacks:
                self._find(source)
        return next_turn(wanted, self._complete, self._running.keys(), self._setbacks, time.monotonic())

    def _find(self, source: Source) -> None:
        """Take an artifact that an earlier process brought for complete."""
        if self.cache.completion(source) is not None:
            self._complete.add(source)
            self._tell(source, Progress(ArtifactPhase.COMPLETE))

    def _act(self, turn: Turn) -> None:
        for source in turn.cancel:
            self._running[source].transfer.cancelled.set()
        for source in turn.start:
            log.info("download starts", uri=source.uri, revision=source.revision)
            transfer = Transfer(partial(self.room.make, source.uri, artifact_key(source))) if self.room else Transfer()
            result = self._pool.submit(fetch_artifact, source, self.cache, self.origins, transfer)
            self._running[source] = _Download(transfer, result)
            if source not in self._setbacks:
                self._tell(source, Progress(ArtifactPhase.DOWNLOADING))

    def _take_in(self, source: Source, download: _Download) -> None:
        if not download.result.done():
            if time.monotonic() >= self._next_progress_s:
                self._tell_progress(source, download)
            return
        del self._running[source]
        match download.result.exception():
            case None:
                self._succeeded(source, download.result.result())
            case Cancelled():
                log.info("download given up", uri=source.uri)
            case SourceError() as error:
                self._failed(source, error)
            case error:
                log.error("download broke", uri=source.uri, exc_info=error)
                message = f"{source.uri}: {type(error).__name__} while fetching; the fetcher's log has more"
                self._failed(source, SourceError("SourceUnreachable", message))

    def _tell_progress(self, source: Source, download: _Download) -> None:
        # Where another fetcher of this cache is at it, what it has noted tells how far it is.
        total_bytes = download.transfer.total_bytes or self.cache.reserved(artifact_key(source))
        # What failed stays failed until its source answers: that it is tried again is no news to anyone.
        if total_bytes or source not in self._setbacks:
            done_bytes = self.cache.partial_bytes(source)
            rate = download.pace.bytes_per_second(time.monotonic(), done_bytes)
            self._tell(source, Progress(ArtifactPhase.DOWNLOADING, "", "", done_bytes, total_bytes, rate))

    def _tell(self, source: Source, progress: Progress) -> None:
        """Write a progress file if that can be done: on a full disk the downloads of others must go on."""
        try:
            self.cache.tell(source, progress)
        except OSError as error:
            log.warning("progress can't be told", uri=source.uri, phase=progress.phase, error=error.strerror)

    def _succeeded(self, source: Source, completion: Completion) -> None:
        self._complete.add(source)
        self._setbacks.pop(source, None)
        size = sum(file.size for file in completion.files.values())
        self._tell(source, Progress(ArtifactPhase.COMPLETE, bytes=size, total_bytes=size))
        log.info("artifact complete", uri=source.uri, digest=completion.digest, bytes=size)

    def _failed(self, source: Source, error: SourceError) -> None:
        if self.room is not None and isinstance(error.__cause__, OSError) and error.reason == "DiskFull":
            self._free(self.room)
        self._setbacks[source] = setback(error, self._setbacks.get(source), time.monotonic())
        self._tell(source, Progress(ArtifactPhase.FAILED, error.reason, error.message))
        log.warning("download failed", reason=error.reason, message=error.message)

    @staticmethod
    def _free(room: Room) -> None:
        try:
            room.free()
        except OSError as error:
            log.warning("no room can be made", error=error.strerror)


def _listed_sources(manifest: Manifest | None) -> list[Source]:
    """Return every source of a manifest, other templates' too: their pods may share the cache."""
    if manifest is None:
        return []
    return [model.source for model in manifest.models] + [adapter.source for adapter in manifest.adapters]
