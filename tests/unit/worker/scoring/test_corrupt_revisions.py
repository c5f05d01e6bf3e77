"""Twelve ways in which a revision can be corrupt: each is refused with its own reason, and what serves goes on."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reranker_worker.fetching.artifacts import artifact_digest
from reranker_worker.fetching.cache import served_files
from tests.fixtures.checkpoints import bert_checkpoint
from tests.fixtures.manifests import manifest, model
from tests.fixtures.worker_threads import WorkerThreads, worker_threads

from .test_loading_refusals import REFUSALS, Spoil

BODY: dict[str, Any] = {"query": "fast python library", "documents": ["a small tool", "the python compiler"]}


def _one_bit(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-99] ^= 1
    path.write_bytes(raw)


def _lost_shard(folder: Path) -> None:
    index = {"weight_map": {"classifier.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


# Of these the digest alone tells: the weights still look like a model's.
CORRUPTIONS: dict[str, tuple[Spoil, str, str]] = {
    "a bit flipped": (_one_bit, "DigestMismatch", "the manifest wants"),
    "another checkpoint than the digest's": (
        lambda folder: bert_checkpoint(folder, seed=3),
        "DigestMismatch",
        "the manifest wants",
    ),
    "a missing shard": (_lost_shard, "InvalidCheckpoint", "model-00002-of-00002.safetensors is missing"),
    **{
        name: REFUSALS[name]
        for name in (
            "truncated",
            "a wrong shape",
            "a weight that isn't finite",
            "remote code",
            "pickled weights",
            "a shard outside the folder",
            "a vocabulary of terabytes",
            "no classifier in the weights",
            "another model's tokenizer",
        )
    },
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A claim with the revision that serves and the one that will be spoilt."""
    claim = tmp_path_factory.mktemp("claim")
    bert_checkpoint(claim / "m-1", seed=1)
    bert_checkpoint(claim / "m-2", seed=2)
    return claim


@pytest.fixture
def claim(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "claim"))


@pytest.fixture
async def pod(claim: Path, tmp_path: Path) -> AsyncIterator[WorkerThreads]:
    async with worker_threads(tmp_path / "pod", claim, manifest()) as pod:
        yield pod


@pytest.mark.parametrize("place", ["candidates", "serve"])
@pytest.mark.parametrize("corruption", CORRUPTIONS.values(), ids=CORRUPTIONS)
async def test_a_corrupt_revision_never_answers_and_what_serves_goes_on(
    pod: WorkerThreads, claim: Path, corruption: tuple[Spoil, str, str], place: str
) -> None:
    (spoil, reason, words), wanted = corruption, model("m-2")
    if reason == "DigestMismatch":
        wanted["source"]["digest"] = artifact_digest(served_files(claim / "m-2"))
    spoil(claim / "m-2")
    before = (await pod.clients.post("/rerank", json=BODY)).json()["results"]

    placed = {"serve": {"t1": "m-2"}} if place == "serve" else {"candidates": {"t1": "m-2"}}
    edited = manifest(2, models=[model("m-1"), wanted], admitted=["m-1", "m-2"], **placed)
    edit = asyncio.create_task(pod.edit(edited))
    answers = []
    while not edit.done():
        answers.append(await pod.clients.post("/rerank", json=BODY))
    answers.append(await pod.clients.post("/rerank", json=BODY))
    await edit

    assert {(answer.status_code, answer.headers["x-reranker-revision"]) for answer in answers} == {(200, "m-1")}
    assert all(answer.json()["results"] == before for answer in answers)
    state = pod.state()
    refused = next(entry for entry in state["models"] if entry["revision"] == "m-2")
    assert (refused["phase"], refused["reason"]) == ("Failed", reason)
    assert re.search(words, refused["message"])
    assert state["ready"]
    # A candidate's failure is its own; that of what the worker is to serve is the worker's.
    assert state["reason"] == (reason if place == "serve" else "")
    pinned = await pod.clients.post("/rerank", json=BODY, headers={"x-reranker-revision": "m-2"})
    tried = await pod.internal.post("/score", json=BODY | {"revision": "m-2"})
    assert (pinned.status_code, tried.status_code) == (409, 404)
