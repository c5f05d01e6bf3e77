"""Recorded models in every state, judged by Argo CD's own code with the check that is shipped, and by kstatus."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.gitops.verdicts import Verdict, health_checks, verdicts
from hack.repository import ROOT
from tests.gitops.states import EXPECTED, seen

RECORDED = Path(__file__).with_name("recorded")
CHECKS = health_checks(yaml.safe_load((ROOT / "examples/gitops/argocd/argocd-cm.yaml").read_text()))


def recorded(state: str) -> Any:
    return json.loads((RECORDED / f"{state}.json").read_text())


@pytest.fixture(scope="module")
def judged() -> dict[str, Verdict]:
    found = verdicts(CHECKS, [(recorded(state), None) for state in EXPECTED])
    return dict(zip(EXPECTED, found, strict=True))


def test_every_recording_is_of_a_known_state() -> None:
    assert {path.stem for path in RECORDED.iterdir()} == EXPECTED.keys()


@pytest.mark.parametrize("state", EXPECTED)
def test_a_model_is_judged_by_its_state(judged: dict[str, Verdict], state: str) -> None:
    assert seen(judged[state]) == EXPECTED[state]


SAID = {
    "rejected": "PickledWeights: ",
    "bad-adapter": "AdapterBaseMismatch: ",
    "ready": "all 2 pods serve bge-",
    "edited": "waits for the operator to see this generation",
    "deleted": "Pending deletion",
}


@pytest.mark.parametrize(("state", "said"), SAID.items(), ids=SAID.keys())
def test_argo_cd_says_why(judged: dict[str, Verdict], state: str, said: str) -> None:
    assert judged[state].argo_message.startswith(said)


@pytest.mark.parametrize("state", EXPECTED)
def test_an_adapter_of_its_own_is_judged_alike(judged: dict[str, Verdict], state: str) -> None:
    live = {**recorded(state), "kind": "RerankerAdapter"}
    (verdict,) = verdicts(CHECKS, [(live, None)])
    assert (verdict.argo, verdict.argo_message) == (judged[state].argo, judged[state].argo_message)


@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": 1}, {"observedGeneration": 1, "conditions": []}])
def test_a_model_whose_status_says_nothing_yet_is_not_taken_for_healthy(status: object) -> None:
    live = recorded("ready")
    live["status"] = status
    live["metadata"]["generation"] = 1
    (verdict,) = verdicts(CHECKS, [(live, None)])
    assert verdict.argo == "Progressing"


@pytest.mark.parametrize("health", ["Healthy", "Degraded", "Progressing"])
def test_an_application_among_applications_is_as_healthy_as_it_says(health: str) -> None:
    live = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "reranker-operator", "namespace": "argocd"},
        "status": {"health": {"status": health}},
    }
    (verdict,) = verdicts(CHECKS, [(live, None)])
    assert verdict.argo == health
