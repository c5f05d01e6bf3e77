"""The alerts, run by Prometheus' own promtool on a fleet that is well but for one thing."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.promql.prometheus import promtool

from .conftest import CHART, Json, Rendered

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[[Json], Rendered]

WORKER = 'namespace="search", reranker_dev_model="bge", pod="bge-0"'
OPERATOR = 'namespace="rerankers", job="operator", pod="operator-0"'
MODEL = f'{OPERATOR}, model_namespace="search", model="bge"'


def condition(type_: str, status: str, reason: str) -> str:
    return f'reranker_operator_model_condition{{{MODEL}, type="{type_}", status="{status}", reason="{reason}"}}'


def adapter_condition(type_: str, status: str, reason: str) -> str:
    adapter = f'{MODEL}, adapter_namespace="team-b", adapter="legal"'
    return f'reranker_operator_adapter_condition{{{adapter}, type="{type_}", status="{status}", reason="{reason}"}}'


def requests(code: int) -> str:
    return f'reranker_requests_total{{{WORKER}, code="{code}"}}'


def seconds(le: str) -> str:
    return f'reranker_request_duration_seconds_bucket{{{WORKER}, le="{le}"}}'


def refused(reason: str) -> str:
    return f'reranker_refusals_total{{{WORKER}, reason="{reason}"}}'


def reconciles(result: str) -> str:
    return f'reranker_operator_reconciles_total{{{OPERATOR}, result="{result}"}}'


def failed(reason: str) -> str:
    return f'reranker_revision_phase{{{WORKER}, revision="bge-2", phase="Failed", reason="{reason}"}}'


AVAILABLE = condition("Available", "True", "Serving")
SERVING = f'reranker_operator_model_revision{{{MODEL}, role="serving", revision="bge-1"}}'
LEADING = f"reranker_operator_leading{{{OPERATOR}}}"
STANDBY = 'reranker_operator_leading{namespace="rerankers", job="operator", pod="operator-1"}'
OTHERS = 'reranker_operator_leading{namespace="others", job="other", pod="other-0"}'
DOWNLOAD = f'reranker_download_bytes{{{WORKER}, revision="bge-2"}}'
LISTINGS = f'reranker_operator_resyncs_total{{{OPERATOR}, result="failed"}}'
FAST, ALL = seconds("0.5"), seconds("+Inf")

#: A value a minute for an hour: a hundred requests a minute, each within half a second.
HEALTHY = {
    AVAILABLE: "1x60",
    SERVING: "1x60",
    requests(200): "0+100x60",
    FAST: "0+100x60",
    seconds("2"): "0+100x60",
    ALL: "0+100x60",
    LEADING: "1x60",
    reconciles("changed"): "0+1x60",
}
GONE = {AVAILABLE: "_x60"}
NOT_SERVING = ("RerankerModelNotServing", "search", "bge")
STALLED = ("RerankerModelStalled", "search", "bge")
ADAPTER_STALLED = ("RerankerAdapterStalled", "team-b", "bge")
STUCK = ("RerankerDownloadStuck", "search", "bge")
FAILING = ("RerankerRequestsFailing", "search", "bge")
SLOW = ("RerankerLatencyHigh", "search", "bge")
FULL = ("RerankerQueueFull", "search", "bge")
NO_LEADER = ("RerankerOperatorNotLeading", "rerankers", "")
NOT_RECONCILED = ("RerankerReconcilesFailing", "rerankers", "")

Firing = tuple[str, str, str]

#: What differs from a healthy fleet, and what fires after 40 minutes, by alert, namespace and model.
CASES: dict[str, tuple[dict[str, str], list[Firing]]] = {
    "nothing": ({}, []),
    "no pod answers": ({**GONE, condition("Available", "False", "CrashLoopBackOff"): "1x60"}, [NOT_SERVING]),
    "no pod answers for one reason after another": (
        {
            **GONE,
            condition("Available", "False", "StartingPods"): "_x37 1x1 _x60",
            condition("Available", "False", "LoadingModel"): "_x39 1x60",
        },
        [NOT_SERVING],
    ),
    "no pod has answered for a minute": (
        {**GONE, condition("Available", "False", "StartingPods"): "_x39 1x60"},
        [],
    ),
    "a model wakes from zero pods": (
        {
            **GONE,
            condition("Available", "False", "ScaledToZero"): "1x30",
            condition("Available", "False", "StartingPods"): "_x31 1x60",
        },
        [],
    ),
    "a model doesn't wake": (
        {
            **GONE,
            condition("Available", "False", "ScaledToZero"): "1x10",
            condition("Available", "False", "StartingPods"): "_x11 1x60",
        },
        [NOT_SERVING],
    ),
    "no pod is wanted": ({**GONE, condition("Available", "False", "ScaledToZero"): "1x60"}, []),
    "the first revision is still on its way": (
        {**GONE, SERVING: "_x60", condition("Available", "False", "LoadingModel"): "1x60"},
        [],
    ),
    "a candidate is rejected": ({condition("Stalled", "True", "GateFailed"): "1x60"}, [STALLED]),
    "an adapter of another team is refused": (
        {adapter_condition("Stalled", "True", "NamespaceNotAllowed"): "1x60"},
        [ADAPTER_STALLED],
    ),
    "an adapter loads": ({adapter_condition("Reconciling", "True", "Loading"): "1x60"}, []),
    "a rollout goes on": ({condition("Reconciling", "True", "RollingOut"): "1x60"}, []),
    "a download comes": ({DOWNLOAD: "0+1000x60"}, []),
    "a download stands still": ({DOWNLOAD: "0+1000x20 20000x60"}, [STUCK]),
    "a download has stood still for five minutes": ({DOWNLOAD: "0+1000x35 35000x60"}, []),
    "a source can't be reached": ({failed("SourceUnreachable"): "1x60"}, [STUCK]),
    "a checkpoint is refused": ({failed("PickledWeights"): "1x60"}, []),
    "one request in fifty fails": ({requests(503): "0+2x60"}, [FAILING]),
    "one request in a thousand fails": ({requests(503): "0+0.1x60"}, []),
    "clients send nonsense": ({requests(400): "0+50x60", refused("InvalidRequest"): "0+50x60"}, []),
    "one request in ten takes more than two seconds": (
        {FAST: "0+90x60", seconds("2"): "0+90x60"},
        [SLOW],
    ),
    "one request in fifty takes more than two seconds": ({FAST: "0+98x60", seconds("2"): "0+98x60"}, []),
    "one request in twenty is turned away": (
        {requests(429): "0+5x60", refused("Overloaded"): "0+5x60"},
        [FULL],
    ),
    "a burst is turned away": (
        {requests(429): "0x20 60x60", refused("Overloaded"): "0x20 60x60"},
        [],
    ),
    "one of two operators waits": ({STANDBY: "0x60"}, []),
    "both operators wait": ({LEADING: "0x60", STANDBY: "0x60"}, [NO_LEADER]),
    "there is no operator": ({LEADING: "_x60"}, [NO_LEADER]),
    "there is but another release's operator": ({LEADING: "_x60", OTHERS: "1x60"}, [NO_LEADER]),
    "the leader changes": ({LEADING: "1x36 0x60", STANDBY: "0x38 1x60"}, []),
    "reconciles fail": ({reconciles("failed"): "0+1x60"}, [NOT_RECONCILED]),
    "a reconcile failed half an hour ago": ({reconciles("failed"): "0x5 1x60"}, []),
    "reconciles meet other writers": ({reconciles("conflict"): "0+5x60"}, []),
    "models can't be listed": ({LISTINGS: "0+1x60"}, [NOT_RECONCILED]),
}


@pytest.fixture(scope="module")
def rules(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rule file that a PrometheusRule of the chart stands for."""
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump(render({"metrics": {"rules": {"enabled": True}}}).one("PrometheusRule")["spec"]))
    return path


def test_promtool_finds_nothing_to_say_against_the_rules(rules: Path) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", rules)
    assert done.returncode == 0, done.stdout + done.stderr


def judged(rules: Path, series: dict[str, str], firing: list[Firing]) -> str:
    """What promtool has against this list of alerts, nothing if it is right; rule files beside this one count, too."""
    expected = [
        {"labels": "{" + ", ".join(f'{n}="{v}"' for n, v in zip(NAMES, each, strict=True) if v) + "}", "value": 1}
        for each in firing
    ]
    expression = f'count by ({", ".join(NAMES)}) (ALERTS{{alertstate="firing"}})'
    asked = {"expr": expression, "eval_time": "40m", "exp_samples": expected}
    group: Any = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [asked],
    }
    path = rules.with_name("test.yaml")
    files = sorted(each.name for each in rules.parent.glob("rules*.yaml"))
    path.write_text(yaml.safe_dump({"rule_files": files, "evaluation_interval": "1m", "tests": [group]}))
    done = promtool("test", "rules", path)
    return done.stdout + done.stderr if done.returncode else ""


NAMES = ("alertname", "namespace", "model")


@pytest.mark.parametrize(("differs", "firing"), CASES.values(), ids=CASES.keys())
def test_an_alert_fires_on_its_symptom_and_no_other_does(
    rules: Path, differs: dict[str, str], firing: list[Firing]
) -> None:
    assert judged(rules, {**HEALTHY, **differs}, firing) == ""


def test_every_alert_has_a_symptom_here(rules: Path) -> None:
    written = {
        rule["alert"]
        for group in yaml.safe_load(rules.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert written == {name for _, firing in CASES.values() for name, _, _ in firing}


def test_the_file_alone_has_an_objective_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text((CHART / "files/rules.yaml").read_text())
    assert judged(path, HEALTHY, []) == ""
    assert judged(path, {**HEALTHY, FAST: "0+90x60", seconds("2"): "0+90x60"}, [SLOW]) == ""


@pytest.mark.parametrize(("seconds_", "firing"), [(3, []), (0.4, [SLOW])], ids=["slower", "faster"])
def test_the_latency_objective_is_a_value_of_the_chart(
    render: Render, tmp_path: Path, seconds_: float, firing: list[Firing]
) -> None:
    values = {"metrics": {"rules": {"enabled": True, "latencyObjectiveSeconds": seconds_}}}
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(render(values).one("PrometheusRule")["spec"]))
    assert judged(path, {**HEALTHY, FAST: "0+97x60"}, firing) == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "firing"),
    [
        pytest.param(3, 0.4, [], id="theirs is missed"),
        pytest.param(0.4, 3, [SLOW], id="ours is missed"),
    ],
)
def test_each_release_has_a_latency_objective_of_its_own(
    helm: Helm, tmp_path: Path, ours: float, theirs: float, firing: list[Firing]
) -> None:
    for release, watched, objective in (("search", "search", ours), ("chat", "chat", theirs)):
        rules = {"enabled": True, "latencyObjectiveSeconds": objective}
        values = {"watchNamespaces": [watched], "metrics": {"rules": rules}}
        done = helm(
            "template", release, CHART, "--namespace", "rerankers", "--show-only=templates/rules.yaml", values=values
        )
        (tmp_path / f"rules-{release}.yaml").write_text(yaml.safe_dump(yaml.safe_load(done.stdout)["spec"]))
    assert judged(tmp_path / "rules-search.yaml", {**HEALTHY, FAST: "0+97x60"}, firing) == ""


def test_of_two_releases_in_a_namespace_each_looks_at_the_operator_that_it_scrapes(render: Render) -> None:
    groups = render({"metrics": {"rules": {"enabled": True}, "serviceMonitor": {"enabled": True}}}).one(
        "PrometheusRule"
    )
    (asked,) = (
        rule["expr"]
        for group in groups["spec"]["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "RerankerOperatorNotLeading"
    )
    assert asked.count('{namespace="rerankers", job="search-reranker-operator"}') == 2
