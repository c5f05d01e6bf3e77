"""The models and adapters of the proof, and the scores that transformers and PEFT give for them."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers.utils import logging

from hack.stage.claims import Artifact
from hack.swapproof.moves import ADAPTERS, HEADLESS, MODELS
from hack.swapproof.record import Known
from hack.swapproof.wanted import Digests, adapter_revision, model_revision
from reranker_worker.fetching.artifacts import artifact_digest
from reranker_worker.fetching.cache import served_files
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter
from tests.fixtures.known_models import DOCUMENTS, QUERY, Artifacts, headless

MARGIN = 0.05  # by which all models have to prefer a golden document
QUESTIONS = 4


@dataclass(frozen=True)
class Oracle:
    """The folders, and what is known of them."""

    artifacts: tuple[Artifact, ...]
    known: tuple[Known, ...]
    golden: str  # JSON lines

    @property
    def digests(self) -> Digests:
        """Return the folders' digests."""
        return {artifact.name: artifact.digest for artifact in self.artifacts}

    @property
    def models(self) -> dict[str, str]:
        """Return the models' folders by revision."""
        return {model_revision(model, self.digests): model for model in MODELS}


def body() -> str:
    """Return the one request of the load, as a JSON line."""
    return json.dumps({"query": QUERY, "documents": list(DOCUMENTS)}) + "\n"


def write(folder: Path, candidates: Iterable[str]) -> Oracle:
    """Write models and adapters that score differently, and candidates that rank badly or can't be loaded."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for seed, model in enumerate(MODELS, start=1):
        bert_checkpoint(folder / model, seed=seed)
    names = [name for folders in ADAPTERS.values() for name in folders]
    for seed, name in enumerate(names, start=11):
        lora_adapter(folder / name, folder / MODELS[0], seed=seed, head=seed % 2 == 0)
    for number, name in enumerate(candidates):
        if name.startswith(HEADLESS):
            headless(folder / name, folder / MODELS[0])
        else:
            _reversed(folder / name, folder / MODELS[0], steepness=1 + number)
    artifacts = tuple(map(_artifact, sorted(folder.iterdir())))
    return Oracle(artifacts, tuple(_known(folder, artifacts)), _golden(Artifacts(folder)))


def _artifact(folder: Path) -> Artifact:
    return Artifact(folder.name, folder, artifact_digest(served_files(folder)))


def _reversed(folder: Path, base: Path, steepness: int) -> None:
    """Write a model that loads, scores, and ranks in exactly the opposite order; each steepness makes another one."""
    shutil.copytree(base, folder)
    tensors = load_file(base / "model.safetensors")
    turned = {name: -steepness * t if name.startswith("classifier") else t for name, t in tensors.items()}
    save_file(turned, folder / "model.safetensors", metadata={"format": "pt"})


def _known(folder: Path, artifacts: Sequence[Artifact]) -> Iterable[Known]:
    digests = {artifact.name: artifact.digest for artifact in artifacts}
    scored = Artifacts(folder)
    for model in MODELS:
        revision = model_revision(model, digests)
        yield Known(revision, "", tuple(scored.scores(model)))
        for name, folders in ADAPTERS.items():
            for adapter in folders:
                scores = tuple(scored.scores(model, adapter))
                yield Known(revision, adapter_revision(name, adapter, digests), scores)


def _golden(scored: Artifacts) -> str:
    """Return questions of two documents that all models rank alike, so that a model that turns them round shows."""
    by_model = [scored.scores(model) for model in MODELS]
    alike = [
        (better, worse)
        for pair in combinations(range(len(DOCUMENTS)), 2)
        for better, worse in (pair, pair[::-1])
        if all(scores[better] - scores[worse] > MARGIN for scores in by_model)
    ]
    rows = (
        {"query": QUERY, "documents": [DOCUMENTS[better], DOCUMENTS[worse]], "relevance": [1, 0]}
        for better, worse in alike[:QUESTIONS]
    )
    return "".join(json.dumps(row) + "\n" for row in rows)
