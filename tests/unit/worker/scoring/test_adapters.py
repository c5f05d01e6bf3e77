"""LoRA adapters: scores equal PEFT's in any order and mixture; what can't be served is refused by name."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_worker.errors import AdapterError, NotFound
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import (
    DType,
    EncodedPair,
    EngineSettings,
    LoadedAdapter,
    LoadedModel,
    PairFailure,
    ScoreRequest,
    ScoringPair,
    Serving,
)
from tests.fixtures.checkpoints import bert_checkpoint, edit_config, lora_adapter, xlm_roberta_checkpoint
from tests.fixtures.reference import reference_logits

from .conftest import RAW

MODELS = Path(__file__).parents[5] / "shared" / "models"
DOCUMENTS = ["a fast sound editor", "", "python library for chemistry " * 6, "game, network driver!", "the"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with a head": {"head": True},
    "rank-stabilised": {"use_rslora": True, "lora_alpha": 3},
    "a rank and alpha by module": {"rank_pattern": {"query": 2}, "alpha_pattern": {"layer.1.*.value": 32}},
    "every linear layer": {"target_modules": "all-linear"},
    "targets by regular expression": {"target_modules": r".*layer\.1\..*(key|dense)"},
    "one layer": {"layers_to_transform": [0]},
    "dense layers, the pooler's too": {"target_modules": ["dense"]},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("family", ["bert", "xlm_roberta"])
async def test_an_adapters_scores_are_pefts_scores(
    engine: Engine, family: str, options: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base, model = request.getfixturevalue(family), request.getfixturevalue(f"{family}_model")
    folder = lora_adapter(tmp_path / "adapter", base, **options)
    engine.serve(Serving(model, {"x": engine.load_adapter(model, folder, "x", "x-1", 16)}))
    result = await engine.score(ScoreRequest("fast web server", DOCUMENTS, adapter="x"))
    expected = reference_logits(base, "fast web server", DOCUMENTS, folder)
    assert result.scores == pytest.approx(expected, abs=1e-4)
    assert result.adapter_revision == "x-1"


@pytest.mark.parametrize("family", ["bert", "xlm_roberta"])
async def test_one_batch_mixes_adapters_with_and_without_heads(
    engine: Engine, family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base, model = request.getfixturevalue(family), request.getfixturevalue(f"{family}_model")
    folders = {
        f"a{seed}": lora_adapter(tmp_path / f"a{seed}", base, seed=seed, rank=seed + 1, head=seed % 2 == 0)
        for seed in range(4)
    }
    adapters = {name: engine.load_adapter(model, folder, name, name, 16) for name, folder in folders.items()}
    engine.serve(Serving(model, adapters))
    order = [None, "a0", "a1", "a2", "a3", None, "a2"]
    results = await asyncio.gather(*(engine.score(ScoreRequest("web", DOCUMENTS, adapter=name)) for name in order))
    for name, result in zip(order, results, strict=True):
        expected = reference_logits(base, "web", DOCUMENTS, folders[name] if name else None)
        assert result.scores == pytest.approx(expected, abs=1e-4), name


@pytest.mark.parametrize("order", [["science", "names"], ["names", "science"]], ids=["head first", "head last"])
async def test_the_trained_adapters_load_in_any_order(engine: Engine, order: list[str]) -> None:
    base = MODELS / "debian-ce-minilm-l6"
    if not base.is_dir():
        pytest.skip("the trained model isn't beside this checkout")
    model = engine.load_model(base, "debian-1", RAW)
    loaded = {name: engine.load_adapter(model, MODELS / f"lora-{name}-r8", name, name, 64) for name in order}
    engine.serve(Serving(model, loaded))
    documents = ["a library for molecular dynamics", "text editor with syntax highlighting", "web server"]
    for name in [*order, None]:
        result = await engine.score(ScoreRequest("simulate proteins", documents, adapter=name))
        folder = MODELS / f"lora-{name}-r8" if name else None
        expected = reference_logits(base, "simulate proteins", documents, folder)
        assert result.scores == pytest.approx(expected, abs=1e-4), name


async def test_an_unknown_adapter_is_an_error_and_never_the_models_own_score(
    engine: Engine, bert_model: LoadedModel
) -> None:
    engine.serve(Serving(bert_model))
    with pytest.raises(NotFound):
        await engine.score(ScoreRequest("web", ["server"], adapter="gone"))


async def test_a_request_keeps_its_adapter_when_the_name_gets_a_new_one(
    engine: Engine, bert: Path, bert_model: LoadedModel, tmp_path: Path
) -> None:
    folders = [lora_adapter(tmp_path / f"r{seed}", bert, seed=seed) for seed in range(2)]
    first, second = (engine.load_adapter(bert_model, folder, "x", folder.name, 16) for folder in folders)
    engine.serve(Serving(bert_model, {"x": first}))
    running = asyncio.create_task(engine.score(ScoreRequest("web", DOCUMENTS * 50, adapter="x")))
    await asyncio.sleep(0)
    engine.serve(Serving(bert_model, {"x": second}))
    results = [await running, await engine.score(ScoreRequest("web", DOCUMENTS, adapter="x"))]
    for result, folder in zip(results, folders, strict=True):
        assert result.adapter_revision == folder.name
        expected = reference_logits(bert, "web", DOCUMENTS, folder)
        assert result.scores[: len(DOCUMENTS)] == pytest.approx(expected, abs=1e-4)


def _tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)

    return edit


def _config(**members: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        edit_config(folder, "adapter_config.json", **members)

    return edit


def _pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _truncate(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])


def _rename(tensors: dict[str, torch.Tensor], old: str, new: str) -> None:
    for name in [name for name in tensors if old in name]:
        tensors[name.replace(old, new)] = tensors.pop(name)


def _poison(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values()))[0, 0] = float("nan")


def _silence(tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if "lora_B" in name:
            tensor.zero_()


REFUSALS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "pissa": (_config(init_lora_weights="pissa_niter_4"), "InvalidAdapter", "path_initial_model_for_weight_conversion"),
    "olora": (_config(init_lora_weights="OLoRA"), "InvalidAdapter", "init_lora_weights 'OLoRA'"),
    "dora": (_config(use_dora=True), "InvalidAdapter", "use_dora"),
    "a bias": (_config(bias="all"), "InvalidAdapter", "bias"),
    "another method": (_config(peft_type="IA3"), "InvalidAdapter", "peft_type"),
    "transposed weights": (_config(fan_in_fan_out=True), "InvalidAdapter", "fan_in_fan_out"),
    "copied layers": (_config(layer_replication=[[0, 1]]), "InvalidAdapter", "layer_replication"),
    "pickled": (_pickle, "PickledWeights", "adapter_model.bin"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "InvalidAdapter", "missing"),
    "no configuration": (lambda folder: (folder / "adapter_config.json").unlink(), "InvalidAdapter", "missing"),
    "truncated": (_truncate, "InvalidAdapter", "truncated"),
    "rank beyond the policy": (_config(r=32), "AdapterRankTooHigh", "at most 16"),
    "rank that the file doesn't have": (_config(r=2), "AdapterBaseMismatch", "shape"),
    "rank that is no number": (_config(r="8"), "InvalidAdapter", "r is"),
    "a pattern that could run for ever": (_config(alpha_pattern={"(a+)+$": 2}), "InvalidAdapter", "pattern"),
    "another model's modules": (
        _tensors(lambda tensors: _rename(tensors, ".bert.", ".model.")),
        "AdapterMatchesNothing",
        "none of",
    ),
    "a layer too many": (
        _tensors(lambda tensors: _rename(tensors, "layer.1", "layer.7")),
        "AdapterBaseMismatch",
        "layer.7",
    ),
    "a layer too few": (
        _tensors(lambda tensors: [tensors.pop(name) for name in list(tensors) if "layer.1" in name]),  # type: ignore[arg-type]
        "InvalidAdapter",
        "no tensors",
    ),
    "half a pair": (
        _tensors(lambda tensors: tensors.pop(next(iter(tensors)))),  # type: ignore[arg-type]
        "InvalidAdapter",
        "lora_A and lora_B",
    ),
    "an embedding": (
        _tensors(lambda tensors: _rename(tensors, "lora_A.weight", "lora_embedding_A")),
        "InvalidAdapter",
        "plain LoRA",
    ),
    "targets that the file exceeds": (_config(target_modules=["value"]), "InvalidAdapter", "target_modules"),
    "a head that the file lacks": (_config(modules_to_save=["classifier"]), "InvalidAdapter", "classifier"),
    "a value that isn't finite": (_tensors(_poison), "NonFiniteScores", "finite"),
    "no effect": (_tensors(_silence), "AdapterMatchesNothing", "changes no score"),
}


@pytest.fixture
def adapter_folder(bert: Path, tmp_path: Path) -> Path:
    return lora_adapter(tmp_path / "adapter", bert)


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_an_adapter_is_refused_for(
    engine: Engine, bert_model: LoadedModel, adapter_folder: Path, refusal: tuple[Callable[[Path], None], str, str]
) -> None:
    spoil, reason, words = refusal
    spoil(adapter_folder)
    with pytest.raises(AdapterError, match=words) as raised:
        engine.load_adapter(bert_model, adapter_folder, "x", "x-1", 16)
    assert raised.value.reason == reason
    assert str(adapter_folder) not in raised.value.message


def test_an_adapter_for_a_wider_model_is_refused_with_both_shapes(
    engine: Engine, bert_model: LoadedModel, tmp_path: Path
) -> None:
    folder = lora_adapter(tmp_path / "adapter", bert_checkpoint(tmp_path / "wide", hidden=128))
    with pytest.raises(AdapterError, match=r"shape \[4, 128\]; on this model it is \[4, 64\]") as refusal:
        engine.load_adapter(bert_model, folder, "x", "x-1", 16)
    assert refusal.value.reason == "AdapterBaseMismatch"


def test_an_adapter_for_another_family_matches_nothing(engine: Engine, bert_model: LoadedModel, tmp_path: Path) -> None:
    folder = lora_adapter(tmp_path / "adapter", xlm_roberta_checkpoint(tmp_path / "base"))
    with pytest.raises(AdapterError) as refusal:
        engine.load_adapter(bert_model, folder, "x", "x-1", 16)
    assert refusal.value.reason == "AdapterMatchesNothing"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_an_adapter_without_effect_is_told_from_rounding(
    engine: Engine, bert: Path, adapter_folder: Path, dtype: DType
) -> None:
    model = engine.load_model(bert, f"bert-{dtype}", EngineSettings(dtype=dtype, scores="raw"))
    _tensors(_silence)(adapter_folder)
    with pytest.raises(AdapterError, match="changes no score"):
        engine.load_adapter(model, adapter_folder, "x", "x-1", 16)


def test_a_refused_adapter_leaves_the_model_as_it_was(
    engine: Engine, bert: Path, bert_model: LoadedModel, tmp_path: Path
) -> None:
    folder = lora_adapter(tmp_path / "adapter", bert)
    _tensors(_silence)(folder)
    pairs = bert_model.tokenizer.encode_pairs(bert_model.tokenizer.encode_query("web"), DOCUMENTS)
    before = _scores(bert_model, pairs, None)
    with pytest.raises(AdapterError):
        engine.load_adapter(bert_model, folder, "x", "x-1", 16)
    loaded = engine.load_adapter(bert_model, lora_adapter(tmp_path / "good", bert), "x", "x-2", 16)
    assert _scores(bert_model, pairs, loaded) != before
    assert _scores(bert_model, pairs, None) == before


def _scores(model: LoadedModel, pairs: list[EncodedPair], adapter: LoadedAdapter | None) -> list[float | PairFailure]:
    return model.runner.score([ScoringPair(pair, adapter) for pair in pairs])
