"""Whoever is woken by an alert, or reads a reason in a status, finds a section about it in the runbooks."""

import ast
import re
from collections.abc import Iterator

import pytest
import yaml

from hack.repository import ROOT
from reranker_operator.decisions.objections import DEADLINE, MAY_PASS
from reranker_operator.objects.ownership import REFUSED
from reranker_operator.objects.pods import STUCK
from reranker_operator.world.facts import INVALID_SPEC

RULES = yaml.safe_load((ROOT / "charts/reranker-operator/files/rules.yaml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
PAGE = (ROOT / "docs/runbooks.md").read_text()
HEADINGS = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
REASONS = re.findall(r"^#### (.+)$", PAGE, re.MULTILINE)
CAMEL = re.compile(r"^(?:[A-Z][a-z0-9]+){2,}$")

#: Calls of either package whose first argument is a reason that stays until somebody acts.
REFUSALS = {"Problem", "Failed", "SourceError", "CheckpointError", "AdapterError", "ManifestError", "AdapterState"}
#: Reasons of Kubernetes' own, by which a Deployment tells that it can't go on, and of a pod without a node.
OF_KUBERNETES = {"FailedCreate", "Unschedulable"}


def anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_points_at_its_own_section(alert: str) -> None:
    assert alert in HEADINGS
    assert ALERTS[alert]["annotations"]["runbook_url"] == f"docs/runbooks.md#{anchor(alert)}"


def reasons_in_the_code() -> set[str]:
    sources = [*(ROOT / "operator/reranker_operator").rglob("*.py"), *(ROOT / "worker/reranker_worker").rglob("*.py")]
    found = {reason for path in sources for reason in _reasons(ast.parse(path.read_text()))}
    return found | STUCK | MAY_PASS | OF_KUBERNETES | {DEADLINE, INVALID_SPEC, REFUSED}


def _reasons(tree: ast.AST) -> Iterator[str]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        waits = any(each.arg == "stalled" for each in call.keywords)
        if name in REFUSALS and not waits:
            texts = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)]
            yield from (text for text in texts[:3] if isinstance(text, str) and CAMEL.match(text))


def test_the_reasons_are_found_where_they_are_raised() -> None:
    found = reasons_in_the_code()
    assert {"NameConflict", "GateFailed", "PickledWeights", "AdapterBaseMismatch", "TooManyAdapters"} <= found
    assert "WaitingForDeletion" not in found  # it passes


def test_every_reason_of_the_contract_is_found() -> None:
    contract = (ROOT / "docs/contract.md").read_text()
    listed = contract[contract.index("\n- Reasons: ") : contract.index("\n- The fetcher retries")]
    assert set(re.findall(r"`(\w+)`", listed)) <= reasons_in_the_code()


@pytest.mark.parametrize("reason", sorted(reasons_in_the_code()))
def test_a_reason_has_a_section(reason: str) -> None:
    assert reason in REASONS


def test_a_section_is_about_something_that_can_happen() -> None:
    assert set(REASONS) == reasons_in_the_code()
    assert len(REASONS) == len(set(REASONS))


def test_links_inside_of_the_page_lead_somewhere() -> None:
    links = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    assert set(links) <= {anchor(heading) for heading in HEADINGS}
