"""Tiny models and adapters with known scores: the oracle that tells which revision an answer really comes from."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.fixtures.checkpoints import bert_checkpoint, edit_config, lora_adapter, xlm_roberta_checkpoint
from tests.fixtures.reference import reference_logits

QUERY = "fast python text search"
DOCUMENTS = (
    "a library for text search in python",
    "image editor",
    "the kernel driver of a network",
    "a small and fast database server with a long description of the search system and the music player",
)

#: Repository and revision on the hub, which serves folders of the claim.
HUB_REPOSITORY, HUB_REVISION = "acme/reranker", "v1"
HUB_MODEL = f"{HUB_REPOSITORY}/{HUB_REVISION}"


@dataclass(frozen=True)
class Artifacts:
    """A folder with a sub-folder for each model and adapter, as it lies on the claim that pods read."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def scores(self, model: str, adapter: str | None = None) -> list[float]:
        """Score QUERY with each document by transformers (and PEFT) itself: sigmoid of the logits, [documents]."""
        logits = reference_logits(self[model], QUERY, DOCUMENTS, self[adapter] if adapter else None)
        return [1 / (1 + math.exp(-logit)) for logit in logits]


def write(folder: Path) -> Artifacts:
    """Write the models and adapters, good and bad, that the tests deploy."""
    for name, seed in (("bert-1", 1), ("bert-2", 2), ("bert-3", 3)):
        bert_checkpoint(folder / name, seed=seed)
    xlm_roberta_checkpoint(folder / "xlmr-1", seed=4)
    bert_checkpoint(folder / HUB_MODEL, seed=8)
    lora_adapter(folder / "lora-1", folder / "bert-1", seed=5)
    lora_adapter(folder / "lora-2", folder / "bert-1", seed=6, head=True)
    bert_checkpoint(folder / "wide", seed=7, hidden=64)
    lora_adapter(folder / "lora-wide", folder / "wide", seed=7)
    _pickled(folder / "pickled", folder / "bert-1")
    _headless(folder / "headless", folder / "bert-1")
    edit_config(
        shutil.copytree(folder / "bert-1", folder / "remote-code"),
        architectures=["OwnReranker"],
        auto_map={"AutoModelForSequenceClassification": "modeling.OwnReranker"},
    )
    return Artifacts(folder)


def _pickled(folder: Path, base: Path) -> None:
    shutil.copytree(base, folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not opened by anyone")


def _headless(folder: Path, base: Path) -> None:
    shutil.copytree(base, folder)
    tensors = load_file(base / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
