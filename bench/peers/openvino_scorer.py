"""OpenVINO in process: a cross-encoder compiled for throughput; runs in an environment of its own.

Reads a line of JSON for each round, {"batch": documents}, and answers with one, {"seconds": s, "logits": [[..], ..]}.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import openvino
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def main() -> None:
    """Score all questions in every round."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    compiled = _compiled(options.model, options.dtype, options.threads)
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.enable_truncation(512, strategy="only_second")
    tokenizer.enable_padding()
    questions = json.loads(options.questions.read_text())
    for line in sys.stdin:
        batch = json.loads(line)["batch"]
        started = time.perf_counter()
        logits = [_scored(compiled, tokenizer, query, documents, batch) for query, documents in questions]
        print(json.dumps({"seconds": time.perf_counter() - started, "logits": logits}), flush=True)


def _compiled(model: Path, dtype: str, threads: int) -> openvino.CompiledModel:
    network = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32).eval()
    example = {name: torch.ones(2, 8, dtype=torch.int64) for name in _INPUTS}
    converted = openvino.convert_model(network, example_input=example)
    settings = {
        "INFERENCE_PRECISION_HINT": {"bfloat16": "bf16", "float32": "f32"}[dtype],
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time on all threads
        "INFERENCE_NUM_THREADS": threads,
    }
    return openvino.compile_model(converted, "CPU", settings)


def _scored(
    compiled: openvino.CompiledModel, tokenizer: Tokenizer, query: str, documents: list[str], batch: int
) -> list[float]:
    """Sort by length, so that little is padded, and score in batches of so many documents."""
    order = sorted(range(len(documents)), key=lambda i: len(documents[i]))
    logits = [0.0] * len(documents)
    for first in range(0, len(order), batch):
        chosen = order[first : first + batch]
        encoded = tokenizer.encode_batch([(query, documents[i]) for i in chosen])
        rows = [
            [each.ids for each in encoded],
            [each.attention_mask for each in encoded],
            [each.type_ids for each in encoded],
        ]
        output = compiled({name: torch.tensor(row).numpy() for name, row in zip(_INPUTS, rows, strict=True)})[0]
        for i, logit in zip(chosen, output[:, 0].tolist(), strict=True):
            logits[i] = logit
    return logits


if __name__ == "__main__":
    main()
