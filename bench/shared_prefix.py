"""Measures what it gains that a request's documents share their prompt and query, in process and on this machine.

All are packed batches through the same runner with the same weights: with the prefix in front of every document, with
the prefix as a segment of its own, and with its states kept from an earlier batch. They alternate, and medians are
compared. Run it as a module: python -m bench.shared_prefix
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

from reranker_worker.models import causal_attention
from reranker_worker.models.families import FAMILIES
from reranker_worker.scoring.decoder_runner import DecoderRunner
from reranker_worker.scoring.prefix_cache import PrefixCache
from reranker_worker.serving import EncodedPair, PairFailure, ScoringPair

_VOCABULARY = 4096


def main() -> None:
    """Print the medians, their ratio, and how far the scores are apart."""
    options = _options()
    torch.set_num_threads(options.threads)
    keeping = _runner(options.layers, options.hidden, getattr(torch, options.dtype))
    forgetting = replace(keeping, prefixes=PrefixCache(max_bytes=0))
    pairs = _pairs(options.prefix, options.document, options.documents)
    whole = [ScoringPair(EncodedPair([*pair.encoded.prefix, *pair.encoded.token_ids], [])) for pair in pairs]
    sides = {"unshared": (forgetting, whole), "shared": (forgetting, pairs), "kept": (keeping, pairs)}
    scores = {name: runner.score(batch) for name, (runner, batch) in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, (runner, batch) in sides.items():
            started = time.perf_counter()
            runner.score(batch)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(
        f"Qwen3, {options.layers} layers of {options.hidden}, {options.dtype}, {options.threads} threads; prefix "
        f"{options.prefix}, {options.documents} documents of {options.document}; {options.rounds} rounds"
    )
    for name, median in medians.items():
        ratio, apart = medians["unshared"] / median, _largest_difference(scores["unshared"], scores[name])
        print(f"{name:>9}: {median:.3f} s, {ratio:.2f} x unshared; scores differ by {apart:.1e} at most")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {
        "prefix": 120,
        "document": 120,
        "documents": 20,
        "layers": 8,
        "hidden": 1024,
        "rounds": 9,
        "threads": 2,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    return parser.parse_args()


def _runner(layers: int, hidden: int, dtype: torch.dtype) -> DecoderRunner:
    causal_attention.register()
    config = Qwen3Config(
        vocab_size=_VOCABULARY,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        head_dim=128,
    )
    torch.manual_seed(0)
    module = Qwen3ForCausalLM(config)
    module.set_attn_implementation(causal_attention.PACKED_CAUSAL)
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
    return DecoderRunner(
        module=module.train(mode=False),
        family=FAMILIES["Qwen3ForCausalLM"],
        device=torch.device("cpu"),
        dtype=dtype,
        vocab_size=_VOCABULARY,
        pad_token_id=0,
        answers=(1, 2),
    )


def _pairs(prefix: int, document: int, documents: int) -> list[ScoringPair]:
    tokens = torch.randint(3, _VOCABULARY, (documents + 1, max(prefix, document))).tolist()
    shared = tokens[0][:prefix]
    return [ScoringPair(EncodedPair(ids[:document], [], shared)) for ids in tokens[1:]]


def _largest_difference(one: Sequence[float | PairFailure], other: Sequence[float | PairFailure]) -> float:
    return max(
        abs(a - b)
        for a, b in zip(one, other, strict=True)
        if not isinstance(a, PairFailure) and not isinstance(b, PairFailure)
    )


if __name__ == "__main__":
    main()
