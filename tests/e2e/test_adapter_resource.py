"""A RerankerAdapter of another namespace on a real node: added, changed, removed under load, and an edit timed."""

import statistics
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.fleet import Fleet, Model
from tests.e2e.kube import Kube, Object, condition, eventually
from tests.e2e.latency import edit_to_answers_s
from tests.e2e.load import load
from tests.fixtures.known_models import HUB_ADAPTERS, MINILM, MINILM_ADAPTERS, MINILM_REVISIONS

pytestmark = pytest.mark.e2e

TEAM = "law"
#: Edits that follow one within a second and a half are taken together; these are each by itself.
APART_S = 2.0


@pytest.fixture
def law(fleet: Fleet) -> Iterator[Kube]:
    """Another team's namespace; its adapters go with the test."""
    team = Kube(fleet.kube.kubeconfig, TEAM)
    team("create", "namespace", TEAM, check=False)
    yield team
    team("delete", "rerankeradapters", "--all")


def adapter(model: Model, revision: str, repository: str = HUB_ADAPTERS) -> Object:
    return {
        "apiVersion": "reranker.dev/v1alpha1",
        "kind": "RerankerAdapter",
        "metadata": {"name": "legal"},
        "spec": {
            "modelRef": {"name": model.name, "namespace": model.kube.namespace},
            "source": {"uri": f"hf://{repository}", "revision": revision},
        },
    }


def applied(team: Kube, wanted: Object) -> Object:
    """Apply the adapter; its status once this generation is loaded on every pod."""
    team.apply(wanted)

    def ready() -> Object | None:
        live = team.get("rerankeradapter", "legal")
        found = condition(live, "Ready")
        now = found["status"] == "True" and found["observedGeneration"] == live["metadata"]["generation"]
        return live["status"] if now else None

    return eventually(ready, what="the adapter is loaded everywhere")


def test_another_teams_adapter_comes_changes_and_goes_under_load(fleet: Fleet, law: Kube) -> None:
    model = fleet.model("shared", "bert-1", replicas=2, adapterPolicy={"allowedNamespaces": [TEAM]})
    model.wait_ready()
    pods, base = model.pod_uids(), model.rerank().revision
    known = {(base, ""): fleet.artifacts.scores("bert-1")}
    applied(law, adapter(model, "one"))
    with load(fleet, model, adapter="legal") as history:
        for revision in ("one", "two", "one"):
            status = applied(law, adapter(model, revision))
            known[base, status["revision"]] = fleet.artifacts.scores("bert-1", f"{HUB_ADAPTERS}/{revision}")
            assert (status["serving"], status["pods"]) == (status["revision"], "2/2")
    history.check(known)
    assert {row["adapter"] for row in history.rows} == {named for _, named in known}
    with load(fleet, model) as others:
        law("delete", "rerankeradapter", "legal")
        eventually(lambda: model.rerank(adapter="legal").status == 404, what="the adapter is unloaded")
    others.check(known)
    assert model.pod_uids() == pods
    eventually(lambda: not model.status.get("adapters"), what="the model's status has forgotten it")


def test_a_model_that_goes_leaves_the_adapter_with_its_reason(fleet: Fleet, law: Kube) -> None:
    model = fleet.model("leaving", "bert-1", adapterPolicy={"allowedNamespaces": ["*"]})
    model.wait_ready()
    applied(law, adapter(model, "one"))
    model.kube("delete", "rerankermodel", model.name)
    told = eventually(
        lambda: condition(law.get("rerankeradapter", "legal"), "Accepted")["reason"] == "ModelNotFound",
        what="ModelNotFound",
    )
    assert told


def test_the_time_from_an_edit_to_the_answers_of_every_replica_is_told(
    fleet: Fleet, law: Kube, capsys: pytest.CaptureFixture[str]
) -> None:
    model = fleet.model(MINILM, MINILM, replicas=2, adapterPolicy={"allowedNamespaces": [TEAM]})
    model.wait_ready()
    first, *others = (adapter(model, revision, MINILM_ADAPTERS) for revision in MINILM_REVISIONS)
    seen = [applied(law, first)["serving"]]
    took = []
    for edited in others:
        time.sleep(APART_S)
        took.append(edit_to_answers_s(model, "legal", partial(law.apply, edited)))
        seen.append(applied(law, edited)["serving"])
    assert len(set(seen)) == len(MINILM_REVISIONS)
    with capsys.disabled():
        figures = ", ".join(f"{seconds:.2f}" for seconds in took)
        print(f"\nadapter's edit to every replica's answers: median {statistics.median(took):.2f} s of {figures}")
