"""Prefixes are computed once in a batch and kept, up to so many bytes, for the batches that follow."""

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reranker_worker.models.lora import LoraWeights
from reranker_worker.scoring.decoder_runner import DecoderRunner
from reranker_worker.scoring.engine import Engine
from reranker_worker.scoring.prefix_cache import PrefixCache, PrefixKey, PrefixStates
from reranker_worker.serving import ScoringPair
from tests.fixtures.decoders import decoder_lora

from .conftest import Decoder

DOCUMENTS = ["a fast sound editor", "", "python library for chemistry " * 6]


@pytest.fixture
def runner(decoder: Decoder) -> DecoderRunner:
    """Return the decoder's runner as if it had scored nothing yet."""
    assert isinstance(decoder.model.runner, DecoderRunner)
    return replace(decoder.model.runner, prefixes=PrefixCache(1 << 20))


class Computed:
    """Tells how many tokens the network has read since it was last asked."""

    def __init__(self) -> None:
        self._tokens = 0

    def add(self, _module: torch.nn.Module, _args: object, kwargs: dict[str, torch.Tensor]) -> None:
        self._tokens += kwargs["input_ids"].numel()

    def tokens(self) -> int:
        read, self._tokens = self._tokens, 0
        return read


@pytest.fixture
def computed(runner: DecoderRunner) -> Iterator[Computed]:
    computed = Computed()
    hook = runner.module.get_submodule("model").register_forward_pre_hook(computed.add, with_kwargs=True)
    yield computed
    hook.remove()


def _pairs(decoder: Decoder, query: str) -> list[ScoringPair]:
    tokenizer = decoder.model.tokenizer
    return [ScoringPair(pair) for pair in tokenizer.encode_pairs(tokenizer.encode_query(query), DOCUMENTS)]


def test_a_prefix_is_read_once_and_never_again(decoder: Decoder, runner: DecoderRunner, computed: Computed) -> None:
    pairs = _pairs(decoder, "web")
    documents = sum(len(pair.encoded) for pair in pairs)
    first = runner.score(pairs)
    assert computed.tokens() == len(pairs[0].encoded.prefix) + documents
    again = runner.score(pairs)
    assert computed.tokens() == documents
    assert again == pytest.approx(first, abs=1e-5)


def test_requests_with_one_query_share_its_prefix_in_a_batch(
    decoder: Decoder, runner: DecoderRunner, computed: Computed
) -> None:
    one, other = _pairs(decoder, "web"), _pairs(decoder, "web")
    runner.score([pair for both in zip(one, other, strict=True) for pair in both])
    assert computed.tokens() == len(one[0].encoded.prefix) + 2 * sum(len(pair.encoded) for pair in one)


def test_kept_and_new_prefixes_mix_in_one_batch(decoder: Decoder, runner: DecoderRunner) -> None:
    known = {query: _pairs(decoder, query) for query in ("web", "sound editor", "python")}
    alone = {query: runner.score(pairs) for query, pairs in known.items()}
    fresh = replace(runner, prefixes=PrefixCache(1 << 20))
    fresh.score(known["python"])
    fresh.score(known["web"])
    mixed = fresh.score([pair for trio in zip(*known.values(), strict=True) for pair in trio])
    for i, query in enumerate(known):
        assert mixed[i::3] == pytest.approx(alone[query], abs=1e-5), query


def test_an_adapters_prefix_is_its_own_and_is_no_reason_to_keep_the_adapter(
    engine: Engine, decoders: Callable[[str], Decoder], tmp_path: Path
) -> None:
    decoder = decoders("qwen3")
    assert isinstance(decoder.model.runner, DecoderRunner)
    runner = replace(decoder.model.runner, prefixes=PrefixCache(1 << 20))
    folder = decoder_lora(tmp_path, decoder.folder, target_modules=["k_proj"])
    adapter = engine.load_adapter(decoder.model, folder, "x", "x-1", 16)
    bare = _pairs(decoder, "web")
    adapted = [ScoringPair(pair.encoded, adapter) for pair in bare]
    expected = runner.score(adapted)
    assert runner.score(bare) != pytest.approx(expected, abs=1e-3)
    assert runner.score(adapted) == pytest.approx(expected, abs=1e-5)
    assert isinstance(adapter.weights, LoraWeights)
    alive = weakref.ref(adapter.weights)
    del adapter, adapted
    gc.collect()
    assert alive() is None


def test_the_prefix_unused_for_longest_goes_first() -> None:
    cache = PrefixCache(max_bytes=3 * 32)
    states = {key: PrefixStates([(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))]) for key in "abcd"}
    keys = {key: PrefixKey((ord(key),), None) for key in states}
    for key in "abc":
        cache.put(keys[key], states[key])
    assert cache.get(keys["a"]) is states["a"]
    cache.put(keys["d"], states["d"])
    assert [key for key in states if cache.get(keys[key])] == ["a", "c", "d"]
    assert cache.bytes == 3 * 32


def test_a_prefix_larger_than_the_cache_is_not_kept() -> None:
    cache = PrefixCache(max_bytes=31)
    cache.put(PrefixKey((1,), None), PrefixStates([(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))]))
    assert (cache.bytes, cache.get(PrefixKey((1,), None))) == (0, None)
