"""Makes what the engine serves: loads files, then scores real pairs before anything of it may answer."""

from pathlib import Path

import torch

from reranker_worker.device import resolve_dtype
from reranker_worker.device_faults import faults, in_memory
from reranker_worker.errors import AdapterError, CheckpointError, InvalidRequest
from reranker_worker.metrics import Metrics
from reranker_worker.models.adapters import load_lora
from reranker_worker.models.loading import Network, load_network
from reranker_worker.models.lora import without_effect
from reranker_worker.scoring.decoder_runner import DecoderRunner
from reranker_worker.scoring.model_runner import ModelRunner
from reranker_worker.scoring.prompt_encoding import load_prompt_encoder
from reranker_worker.scoring.tokenization import load_pair_encoder
from reranker_worker.serving import (
    EngineSettings,
    LoadedAdapter,
    LoadedModel,
    PairFailure,
    PairTokenizer,
    ScoringPair,
)

_QUERY = "how do I keep a service running while its model changes"
_DOCUMENTS = (
    "Load the new model beside the old one, try it, and swap one reference between two batches.",
    "The recipe needs two eggs, flour, a little salt and an hour of patience.",
    "",
)


def prepare_model(
    path: Path,
    revision: str,
    settings: EngineSettings,
    device: torch.device,
    metrics: Metrics,
    *,
    spare_tokens: int = 0,
) -> LoadedModel:
    """Return a model that has scored, and that leaves room for a batch of `spare_tokens`.

    Raises CheckpointError, or DeviceFault when the device is lost.
    """
    with metrics.loading("model"), faults(device):
        dtype, in_int8 = resolve_dtype(settings.dtype, device), settings.dtype == "int8"
        network = in_memory(lambda: load_network(path, dtype, device, in_int8=in_int8, spare_tokens=spare_tokens))
        if network is None:
            raise CheckpointError("OutOfMemory", f"the weights don't fit {device}")
        max_length = min(settings.max_length, network.positions)
        tokenizer, runner = _parts(path, network, max_length)
        model = LoadedModel(
            revision=revision,
            runner=runner,
            tokenizer=tokenizer,
            settings=settings,
            max_length=max_length,
            device=str(device),
            dtype="int8" if in_int8 else str(network.dtype).removeprefix("torch."),
        )
        _warm_up(model)
    return model


def prepare_adapter(
    model: LoadedModel, path: Path, metrics: Metrics, *, name: str, revision: str, max_rank: int
) -> LoadedAdapter:
    """Return an adapter that has scored, differently from its model.

    Raises AdapterError, or DeviceFault when the device is lost.
    """
    runner = model.runner
    if not isinstance(runner, ModelRunner):
        raise TypeError(f"adapters need a torch runner, not {type(runner).__name__}")
    with metrics.loading("adapter"), faults(runner.device):
        weights = in_memory(
            lambda: load_lora(
                path,
                runner.module,
                dtype=runner.dtype,
                device=runner.device,
                max_rank=max_rank,
                layouts=runner.family.layouts,
                in_fp32=runner.family.in_fp32,
            )
        )
        if weights is None:
            raise AdapterError("OutOfMemory", f"the adapter's weights don't fit {runner.device}")
        adapter = LoadedAdapter(name=name, revision=revision, weights=weights)
        _probe(model, adapter, LoadedAdapter(name=name, revision=revision, weights=without_effect(weights)))
    return adapter


def _parts(path: Path, network: Network, max_length: int) -> tuple[PairTokenizer, ModelRunner]:
    """Return what encodes pairs for the network, and what scores them."""
    family = network.family
    if family.prompt is None:
        pairs = load_pair_encoder(
            path,
            vocab_size=network.vocab_size,
            max_length=max_length,
            token_types=family.token_types,
            most_types=network.token_types,
            sentencepiece=family.sentencepiece,
        )
        return pairs, ModelRunner(
            module=network.module,
            family=family,
            device=network.device,
            dtype=network.dtype,
            vocab_size=network.vocab_size,
            pad_token_id=network.pad_token_id,
            fills_up=network.laid_out,
        )
    prompts = load_prompt_encoder(path, family.prompt, vocab_size=network.vocab_size, max_length=max_length)
    return prompts, DecoderRunner(
        module=network.module,
        family=family,
        device=network.device,
        dtype=network.dtype,
        vocab_size=network.vocab_size,
        pad_token_id=network.pad_token_id,
        answers=prompts.answers if family.reads_answers else (0,),
    )


def _warm_up(model: LoadedModel) -> None:
    for failure in _failures(_score(model, None)):
        raise CheckpointError(*_refusal(failure, model))


def _probe(model: LoadedModel, adapter: LoadedAdapter, without: LoadedAdapter) -> None:
    adapted = _score(model, adapter)
    for failure in _failures(adapted):
        raise AdapterError(*_refusal(failure, model))
    # Not what the model scores without any adapter: that takes other steps, and differs in the last digits.
    if adapted == _score(model, without):
        raise AdapterError("AdapterMatchesNothing", "the adapter changes no score: its low-rank tensors have no effect")


def _refusal(failure: PairFailure, model: LoadedModel) -> tuple[str, str]:
    """Return the reason and the message with which what can't score a real pair is refused."""
    match failure.reason:
        case "OutOfMemory":
            return "OutOfMemory", f"a pair of a few words doesn't fit {model.device}"
        case "NonFinite":
            return "NonFiniteScores", "a real query and document get a score that isn't finite"
        case "Overflow":
            where = f"in {model.dtype}, and {model.device} has no memory to compute it in another"
            return (
                "NonFiniteScores",
                f"a real query and document get a score that isn't finite {where}; set engine.dtype: float32",
            )


def _score(model: LoadedModel, adapter: LoadedAdapter | None) -> list[float | PairFailure]:
    query = _query_that_fits(model.tokenizer)
    return model.runner.score([ScoringPair(pair, adapter) for pair in model.tokenizer.encode_pairs(query, _DOCUMENTS)])


def _query_that_fits(tokenizer: PairTokenizer) -> list[int]:
    words = _QUERY.split()
    while True:
        try:
            return tokenizer.encode_query(" ".join(words))
        except InvalidRequest:
            # A tiny model, or one whose prompt is nearly as long as its longest pair.
            if not words:
                raise
            words = words[: len(words) // 2]


def _failures(outcomes: list[float | PairFailure]) -> list[PairFailure]:
    return [outcome for outcome in outcomes if isinstance(outcome, PairFailure)]
