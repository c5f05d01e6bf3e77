"""What has come of a request's parts so far, and what becomes of them in the end. No I/O."""

import math
from dataclasses import dataclass, field

from reranker_worker.scoring.backlog import PendingScore
from reranker_worker.serving import LoadedAdapter, LoadedModel, ScoreRequest, ScoreResult
from reranker_worker.tracing import Step


@dataclass(slots=True)
class Progress:
    """Sums over the parts that are scored; `steps` tell of the others too."""

    logits: list[float] = field(default_factory=list)
    tokens: int = 0
    truncated: int = 0
    queue_s: float = 0.0
    tokenization_s: float = 0.0
    inference_s: float = 0.0
    steps: list[Step] = field(default_factory=list)

    def add(self, part: PendingScore) -> None:
        """Count a part that is scored."""
        self.logits += part.logits
        self.tokens += part.tokens
        self.truncated += sum(pair.truncated for pair in part.pairs)
        self.queue_s += part.queue_s
        self.inference_s += part.inference_s

    def result(self, request: ScoreRequest, model: LoadedModel, adapter: LoadedAdapter | None) -> ScoreResult:
        """Return the scores as the request, or the model's settings, want them."""
        raw = request.raw_scores or model.settings.scores == "raw"
        return ScoreResult(
            scores=self.logits if raw else [_sigmoid(logit) for logit in self.logits],
            revision=model.revision,
            adapter_revision=adapter.revision if adapter else None,
            tokens=self.tokens,
            queue_ms=1000 * self.queue_s,
            tokenization_ms=1000 * self.tokenization_s,
            inference_ms=1000 * self.inference_s,
            truncated=self.truncated,
        )


def _sigmoid(logit: float) -> float:
    # math.exp overflows for large positive arguments only.
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else (grown := math.exp(logit)) / (1 + grown)
