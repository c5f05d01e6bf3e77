"""Each encoder family's adapters score as PEFT's do, alone and mixed in one batch."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from reranker_worker.errors import AdapterError
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import LoadedModel, ScoreRequest, Serving
from tests.fixtures.checkpoints import edit_config, lora_adapter
from tests.fixtures.families import ATTENTION, jina_checkpoint
from tests.fixtures.reference import reference_logits

from .conftest import RAW

QUERY = "fast web server"
DOCUMENTS = ["a fast sound editor", "", "python library for chemistry " * 6, "game, network driver!", "the"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with a head": {"modules_to_save": ["classifier"]},
    "every linear layer": {"target_modules": "all-linear"},
    "the last layer alone": {"layers_to_transform": [2]},
    "rank-stabilised": {"use_rslora": True, "lora_alpha": 3},
}


def _adapter(folder: Path, family: str, base: Path, **options: Any) -> Path:
    return lora_adapter(folder, base, **{"target_modules": ATTENTION[family], **options})


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
async def test_an_adapters_scores_are_pefts_scores(
    engine: Engine, family: str, base: Path, model: LoadedModel, *, options: dict[str, Any], tmp_path: Path
) -> None:
    if family == "jina" and "layers_to_transform" in options:
        options = {"layers_to_transform": [1]}
    folder = _adapter(tmp_path / "adapter", family, base, **options)
    engine.serve(Serving(model, {"x": engine.load_adapter(model, folder, "x", "x-1", 16)}))
    result = await engine.score(ScoreRequest(QUERY, DOCUMENTS, adapter="x"))
    assert result.scores == pytest.approx(reference_logits(base, QUERY, DOCUMENTS, folder), abs=1e-4)


async def test_one_batch_mixes_adapters_with_and_without_heads(
    engine: Engine, family: str, base: Path, model: LoadedModel, tmp_path: Path
) -> None:
    kinds: dict[str | None, dict[str, Any]] = {
        "a": {"seed": 1},
        "b": {"seed": 2, "rank": 2, "modules_to_save": ["classifier"]},
        "c": {"seed": 3, "target_modules": "all-linear"},
    }
    folders: dict[str | None, Path] = {
        name: _adapter(tmp_path / str(name), family, base, **options) for name, options in kinds.items()
    }
    adapters = {
        str(name): engine.load_adapter(model, folder, str(name), str(name), 16) for name, folder in folders.items()
    }
    engine.serve(Serving(model, adapters))
    order = [None, "a", "b", "c", None, "b"]
    results = await asyncio.gather(*(engine.score(ScoreRequest(QUERY, DOCUMENTS, adapter=name)) for name in order))
    for name, result in zip(order, results, strict=True):
        expected = reference_logits(base, QUERY, DOCUMENTS, folders.get(name))
        assert result.scores == pytest.approx(expected, abs=1e-4), name


async def test_an_adapter_may_name_jinas_modules_as_transformers_does(engine: Engine, tmp_path: Path) -> None:
    base = jina_checkpoint(tmp_path / "base")
    model = engine.load_model(base, "jina-1", RAW)
    folder = lora_adapter(tmp_path / "adapter", base / "plain", target_modules="all-linear", head=True)
    engine.serve(Serving(model, {"x": engine.load_adapter(model, folder, "x", "x-1", 16)}))
    result = await engine.score(ScoreRequest(QUERY, DOCUMENTS, adapter="x"))
    assert result.scores == pytest.approx(reference_logits(base / "plain", QUERY, DOCUMENTS, folder), abs=1e-4)


async def test_an_adapter_may_bring_jinas_fused_module_whole(engine: Engine, tmp_path: Path) -> None:
    base = jina_checkpoint(tmp_path / "base")
    model = engine.load_model(base, "jina-1", RAW)
    folder = lora_adapter(tmp_path / "adapter", base, target_modules=["fc1"], modules_to_save=["Wqkv"])
    engine.serve(Serving(model, {"x": engine.load_adapter(model, folder, "x", "x-1", 16)}))
    result = await engine.score(ScoreRequest(QUERY, DOCUMENTS, adapter="x"))
    assert result.scores == pytest.approx(reference_logits(base, QUERY, DOCUMENTS, folder), abs=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("layers.1.mixer", "layers.7.mixer", "AdapterBaseMismatch"),
        ("layers.1.mixer.Wqkv", "layers.1.mixer.out_proj", "AdapterBaseMismatch"),
        ("roberta.encoder", "model.encoder", "AdapterMatchesNothing"),
    ],
    ids=["a layer too many", "another module's shape", "another model"],
)
def test_an_adapter_in_jinas_layout_is_refused_for(
    engine: Engine, old: str, new: str, reason: str, tmp_path: Path
) -> None:
    base = jina_checkpoint(tmp_path / "base")
    folder = lora_adapter(tmp_path / "adapter", base, target_modules=["Wqkv"])
    path = folder / "adapter_model.safetensors"
    save_file({name.replace(old, new): tensor for name, tensor in load_file(path).items()}, path)
    with pytest.raises(AdapterError) as refusal:
        engine.load_adapter(engine.load_model(base, "jina-1", RAW), folder, "x", "x-1", 16)
    assert refusal.value.reason == reason


def test_an_adapter_that_lacks_a_promised_module_of_jinas_is_refused(engine: Engine, tmp_path: Path) -> None:
    base = jina_checkpoint(tmp_path / "base")
    folder = lora_adapter(tmp_path / "adapter", base, target_modules=["Wqkv"])
    edit_config(folder, "adapter_config.json", target_modules=["Wqkv", "fc1"])
    with pytest.raises(AdapterError, match=r"mlp\.fc1") as refusal:
        engine.load_adapter(engine.load_model(base, "jina-1", RAW), folder, "x", "x-1", 16)
    assert refusal.value.reason == "InvalidAdapter"
