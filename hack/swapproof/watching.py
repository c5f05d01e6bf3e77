"""Watching the fleet while it is changed: `kubectl get --watch` of three kinds, read into what the record keeps."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from hack.cluster.progress import StepError
from hack.stage.kubectl import Kubectl
from hack.swapproof.record import AdapterSeen, EndpointsSeen, ManifestSeen, ModelSeen, Seen
from hack.swapproof.wanted import MODEL

T = TypeVar("T", ModelSeen, AdapterSeen, EndpointsSeen, ManifestSeen)
Read = Callable[[float, Any], Seen]


def model_seen(at: float, model: Any) -> ModelSeen:
    """Return what is kept of a RerankerModel."""
    status = model.get("status", {})
    told = sorted(status.get("adapters", []), key=lambda one: one["name"])
    return ModelSeen(
        time=at,
        generation=model["metadata"]["generation"],
        observed_generation=status.get("observedGeneration", -1),
        ready_generation=_ready_generation(status),
        rejected=tuple(one["name"] for one in status.get("revisions", {}).get("rejected", [])),
        adapters=tuple((one["name"], one["revision"] if one["ready"] == one["desired"] else "") for one in told),
    )


def adapter_seen(at: float, adapter: Any) -> AdapterSeen:
    """Return what is kept of a RerankerAdapter."""
    metadata, status = adapter["metadata"], adapter.get("status", {})
    revision = status.get("revision", "")
    return AdapterSeen(at, metadata["name"], metadata["generation"], _ready_generation(status), revision)


def _ready_generation(status: Any) -> int:
    ready = (one for one in status.get("conditions", []) if one["type"] == "Ready" and one["status"] == "True")
    return next((int(one["observedGeneration"]) for one in ready), 0)


def endpoints_seen(at: float, endpoints: Any) -> EndpointsSeen:
    """Return what is kept of an EndpointSlice: its ready endpoints."""
    ready = sum(bool(one["conditions"].get("ready")) for one in endpoints.get("endpoints") or [])
    return EndpointsSeen(at, ready)


def manifest_seen(at: float, config_map: Any) -> ManifestSeen:
    """Return what is kept of the serving manifest's ConfigMap."""
    manifest = json.loads(config_map["data"]["manifest.json"])
    return ManifestSeen(at, manifest["generation"], tuple(manifest["admitted"]))


WATCHED: tuple[tuple[tuple[str, ...], Read], ...] = (
    (("rerankermodel", MODEL), model_seen),
    (("rerankeradapters",), adapter_seen),
    (("endpointslices", f"--selector=kubernetes.io/service-name={MODEL}"), endpoints_seen),
    (("configmap", f"{MODEL}-serving"), manifest_seen),
)


class Watch:
    """What was seen of the fleet; one thread for each kind, `seen` only grows."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._news = threading.Condition()

    def follow(self, lines: IO[str], read: Read) -> threading.Thread:
        """Read a stream of events, one a line, in a thread of its own."""
        thread = threading.Thread(target=self._follow, args=(lines, read), daemon=True)
        thread.start()
        return thread

    def _follow(self, lines: IO[str], read: Read) -> None:
        for line in lines:
            event = json.loads(line)
            if event["type"] in {"ADDED", "MODIFIED"}:
                with self._news:
                    self.seen.append(read(time.time(), event["object"]))
                    self._news.notify_all()

    def latest(self, kind: type[T]) -> T | None:
        """Return what was last seen of a kind."""
        return next((one for one in reversed(self.seen) if isinstance(one, kind)), None)

    def wait_for(self, what: str, found: Callable[[], Seen | None], within_s: float) -> Seen:
        """Wait until something is found among what was seen, and return it."""
        with self._news:
            came = self._news.wait_for(found, within_s)
        if came is None:
            raise StepError(f"not within {within_s:.0f} s: {what}; last seen: {self.latest(ModelSeen)}")
        return came


@contextlib.contextmanager
def watching(kubectl: Kubectl, folder: Path) -> Iterator[Watch]:
    """Watch the fleet for a block; StepError where the watch ended before it."""
    watch = Watch()
    with contextlib.ExitStack() as stack:
        readers = {}
        for what, read in WATCHED:
            kind, argv = what[0], ("get", *what, "--watch", "--output-watch-events", "--output=json")
            process = stack.enter_context(kubectl.running(*argv, log=folder / f"watch-{kind}.log"))
            assert process.stdout is not None
            readers[kind] = watch.follow(process.stdout, read)
        yield watch
        ended = [kind for kind, reader in readers.items() if not reader.is_alive()]
        if ended:
            raise StepError(f"the watch of {', '.join(ended)} ended during the run; its log is in {folder}")
