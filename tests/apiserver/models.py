"""The RerankerModel that these tests make, change and look at."""

import json

from tests.apiserver.kube import Json, Kube, eventually

NAME = "bge"


def model(**spec: object) -> Json:
    return {
        "apiVersion": "reranker.dev/v1alpha1",
        "kind": "RerankerModel",
        "metadata": {"name": NAME},
        "spec": {"source": {"uri": "pvc://models/one"}, "replicas": 2, **spec},
    }


async def edit(kube: Kube, **spec: object) -> None:
    await kube.patch("rerankermodels", NAME, {"spec": spec})


def condition(live: Json | None, name: str) -> Json:
    """The condition of that type; empty where it is absent."""
    status = (live or {}).get("status") or {}
    return next((c for c in status.get("conditions") or () if c["type"] == name), {})


async def until_ready(kube: Kube, within_s: float = 30) -> Json:
    """The model, once its present generation is Ready."""

    async def ready() -> Json | None:
        live = await kube.get("rerankermodels", NAME)
        assert live is not None
        found = condition(live, "Ready")
        now = (found.get("status"), found.get("observedGeneration")) == ("True", live["metadata"]["generation"])
        return live if now else None

    live = await eventually(ready, within_s=within_s, what="Ready")
    assert live is not None
    return live


async def until_reason(kube: Kube, name: str, reason: str) -> Json:
    """The model's condition of that type, once that is its reason."""

    async def said() -> Json | None:
        found = condition(await kube.get("rerankermodels", NAME), name)
        return found if found.get("reason") == reason else None

    found = await eventually(said, what=f"{name} with the reason {reason}")
    assert found is not None
    return found


async def manifest(kube: Kube) -> Json:
    """The serving manifest in the ConfigMap."""
    config = await kube.get("configmaps", f"{NAME}-serving")
    assert config is not None
    found: Json = json.loads(config["data"]["manifest.json"])
    return found


async def events(kube: Kube) -> set[str]:
    """The reasons of the Events about the model."""
    return {e["reason"] for e in await kube.items("events") if e["regarding"].get("kind") == "RerankerModel"}


async def until_event(kube: Kube, reason: str) -> None:
    """Wait for an Event about the model; it follows the status that it tells of."""

    async def told() -> bool:
        return reason in await events(kube)

    await eventually(told, what=f"an Event {reason}")
