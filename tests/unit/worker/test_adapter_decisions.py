"""What the reconciler decides on edits of adapters: renamed, reordered, handed over."""

from typing import Any

import pytest

from reranker_worker.fetching.artifacts import ArtifactPhase, ArtifactStatus
from reranker_worker.manifest import Source
from reranker_worker.reconciling.decisions import decide
from reranker_worker.reconciling.world import AdapterLoad, DropAdapter, Serve, Served, World
from tests.fixtures.manifests import adapter, manifest

COMPLETE = ArtifactStatus(ArtifactPhase.COMPLETE, digest="sha256:d")


def world(adapters: list[dict[str, Any]], served: Served, **policy: Any) -> World:
    """A world of generation 2 in which every artifact is complete, and what is served is in memory."""
    wanted = manifest(2, adapters=adapters, adapterPolicy={"maxLoaded": 16, "maxRank": 64, **policy})
    sources = [wanted.models[0].source, *(entry.source for entry in wanted.adapters)]
    loaded = frozenset(("m-1", name, revision) for name, revision in served.adapters.items())
    return World("t1", wanted, dict.fromkeys(sources, COMPLETE), frozenset({"m-1"}), loaded, served=served)


def load(name: str, revision: str, uri: str | None = None) -> AdapterLoad:
    return AdapterLoad("m-1", name, revision, Source(uri or f"pvc://models/{revision}"), "sha256:d", max_rank=64)


def owned(name: str, revision: str, owner: str) -> dict[str, Any]:
    return {**adapter(name, revision), "owner": owner}


def test_a_renamed_adapter_leaves_its_old_name_and_is_loaded_under_the_new_one() -> None:
    renamed = adapter("law", "law-1", uri="pvc://models/legal-1")
    before = world([renamed], Served("m-1", {"legal": "legal-1"}, 1))
    assert decide(before) == [Serve(Served("m-1", {}, 2)), DropAdapter("m-1", "legal", "legal-1")]
    after = world([renamed], Served("m-1", {}, 2))
    assert decide(after) == [load("law", "law-1", "pvc://models/legal-1")]


def test_another_order_of_the_names_changes_nothing_but_the_generation() -> None:
    served = Served("m-1", {"legal": "legal-1", "tax": "tax-1"}, 1)
    reordered = world([adapter("tax", "tax-1"), adapter("legal", "legal-1")], served)
    (serve,) = decide(reordered)
    assert serve == Serve(Served("m-1", {"legal": "legal-1", "tax": "tax-1"}, 2))


HANDED_OVER = [
    pytest.param("law/legal", "law/legal", {"legal": "legal-1"}, id="the same resource: no gap"),
    pytest.param("law/legal", "lab/legal", {}, id="another team's resource"),
    pytest.param("law/legal", "", {}, id="the model's own spec"),
    pytest.param("", "law/legal", {}, id="from the model's spec to a resource"),
]


@pytest.mark.parametrize(("before", "after", "answers"), HANDED_OVER)
def test_weights_answer_for_a_name_only_while_it_is_their_owners(
    before: str, after: str, answers: dict[str, str]
) -> None:
    served = Served("m-1", {"legal": "legal-1"}, 1, owners={"legal": before} if before else {})
    first, then = decide(world([owned("legal", "legal-2", after)], served))
    assert first == Serve(Served("m-1", answers, 2, owners={"legal": after} if after else {}))
    assert then == (load("legal", "legal-2") if answers else DropAdapter("m-1", "legal", "legal-1"))
