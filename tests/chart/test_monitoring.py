"""The dashboard and the alerts as the chart installs them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from .conftest import CHART, Json, Rendered

Render = Callable[[Json], Rendered]


def dashboard(render: Render, **values: Any) -> Json:
    (found,) = render({"metrics": {"dashboard": {"enabled": True, **values}}}).of("ConfigMap")
    return found


def rules(render: Render, **values: Any) -> Json:
    return render({"metrics": {"rules": {"enabled": True, **values}}}).one("PrometheusRule")


def without_expressions(group: Json) -> Json:
    """A group of rules but for what each release asks of its own series."""
    return {
        **group,
        "rules": [{name: each for name, each in rule.items() if name != "expr"} for rule in group["rules"]],
    }


def test_the_dashboard_is_the_file_for_grafanas_sidecar(render: Render) -> None:
    found = dashboard(render)
    assert found["metadata"]["namespace"] == "rerankers"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = found["data"].values()
    assert json.loads(text) == json.loads((CHART / "files/dashboard.json").read_text())


def test_the_sidecar_may_want_another_label_a_folder_and_a_namespace(render: Render) -> None:
    found = dashboard(
        render, labels={"dashboards": "search"}, annotations={"grafana_folder": "Search"}, namespace="monitoring"
    )
    assert found["metadata"]["labels"]["dashboards"] == "search"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Search"}
    assert found["metadata"]["namespace"] == "monitoring"


def test_the_alerts_are_the_files_and_the_objective_is_recorded_beside_them(render: Render) -> None:
    found = rules(render, labels={"release": "prometheus"}, latencyObjectiveSeconds=0.25)
    assert found["metadata"]["labels"]["release"] == "prometheus"
    objectives, *groups = found["spec"]["groups"]
    assert objectives["rules"] == [
        {
            "record": "reranker:latency_objective_seconds",
            "expr": "vector(0.25)",
            "labels": {"namespace": "rerankers", "release": "search"},
        }
    ]
    _, *written = yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"]
    assert [without_expressions(group) for group in groups] == [without_expressions(group) for group in written]


def test_alerts_lead_to_the_runbooks_where_people_read_them(render: Render) -> None:
    found = rules(render, runbooks="https://docs.example.com/rerankers/runbooks.html")
    urls = [rule["annotations"]["runbook_url"] for group in found["spec"]["groups"][1:] for rule in group["rules"]]
    assert urls[0] == "https://docs.example.com/rerankers/runbooks.html#rerankermodelnotserving"
    assert {url.partition("#")[0] for url in urls} == {"https://docs.example.com/rerankers/runbooks.html"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"rules": {"latencyObjectiveSeconds": 0}}, "latencyObjectiveSeconds", id="no time at all"),
        pytest.param({"rules": {"latencyObjectiveSeconds": 60}}, "latencyObjectiveSeconds", id="none is that slow"),
        pytest.param({"rules": {"runbooks": "docs"}}, "runbooks", id="runbooks that are no URL"),
        pytest.param({"dashboard": {"folder": "Search"}}, "folder", id="a value that there isn't"),
    ],
)
def test_a_bad_value_is_refused_by_name(helm: Callable[..., Any], values: Json, named: str) -> None:
    done = helm("template", "search", CHART, values={"metrics": values})
    assert done.returncode != 0
    assert named in done.stderr
