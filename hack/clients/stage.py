"""What the clients meet: a worker with two revisions and an adapter of a real model, and one that is still cold."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hack.clients.overload import overloaded
from hack.clients.worker import TEMPLATE, Worker, running
from hack.cluster.progress import StepError, step
from hack.demo import models
from hack.stage.claims import Artifact

SERVED_NAME = "acme/debian-search"
REVISIONS = ("debian-search-1", "debian-search-2")
ADAPTER, ADAPTER_NAME = "lora-science", "science"
KEY = "clients-key"
# Small, so that one request of the stage fills it; an empty queue takes a client's whatever its size.
BATCH_TOKENS, QUEUE_TOKENS = 2048, 8192
_CLAIM = "models"
OVERLOADED = 'reranker_refusals_total{reason="Overloaded"}'
NOT_READY = 'reranker_refusals_total{reason="NotReady"}'
_PATIENCE_S = 60
_POLL_S = 0.05


class Stage(Protocol):
    """A served model, and the faults that a client is shown; each method returns once what it says is so."""

    @property
    def url(self) -> str:
        """Return where the model is served."""
        ...

    @property
    def cold_url(self) -> str:
        """Return where it isn't served yet."""
        ...

    def swap(self) -> None:
        """Let the other revision answer."""
        ...

    def overload(self) -> None:
        """Be so busy that every request is refused."""
        ...

    def relieve(self) -> None:
        """Be idle again."""
        ...

    def relieve_after_refusal(self) -> None:
        """Be idle again once somebody was refused."""
        ...

    def cool(self) -> None:
        """Have a worker at `cold_url` that has its model, but may not answer yet."""
        ...

    def warm_after_refusal(self) -> None:
        """Let the cold worker answer once it has refused somebody."""
        ...


@dataclass
class LocalStage:
    """The stage as worker processes on this machine."""

    claims: Path
    worker: Worker
    cold: Worker
    restart_cold: Callable[[], Worker]
    serving: int = 0
    _overload: ExitStack = field(default_factory=ExitStack)
    _refused: float = 0
    _told_to_wait: float = 0
    _warm: bool = False

    @property
    def url(self) -> str:
        """Return where the model is served."""
        return self.worker.url

    @property
    def cold_url(self) -> str:
        """Return where it isn't served yet."""
        return self.cold.url

    def swap(self) -> None:
        """Flip the pointer; both revisions stay in memory."""
        self.serving = 1 - self.serving
        self.worker.tell(manifest(self.serving))
        wanted = REVISIONS[self.serving]
        self.worker.wait(f"{wanted} answers", lambda state: _answers(state, wanted))

    def overload(self) -> None:
        """Fill the queue."""
        self._overload.enter_context(overloaded(self.url, KEY))
        self._refused = self.worker.metric(OVERLOADED)

    def relieve(self) -> None:
        """Give up the request that fills the queue."""
        self._overload.close()

    def relieve_after_refusal(self) -> None:
        """Wait for a refusal, then give up."""
        _wait_for(lambda: self.worker.metric(OVERLOADED) > self._refused, "a refusal")
        self.relieve()

    def cool(self) -> None:
        """Replace the cold worker where it has been admitted: what was admitted once goes on answering."""
        if self._warm:
            self.cold = self.restart_cold()
            self._warm = False
        self._told_to_wait = self.cold.metric(NOT_READY)

    def warm_after_refusal(self) -> None:
        """Admit the cold worker's model once a client was told to wait for it since `cool`."""
        _wait_for(lambda: self.cold.metric(NOT_READY) > self._told_to_wait, "a refusal")
        self.cold.tell(manifest(0))
        self.cold.wait("it answers", lambda state: _answers(state, REVISIONS[0]))
        self._warm = True


@contextmanager
def local_stage() -> Iterator[LocalStage]:
    """Serve from this machine until the context ends."""
    found = {artifact.name: artifact for artifact in models.artifacts()}
    with tempfile.TemporaryDirectory(prefix="clients-") as folder, _served_from(Path(folder), found) as served:
        yield served


@contextmanager
def _served_from(folder: Path, artifacts: Mapping[str, Artifact]) -> Iterator[LocalStage]:
    claims = folder / "claims"
    for name in (*REVISIONS, ADAPTER):
        shutil.copytree(artifacts[name].folder, claims / _CLAIM / name)
    keys = folder / "keys"
    keys.write_text(KEY + "\n")
    flags = [f"--api-keys-file={keys}", "--request-timeout-s=600"]
    with ExitStack() as stack:
        colds = stack.enter_context(ExitStack())

        def restart_cold() -> Worker:
            colds.close()
            shutil.rmtree(folder / "cold", ignore_errors=True)
            worker = colds.enter_context(running(folder / "cold", claims, flags))
            worker.tell(manifest(0, admitted=False))
            worker.wait("a model in memory that may not answer", _has_loaded)
            return worker

        with step("two revisions and an adapter are served", doing="starting the workers"):
            worker = stack.enter_context(running(folder / "worker", claims, flags))
            worker.tell(manifest(0))
            worker.wait("both revisions and the adapter are loaded", _all_loaded)
            stage = LocalStage(claims, worker, restart_cold(), restart_cold)
        stack.callback(stage.relieve)
        yield stage


def manifest(serving: int, *, admitted: bool = True) -> dict[str, Any]:
    """Return what the worker is told: one revision answers, the other is loaded beside it."""
    other = {TEMPLATE: REVISIONS[1 - serving]} if admitted else {}
    return {
        "servedName": SERVED_NAME,
        "models": [_model(name) for name in (REVISIONS if admitted else REVISIONS[:1])],
        "serve": {TEMPLATE: REVISIONS[serving]},
        "candidates": other,
        "admitted": list(REVISIONS) if admitted else [],
        "adapters": [{"name": ADAPTER_NAME, "revision": ADAPTER, "source": _source(ADAPTER), "required": True}],
        "adapterPolicy": {"maxLoaded": 4, "maxRank": 64},
        "limits": {"maxBatchTokens": BATCH_TOKENS, "maxQueueTokens": QUEUE_TOKENS},
        "drainSeconds": 5,
    }


def _model(name: str) -> dict[str, Any]:
    engine = {"dtype": "float32", "maxLength": 256, "scores": "sigmoid"}
    return {"revision": name, "source": _source(name), "engine": engine}


def _source(name: str) -> dict[str, str]:
    return {"uri": f"pvc://{_CLAIM}/{name}"}


def _answers(state: dict[str, Any], revision: str) -> bool:
    models = state.get("models", [])
    return bool(state.get("ready")) and any(m["revision"] == revision and m["serving"] for m in models)


def _has_loaded(state: dict[str, Any]) -> bool:
    return [model["phase"] for model in state.get("models", [])] == ["Loaded"]


def _all_loaded(state: dict[str, Any]) -> bool:
    loaded = [one["phase"] for model in state.get("models", []) for one in (model, *model["adapters"])]
    return bool(state.get("ready")) and loaded == ["Loaded"] * 4


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise StepError(f"no client met {what} within {_PATIENCE_S} s")
        time.sleep(_POLL_S)
