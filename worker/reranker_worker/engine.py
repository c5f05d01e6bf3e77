"""The scoring engine: admission, tokenisation, batches on a device thread, and the one reference to what is served."""

from pathlib import Path

from reranker_worker.errors import WorkerError
from reranker_worker.metrics import Metrics
from reranker_worker.serving import (
    EngineSettings,
    Limits,
    LoadedAdapter,
    LoadedModel,
    ScoreRequest,
    ScoreResult,
    Serving,
)


class Engine:
    """Scores requests with what it serves; a request keeps the Serving that it was admitted with."""

    def __init__(self, limits: Limits, device: str = "auto", metrics: Metrics | None = None) -> None: ...

    def start(self) -> None:
        """Start the device thread."""

    def close(self) -> None:
        """Stop the device thread; requests still queued fail with NotReady."""

    def load_model(self, path: Path, revision: str, settings: EngineSettings) -> LoadedModel: ...

    def load_adapter(
        self, model: LoadedModel, path: Path, name: str, revision: str, max_rank: int
    ) -> LoadedAdapter: ...

    def serve(self, serving: Serving) -> None: ...

    @property
    def serving(self) -> Serving: ...

    def set_limits(self, limits: Limits) -> None: ...

    async def score(self, request: ScoreRequest) -> ScoreResult: ...

    @property
    def in_flight(self) -> int: ...

    def heartbeat_age_s(self) -> float: ...

    @property
    def fatal(self) -> WorkerError | None: ...
