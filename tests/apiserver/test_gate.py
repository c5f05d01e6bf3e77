"""The gate on a real API server: no client is answered by a revision before it has shown what it can."""

import json

import pytest

from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, events, manifest, model, until_ready
from tests.apiserver.operators import MARKS, Running, operator, rested

pytestmark = MARKS

QUESTION = {"query": "q", "documents": ["a", "b", "c"], "relevance": [2, 1, 0]}
GOOD, BAD = [0.9, 0.5, 0.1], [0.1, 0.5, 0.9]


def gate(**thresholds: object) -> Json:
    return {"gate": {"goldenSet": {"configMapRef": {"name": "golden"}}, "minNDCG": "0.9", **thresholds}}


async def golden(kube: Kube, *lines: object) -> None:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    await kube.create("configmaps", {"metadata": {"name": "golden"}, "data": {"golden.jsonl": text}})


async def stalled(kube: Kube, reason: str) -> Json:
    async def found() -> Json:
        live = await kube.get("rerankermodels", "bge")
        return (live or {}) if condition(live, "Stalled").get("reason") == reason else {}

    return await eventually(found, what=f"Stalled by {reason}")


async def test_a_good_revision_passes_and_its_figures_stand_in_the_event(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await golden(kube, QUESTION)
    await kube.create("rerankermodels", model(rollout=gate(minRankCorrelation="0.9", maxP95Milliseconds=50)))
    await until_ready(kube)
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    await until_ready(kube)
    assert fleet.least_ready == 2

    async def told() -> str:
        notes = [e["note"] for e in await kube.items("events") if e["reason"] == "RevisionAdmitted"]
        return next((note for note in notes if "rank correlation 1.0000" in note), "")

    assert "nDCG 1.0000" in await eventually(told)


async def test_a_first_revision_that_ranks_badly_never_answers(kube: Kube, fleet: Fleet, running: Running) -> None:
    await golden(kube, QUESTION)
    fleet.scores["pvc://models/one"] = BAD
    await kube.create("rerankermodels", model(rollout=gate()))
    live = await stalled(kube, "GateFailed")
    assert "nDCG@10 is 0.6199, at least 0.9 is asked" in condition(live, "Stalled")["message"]
    assert live["status"]["revisions"]["candidate"]["ndcg"] == "0.6199"
    assert fleet.answered == set()
    assert "GateFailed" in await events(kube)


async def test_a_golden_set_that_is_missing_or_broken_holds_the_candidate_until_it_is_there(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await kube.create("rerankermodels", model(replicas=1, rollout=gate()))
    live = await stalled(kube, "GoldenSetInvalid")
    assert "ConfigMap golden, key golden.jsonl: there is none" in condition(live, "Stalled")["message"]
    await golden(kube, QUESTION, '{"query": "q"}')

    async def broken() -> bool:
        return "line 2" in condition(await kube.get("rerankermodels", "bge"), "Stalled").get("message", "")

    await eventually(broken, what="the broken line's number")
    assert fleet.answered == set()
    await kube.patch("configmaps", "golden", {"data": {"golden.jsonl": json.dumps(QUESTION)}})
    await until_ready(kube)


async def test_a_candidate_is_judged_anew_by_an_operator_that_takes_over(
    kube: Kube, fleet: Fleet, in_cluster: None
) -> None:
    fleet.scores["pvc://models/one"] = BAD
    await golden(kube, QUESTION)
    async with operator(kube.namespace):
        await kube.create("rerankermodels", model(replicas=1, rollout=gate()))
        await stalled(kube, "GateFailed")
    fleet.scores["pvc://models/one"] = GOOD
    async with operator(kube.namespace):
        await until_ready(kube)


async def rejected(kube: Kube) -> Json:
    """The model, once it has rejected a revision and only what served before is left."""

    async def found() -> Json:
        live = await kube.get("rerankermodels", "bge")
        assert live is not None
        deployment = await kube.get("deployments", "bge")
        assert deployment is not None
        noted = json.loads(deployment["metadata"]["annotations"]["reranker.dev/template-inputs"])
        named = (await manifest(kube))["models"]
        whole = len(named) == len(noted) == 1 and len(await kube.items("pods")) == 2
        return live if whole and live["status"]["revisions"].get("rejected") else {}

    return await eventually(found, what="a rejected revision and the way back")


async def test_a_revision_that_ranks_badly_is_rolled_back_by_itself_and_tried_again_under_another_spec_only(
    kube: Kube, fleet: Fleet, in_cluster: None
) -> None:
    await golden(kube, QUESTION)
    fleet.scores["pvc://models/two"] = BAD
    async with operator(kube.namespace) as first:
        await kube.create("rerankermodels", model(rollout=gate()))
        old = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
        before, deployed = set(fleet.workers), await kube.get("deployments", "bge")
        fleet.watch_readiness()
        await edit(kube, source={"uri": "pvc://models/two"})
        live = await rejected(kube)
        entry = live["status"]["revisions"]["rejected"][0]
        assert (entry["reason"], entry["ndcg"]) == ("GateFailed", "0.6199")
        assert condition(live, "Stalled")["reason"] == condition(live, "Ready")["reason"] == "GateFailed"
        assert condition(live, "Available")["status"] == "True"
        assert "RevisionRejected" in await events(kube)
        await rested(kube, first)
    # Whoever comes next leaves it at that.
    async with operator(kube.namespace, resync_seconds=1) as second:

        async def looked() -> bool:
            return second.requests("GET").get("GET deployments 200", 0) > 3

        await eventually(looked, what="some reconciles")
        assert second.writes() == 0
        assert set(fleet.workers) == before
        after = await kube.get("deployments", "bge")
        assert after is not None
        assert deployed is not None
        assert after["spec"]["template"] == deployed["spec"]["template"]
        assert fleet.answered == {old}
        await edit(kube, rollout=gate(minNDCG="0.5"))
        live = await until_ready(kube)
    assert fleet.least_ready == 2
    assert live["status"]["revisions"]["serving"]["name"] == entry["name"]
    assert "rejected" not in live["status"]["revisions"]


async def test_scores_that_are_no_numbers_are_rejected_without_any_threshold(
    kube: Kube, fleet: Fleet, running: Running
) -> None:
    await golden(kube, QUESTION)
    fleet.scores["pvc://models/two"] = [float("nan")] * 3
    await kube.create("rerankermodels", model(rollout=gate(minNDCG=None)))
    await until_ready(kube)
    await edit(kube, source={"uri": "pvc://models/two"})
    live = await rejected(kube)
    assert live["status"]["revisions"]["rejected"][0]["reason"] == "NonFiniteScores"
    assert len(fleet.answered) == 1


@pytest.mark.parametrize("strategy", ["RollingUpdate", "BlueGreen", "InPlace"])
async def test_a_revision_that_ranks_live_queries_otherwise_than_what_serves_is_rejected(
    kube: Kube, fleet: Fleet, running: Running, strategy: str
) -> None:
    await golden(kube, QUESTION)
    # Good on the three documents of the golden set; clients ask with one more.
    fleet.scores["pvc://models/two"] = [0.5, 0.3, 0.1, 0.9]
    asked = gate(minRankCorrelation="0.9", shadow={"percent": 10, "durationSeconds": 6})
    await kube.create("rerankermodels", model(rollout={**asked, "strategy": strategy}))
    old = (await until_ready(kube))["status"]["revisions"]["serving"]["name"]
    fleet.watch_readiness()
    await edit(kube, source={"uri": "pvc://models/two"})
    live = await rejected(kube)
    (entry,) = live["status"]["revisions"]["rejected"]
    assert (entry["reason"], entry["rankCorrelation"], entry["liveRankCorrelation"]) == (
        "GateFailed",
        "1.0000",
        "0.0000",
    )
    assert fleet.answered == {old}
    assert "shadow" not in await manifest(kube)
    await edit(kube, source={"uri": "pvc://models/three"})
    await until_ready(kube)
    assert len(fleet.answered) == 2
    assert fleet.least_ready == 2
