"""The dashboard and the alerts read what worker and operator really emit, names and labels; the docs list all of it."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client import generate_latest

from hack.promql.prometheus import reads
from hack.repository import ROOT
from reranker_operator.decisions.objections import MAY_PASS
from reranker_operator.metrics import Metrics
from reranker_operator.resources.v1alpha1 import RejectedRevision
from reranker_operator.status import adapter_conditions, conditions
from reranker_operator.status.adapter_conditions import model_not_found
from reranker_operator.world.names import Key
from reranker_worker import errors
from reranker_worker.fetching.artifacts import artifact_key
from reranker_worker.manifest import Source
from tests.fixtures import expositions
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter
from tests.fixtures.manifests import adapter, document
from tests.fixtures.monitoring import (
    ALERTS,
    ATTACHED,
    CHART,
    DASHBOARD,
    PANELS,
    RECORDED,
    alert_series,
    missing,
    panel_series,
)
from tests.fixtures.worker_process import WorkerProcess, worker_process
from tests.unit.operator import worlds
from tests.unit.operator.test_adapters import resource


def attached_to_workers() -> set[str]:
    """Labels of the workers' series that come from the chart's PodMonitor."""
    monitors = (CHART / "templates/monitors.yaml").read_text()
    (told,) = re.findall(r"podTargetLabels: \[(.+)\]", monitors)
    return ATTACHED | {re.sub(r"[^a-zA-Z0-9_]", "_", label) for label in told.split(", ")}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a real worker says after a few requests, while an adapter is on its way."""
    with worker_process(tmp_path_factory.mktemp("pod")) as pod:
        base = bert_checkpoint(pod.claim / "m-1")
        lora_adapter(pod.claim / "legal-1", base)
        pod.write(document(1, adapters=[adapter("legal", "legal-1")]))
        pod.start("fetch", "--template=t1")
        pod.serve()
        pod.wait(lambda state: state.get("ready") and [each["phase"] for each in state["adapters"]] == ["Loaded"])
        assert [pod.rerank().status_code, pod.rerank(adapter="legal").status_code] == [200, 200]
        assert pod.rerank(documents=[]).status_code == 400
        _begin_download(pod, "tax-1")
        pod.write(document(2, adapters=[adapter("legal", "legal-1"), adapter("tax", "tax-1")]))
        pod.wait(lambda state: [each["phase"] for each in state["adapters"]] == ["Loaded", "Downloading"])
        return httpx.get(f"http://127.0.0.1:{pod.internal_port}/metrics", timeout=10).text


def _begin_download(pod: WorkerProcess, revision: str) -> None:
    """Tell the server, as a fetcher does, that a tenth of an artifact has come; no fetcher runs any more."""
    pod.processes["fetch"].kill()
    progress = {"phase": "Downloading", "bytes": 10, "totalBytes": 100, "bytesPerSecond": 1}
    key = artifact_key(Source(uri=f"pvc://models/{revision}"))
    (pod.folder / "run" / "fetcher" / f"{key}.json").write_text(json.dumps(progress))


@pytest.fixture(scope="module")
def operator() -> str:
    """What an operator says once each of its counters has counted, of a model with a rejected revision."""
    metrics = Metrics()
    for counted in (metrics.reconciles, metrics.resyncs, metrics.watch_events):
        counted.labels("x").inc()
    metrics.api_requests.labels("GET", "pods", "200").inc()
    world = worlds.serving_world()
    refused = RejectedRevision(name="bge-2", reason="GateFailed", message="m", gate="g")
    goal = replace(worlds.goal(world), rejections=(refused,))
    status = conditions.status(world, goal, datetime.now(UTC))
    metrics.statuses.tell("search", "bge", status)
    problem = model_not_found(Key("search", "bge"), worlds.SETTINGS)
    waiting = adapter_conditions.refused(resource(), problem, datetime.now(UTC))
    metrics.statuses.tell_adapters("search", "bge", {("search", "legal"): waiting})
    return generate_latest(metrics.registry).decode()


@pytest.fixture(scope="module")
def emitted(worker: str, operator: str) -> dict[str, frozenset[str]]:
    """Each series with all labels that it has in Prometheus."""
    of_workers = {name: labels | attached_to_workers() for name, labels in expositions.series(worker).items()}
    of_operator = {name: labels | ATTACHED for name, labels in expositions.series(operator).items()}
    return {**of_workers, **of_operator, RECORDED: frozenset()}


def documented(heading: str) -> list[str]:
    """The rows of the table of metrics below a heading of docs/observability.md."""
    page = (ROOT / "docs/observability.md").read_text()
    section = page.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def rows(exposition: str) -> list[str]:
    """The rows that the table has to have."""
    found = sorted(expositions.families(exposition).values(), key=lambda each: each.name)
    return [
        f"| `{each.name}` | {each.type} | {', '.join(f'`{label}`' for label in sorted(each.labels))} | {each.help} |"
        for each in found
        if each.name.startswith("reranker_")
    ]


def test_the_docs_list_the_workers_metrics(worker: str) -> None:
    assert documented("Of a worker") == rows(worker)


def test_the_docs_list_the_operators_metrics(operator: str) -> None:
    assert documented("Of the operator") == rows(operator)


def test_every_panel_reads_series_and_labels_that_are_emitted(emitted: dict[str, frozenset[str]]) -> None:
    assert missing(panel_series(), emitted) == []


def test_every_alert_reads_series_and_labels_that_are_emitted(emitted: dict[str, frozenset[str]]) -> None:
    assert missing(alert_series(), emitted) == []


def test_a_series_or_label_that_nobody_emits_is_found(emitted: dict[str, frozenset[str]]) -> None:
    wrong = ["sum(reranker_request_total)", "sum by (version) (reranker_requests_total)", 'reranker_ready{pods="a"}']
    found = [("here", each) for asked in reads(wrong) for each in asked]
    assert len(missing(found, emitted)) == 3


def test_no_label_of_ours_is_one_that_a_scrape_attaches(worker: str, operator: str) -> None:
    """Prometheus would rename it to exported_…, and the alerts would look at the other one."""
    of_workers = frozenset[str]().union(*expositions.series(worker).values())
    of_operator = frozenset[str]().union(*expositions.series(operator).values())
    assert of_workers & attached_to_workers() == frozenset()
    assert of_operator & ATTACHED == frozenset()


def test_a_latency_beyond_every_objective_that_the_chart_takes_can_be_told(worker: str) -> None:
    """A quantile is at most the last bound: with an objective at or above that one the alert couldn't fire."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    rules = schema["properties"]["metrics"]["properties"]["rules"]["properties"]
    bounds = re.findall(r'reranker_request_duration_seconds_bucket{le="([\d.]+)"}', worker)
    assert max(map(float, bounds)) >= rules["latencyObjectiveSeconds"]["exclusiveMaximum"]


def test_legends_and_annotations_name_labels_that_their_expression_keeps() -> None:
    legends = [
        (t["expr"], set(re.findall(r"{{(\w+)}}", t.get("legendFormat", "")))) for p in PANELS for t in p["targets"]
    ]
    told = [
        (a["expr"], set(re.findall(r"\$labels\.(\w+)", json.dumps([a["labels"], a["annotations"]])))) for a in ALERTS
    ]
    asked = [(expr.replace("$__rate_interval", "5m"), labels) for expr, labels in (*legends, *told)]
    for (expression, labels), found in zip(asked, reads([expr for expr, _ in asked]), strict=True):
        assert labels <= frozenset[str]().union(*(each.labels for each in found)), expression


def test_the_variables_of_the_dashboard_are_values_of_what_workers_emit(emitted: dict[str, frozenset[str]]) -> None:
    lists = [v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    for query in lists:
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()  # type: ignore[union-attr]
        ((found,),) = reads([selector])
        assert {*found.labels, label} <= emitted[found.metric]


def values_of(label: str, metric: str) -> set[str]:
    """The values of a label that alerts and panels ask for by name."""
    asked = [each for _, each in (*alert_series(), *panel_series()) if each.metric == metric]
    matchers = [m for each in asked for m in each.matchers if m.label == label and "$" not in m.value]
    return {value for matcher in matchers for value in matcher.value.split("|")}


def test_the_reasons_that_are_asked_for_are_reasons_of_the_code() -> None:
    assert values_of("reason", "reranker_revision_phase") == MAY_PASS
    (overloaded,) = values_of("reason", "reranker_refusals_total")
    assert overloaded == errors.Overloaded.__name__


def test_panels_lie_side_by_side_and_have_ids_of_their_own() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
