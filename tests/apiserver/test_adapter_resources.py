"""RerankerAdapters on a real API server: who is taken, what pods are told, what owners read, and how they go."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.apiserver.fleet import Fleet
from tests.apiserver.kube import Json, Kube, eventually
from tests.apiserver.models import condition, edit, manifest, model, until_ready
from tests.apiserver.operators import MARKS, Running, operator

pytestmark = MARKS


def adapter(name: str, repository: str, model_namespace: str) -> Json:
    return {
        "apiVersion": "reranker.dev/v1alpha1",
        "kind": "RerankerAdapter",
        "metadata": {"name": name},
        "spec": {
            "modelRef": {"name": "bge", "namespace": model_namespace},
            "source": {"uri": f"hf://acme/{repository}", "revision": "v1"},
        },
    }


def to(repository: str) -> Json:
    return {"spec": {"source": {"uri": f"hf://acme/{repository}"}}}


@pytest.fixture
async def both(kube: Kube, elsewhere: Kube, in_cluster: None) -> AsyncIterator[Running]:
    """An operator for the model's namespace and another team's."""
    async with operator(f"{kube.namespace},{elsewhere.namespace}") as found:
        yield found


@pytest.fixture
async def law(kube: Kube, elsewhere: Kube, fleet: Fleet, both: Running) -> Kube:
    """Another team's namespace, to whose adapters the model that serves is open."""
    await kube.create("rerankermodels", model(adapterPolicy={"allowedNamespaces": [elsewhere.namespace]}))
    await until_ready(kube)
    return elsewhere


async def until(team: Kube, name: str, kind: str, status: str, reason: str = "") -> Json:
    """The adapter, once it has that condition for its present generation."""

    async def there() -> Json | None:
        live = await team.get("rerankeradapters", name)
        assert live is not None
        found = condition(live, kind)
        now = (found.get("status"), found.get("observedGeneration")) == (status, live["metadata"]["generation"])
        return live if now and found["reason"] == (reason or found["reason"]) else None

    live = await eventually(there, what=f"{name}: {kind} {status} {reason}")
    assert live is not None
    return live


async def told(kube: Kube) -> list[tuple[str, str]]:
    """Which adapters the pods are told of, and whose they are."""
    return [(entry["source"]["uri"], entry.get("owner", "")) for entry in (await manifest(kube))["adapters"]]


async def reasons(team: Kube) -> set[str]:
    return {e["reason"] for e in await team.items("events") if e["regarding"].get("kind") == "RerankerAdapter"}


async def test_another_team_adds_changes_and_removes_an_adapter_and_no_pod_restarts(
    kube: Kube, law: Kube, fleet: Fleet
) -> None:
    pods = set(fleet.workers)
    await law.create("rerankeradapters", adapter("legal", "one", kube.namespace))
    first = await until(law, "legal", "Ready", "True")
    assert first["status"]["pods"] == "2/2"
    assert first["status"]["serving"] == first["status"]["revision"]
    owner = f"{law.namespace}/legal"
    assert await told(kube) == [("hf://acme/one", owner)]
    await law.patch("rerankeradapters", "legal", to("two"))
    second = await until(law, "legal", "Ready", "True")
    assert second["status"]["serving"] != first["status"]["serving"]
    assert (await until_ready(kube))["status"]["adapters"][0]["owner"] == owner
    assert not second["metadata"].get("finalizers")
    await law.delete("rerankeradapters", "legal")

    async def gone() -> bool:
        return not await told(kube) and all(not w.state()["adapters"] for w in fleet.workers.values())

    await eventually(gone, what="every pod has unloaded it")
    assert set(fleet.workers) == pods
    assert {"Accepted", "AdapterReady"} <= await reasons(law)


async def test_a_bad_adapter_of_another_team_fails_alone_and_its_good_revision_goes_on(
    kube: Kube, law: Kube, fleet: Fleet
) -> None:
    fleet.fails["hf://acme/bad"] = ("AdapterBaseMismatch", "made for another base model")
    await law.create("rerankeradapters", adapter("legal", "one", kube.namespace))
    good = (await until(law, "legal", "Ready", "True"))["status"]["revision"]
    await law.patch("rerankeradapters", "legal", to("bad"))
    live = await until(law, "legal", "Stalled", "True", "AdapterBaseMismatch")
    assert condition(live, "Available")["status"] == "True"
    assert live["status"]["serving"] == good != live["status"]["revision"]
    found = await kube.get("rerankermodels", "bge")
    assert condition(found, "Ready")["status"] == "True"
    assert condition(found, "AdaptersReady")["reason"] == "AdapterBaseMismatch"
    assert len(fleet.ready()) == 2
    await law.patch("rerankeradapters", "legal", to("one"))
    await until(law, "legal", "Ready", "True")


async def test_leave_can_be_given_and_taken(kube: Kube, law: Kube, fleet: Fleet) -> None:
    await edit(kube, adapterPolicy={"allowedNamespaces": []})
    await until_ready(kube)
    await law.create("rerankeradapters", adapter("legal", "one", kube.namespace))
    await until(law, "legal", "Accepted", "False", "NamespaceNotAllowed")
    assert await told(kube) == []
    await edit(kube, adapterPolicy={"allowedNamespaces": ["*"]})
    await until(law, "legal", "Ready", "True")
    await edit(kube, adapterPolicy={"allowedNamespaces": []})
    await until(law, "legal", "Ready", "False", "NamespaceNotAllowed")
    assert await told(kube) == []


async def test_of_one_name_the_models_own_wins_then_the_oldest_and_the_next_one_moves_up(
    kube: Kube, law: Kube, fleet: Fleet
) -> None:
    await law.create("rerankeradapters", adapter("legal", "theirs", kube.namespace))
    await until(law, "legal", "Ready", "True")
    await asyncio.sleep(1.1)  # creation timestamps have whole seconds
    await kube.create("rerankeradapters", adapter("legal", "ours", kube.namespace))
    await until(kube, "legal", "Accepted", "False", "NameTaken")
    assert await told(kube) == [("hf://acme/theirs", f"{law.namespace}/legal")]
    await law.delete("rerankeradapters", "legal")
    await until(kube, "legal", "Ready", "True")
    assert await told(kube) == [("hf://acme/ours", f"{kube.namespace}/legal")]
    await edit(kube, adapters=[{"name": "legal", "source": {"uri": "pvc://models/legal"}}])
    await until(kube, "legal", "Accepted", "False", "NameTaken")
    await until_ready(kube)
    assert await told(kube) == [("pvc://models/legal", "")]


async def test_a_claim_of_the_models_namespace_is_no_other_teams_to_name(kube: Kube, law: Kube, fleet: Fleet) -> None:
    pods = set(fleet.workers)
    for team, claim, reason in ((law, "models", "ClaimOutOfReach"), (kube, "secret-data", "ClaimNotMounted")):
        body = adapter("legal", "one", kube.namespace)
        body["spec"]["source"] = {"uri": f"pvc://{claim}/legal"}
        await team.create("rerankeradapters", body)
        await until(team, "legal", "Accepted", "False", reason)
        await team.delete("rerankeradapters", "legal")
    assert set(fleet.workers) == pods
    assert await told(kube) == []


async def test_an_adapter_outlives_its_model_says_so_and_is_loaded_by_the_next(
    kube: Kube, law: Kube, fleet: Fleet
) -> None:
    await law.create("rerankeradapters", adapter("legal", "one", kube.namespace))
    await until(law, "legal", "Ready", "True")
    await kube.delete("rerankermodels", "bge")
    live = await until(law, "legal", "Accepted", "False", "ModelNotFound")
    assert "serving" not in live["status"] or not live["status"]["serving"]
    assert condition(live, "Stalled") == {}

    async def collected() -> bool:
        return await kube.get("deployments", "bge") is None

    await eventually(collected, what="the model's children are gone")
    await kube.create("rerankermodels", model(adapterPolicy={"allowedNamespaces": ["*"]}))
    await until(law, "legal", "Ready", "True")


async def test_an_adapter_may_come_before_its_model_and_before_the_operator(
    kube: Kube, elsewhere: Kube, fleet: Fleet, in_cluster: None
) -> None:
    await elsewhere.create("rerankeradapters", adapter("legal", "one", kube.namespace))
    async with operator(f"{kube.namespace},{elsewhere.namespace}"):
        await until(elsewhere, "legal", "Accepted", "False", "ModelNotFound")
        await kube.create("rerankermodels", model(adapterPolicy={"allowedNamespaces": [elsewhere.namespace]}))
        await until(elsewhere, "legal", "Ready", "True")


async def test_a_model_that_the_operator_may_not_see_is_told_by_its_namespace(
    kube: Kube, elsewhere: Kube, in_cluster: None
) -> None:
    async with operator(elsewhere.namespace):
        await elsewhere.create("rerankeradapters", adapter("legal", "one", kube.namespace))
        live = await until(elsewhere, "legal", "Accepted", "False", "ModelNotFound")
    assert f"watches {elsewhere.namespace}" in condition(live, "Accepted")["message"]


async def test_what_was_deleted_while_the_operator_was_away_goes_when_it_is_back(
    kube: Kube, elsewhere: Kube, fleet: Fleet, in_cluster: None
) -> None:
    namespaces = f"{kube.namespace},{elsewhere.namespace}"
    async with operator(namespaces):
        await kube.create("rerankermodels", model(adapterPolicy={"allowedNamespaces": ["*"]}))
        await until_ready(kube)
        for name in ("legal", "tax"):
            await elsewhere.create("rerankeradapters", adapter(name, name, kube.namespace))
            await until(elsewhere, name, "Ready", "True")
    await elsewhere.delete("rerankeradapters", "legal")
    async with operator(namespaces):

        async def only_tax() -> bool:
            return [uri for uri, _ in await told(kube)] == ["hf://acme/tax"]

        await eventually(only_tax, what="legal is unloaded")


async def test_settled_adapters_cost_no_write(kube: Kube, elsewhere: Kube, fleet: Fleet, in_cluster: None) -> None:
    async with operator(f"{kube.namespace},{elsewhere.namespace}", resync_seconds=1) as running:
        await kube.create("rerankermodels", model())
        await until_ready(kube)
        await kube.create("rerankeradapters", adapter("legal", "one", kube.namespace))
        await elsewhere.create("rerankeradapters", adapter("tax", "one", kube.namespace))
        await elsewhere.create(
            "rerankeradapters",
            {
                **adapter("lost", "one", kube.namespace),
                "spec": {"modelRef": {"name": "nowhere"}, "source": {"uri": "hf://acme/one", "revision": "v1"}},
            },
        )
        await until(kube, "legal", "Ready", "True")
        await until(elsewhere, "tax", "Accepted", "False", "NamespaceNotAllowed")
        await until(elsewhere, "lost", "Accepted", "False", "ModelNotFound")
        await asyncio.sleep(1)
        writes, reads = running.writes(), running.requests("GET")
        await asyncio.sleep(4)
        assert running.writes() == writes
        assert running.requests("GET") != reads, "no resync took place"
