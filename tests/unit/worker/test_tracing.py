"""Traces of a real worker process, sent to a collector by OpenTelemetry's own exporter and read by its own protocol."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter
from tests.fixtures.manifests import adapter, document
from tests.fixtures.otlp import Collector, attributes, collector
from tests.fixtures.worker_process import WorkerProcess, worker_process

CALLER = "00f067aa0ba902b7"
TEXT = "unmistakable"


@pytest.fixture(scope="module")
def traces() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory, traces: Collector) -> Iterator[WorkerProcess]:
    """A worker that sends its spans to the collector."""
    with worker_process(tmp_path_factory.mktemp("pod")) as worker:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url)
            environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
            environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
            _serve(worker)
        yield worker


def _serve(worker: WorkerProcess) -> None:
    base = bert_checkpoint(worker.claim / "m-1")
    lora_adapter(worker.claim / "legal-1", base)
    worker.write(document(1, adapters=[adapter("legal", "legal-1")]))
    worker.start("fetch", "--template=t1")
    worker.serve("--drain-delay-s=0.1")
    worker.wait(lambda state: state.get("ready") and [each["phase"] for each in state["adapters"]] == ["Loaded"])


def ask(pod: WorkerProcess, number: int, *, sampled: bool = True, path: str = "/v1/rerank", **body: object) -> bytes:
    """Send a request as the `number`-th trace of a caller; return the trace's id."""
    trace_id = f"{number:032x}"
    content = {"query": TEXT, "documents": [f"{TEXT} tool", "the python compiler", "a library"], **body}
    header = {"traceparent": f"00-{trace_id}-{CALLER}-{'01' if sampled else '00'}"}
    httpx.post(pod.url + path, json=content, headers=header, timeout=30)
    return bytes.fromhex(trace_id)


def only(spans: list[Span], name: str) -> Span:
    (found,) = (span for span in spans if span.name == name)
    return found


def test_a_request_is_a_span_of_its_callers_trace_with_its_steps_below(pod: WorkerProcess, traces: Collector) -> None:
    spans = traces.trace(ask(pod, 1), spans=4)
    request = only(spans, "POST /v1/rerank")
    assert request.kind == Span.SPAN_KIND_SERVER
    assert request.parent_span_id.hex() == CALLER
    steps = [span for span in spans if span is not request]
    assert [span.name for span in steps] == ["tokenise", "queue", "batch"]
    assert {span.parent_span_id for span in steps} == {request.span_id}
    for step in steps:
        assert request.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano
        assert step.end_time_unix_nano <= request.end_time_unix_nano


def test_a_span_says_what_scored_the_request_and_how_much_it_was(pod: WorkerProcess, traces: Collector) -> None:
    spans = traces.trace(ask(pod, 2, adapter="legal"), spans=4)
    told = attributes(only(spans, "POST /v1/rerank"))
    assert told["http.request.method"] == "POST"
    assert told["http.route"] == "/v1/rerank"
    assert told["http.response.status_code"] == 200
    assert told["reranker.model"] == "acme/ranker:legal"
    assert told["reranker.revision"] == "m-1"
    assert told["reranker.adapter"] == "legal-1"
    assert told["reranker.documents"] == 3
    batch = attributes(only(spans, "batch"))
    assert batch["reranker.batch.pairs"] == 3
    assert batch["reranker.batch.tokens"] == told["reranker.tokens"]
    assert batch["reranker.batch.requests"] == 1


def test_the_process_says_who_it_is(pod: WorkerProcess, traces: Collector) -> None:
    traces.trace(ask(pod, 3), spans=4)
    assert traces.resource["service.name"] == "reranker-worker"
    assert traces.resource["k8s.pod.name"] == "pod-a"
    assert traces.resource["deployment.environment.name"] == "test"


def test_a_refusal_is_a_span_with_its_reason(pod: WorkerProcess, traces: Collector) -> None:
    (span,) = traces.trace(ask(pod, 4, model="no-such-model"), spans=1)
    assert attributes(span)["reranker.refusal"] == "NotFound"
    assert attributes(span)["http.response.status_code"] == 404
    assert span.status.code == Status.STATUS_CODE_UNSET  # the caller's mistake, by OpenTelemetry's conventions


def test_what_the_caller_does_not_keep_isn_t_kept_here(pod: WorkerProcess, traces: Collector) -> None:
    left_out = ask(pod, 5, sampled=False)
    traces.trace(ask(pod, 6), spans=4)  # sent later, so the other one would have come
    assert left_out not in {span.trace_id for span in traces.spans}


def test_probes_scrapes_and_listings_are_no_spans(pod: WorkerProcess, traces: Collector) -> None:
    for url in (f"{pod.url}/health", f"{pod.url}/v1/models", f"http://127.0.0.1:{pod.internal_port}/metrics"):
        assert httpx.get(url, timeout=10).status_code == 200
    assert pod.try_out("m-1").status_code == 200
    traces.trace(ask(pod, 7), spans=4)
    assert {span.name for span in traces.spans} == {"POST /v1/rerank", "tokenise", "queue", "batch"}


def test_no_span_holds_a_text(pod: WorkerProcess, traces: Collector) -> None:
    traces.trace(ask(pod, 8), spans=4)
    assert TEXT not in str(traces.spans)


def test_the_last_spans_are_sent_before_the_process_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as traces, worker_process(tmp_path / "pod") as worker:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        _serve(worker)
        trace_id = ask(worker, 9)
        worker.signal("serve", signal.SIGTERM)
        assert worker.processes["serve"].wait(20) == 0
        assert len(traces.trace(trace_id, spans=4, within_s=0)) == 4


def test_a_collector_that_is_away_costs_no_request_and_no_time_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker_process(tmp_path / "pod") as worker:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        _serve(worker)
        assert worker.rerank().status_code == 200
        worker.signal("serve", signal.SIGTERM)
        assert worker.processes["serve"].wait(20) == 0


OFF = {
    "nothing is set": {},
    "the SDK is disabled": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
    "traces aren't exported": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
    "the collector speaks gRPC": {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    },
}


@pytest.mark.parametrize("environment", OFF.values(), ids=OFF.keys())
def test_without_traces_nothing_of_the_sdk_is_imported(environment: dict[str, str]) -> None:
    program = (
        "import sys; from reranker_worker import tracing; from reranker_worker.web import app\n"
        "assert tracing.tracer_provider('pod-a') is None\n"
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
