"""Pairs are spliced by hand; they must be what transformers' tokenizers make of the same texts."""

import threading
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer

from reranker_worker.errors import CheckpointError, InvalidRequest
from reranker_worker.scoring.tokenization import PairEncoder, load_pair_encoder, pair_template
from reranker_worker.serving import Truncation

SHARED = Path(__file__).parents[5] / "shared"
TEXTS = ["a fast python library", "", " game,\tnetwork  driver! ", "[SEP] </s> <pad>", "naïve 文字 🚀 zzz"]


def _encoder(folder: Path, *, max_length: int, token_types: bool) -> PairEncoder:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    size = max(tokenizer.get_vocab().values()) + 1
    return load_pair_encoder(
        folder, vocab_size=size, max_length=max_length, token_types=token_types, sentencepiece=not token_types
    )


def _agrees(folder: Path, *, token_types: bool, max_length: int) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    ours = _encoder(folder, max_length=max_length, token_types=token_types)
    for query in TEXTS[:3]:
        expected = theirs([query] * len(TEXTS), TEXTS, truncation="only_second", max_length=max_length)
        pairs = ours.encode_pairs(ours.encode_query(query), TEXTS)
        assert [pair.token_ids for pair in pairs] == expected["input_ids"]
        types = expected["token_type_ids"] if token_types else [[0] * len(ids) for ids in expected["input_ids"]]
        assert [pair.type_ids for pair in pairs] == types


@pytest.mark.parametrize("max_length", [128, 24])
def test_bert_pairs_are_transformers_pairs(bert: Path, max_length: int) -> None:
    _agrees(bert, token_types=True, max_length=max_length)


@pytest.mark.parametrize("max_length", [128, 28])
def test_xlm_roberta_pairs_are_transformers_pairs(xlm_roberta: Path, max_length: int) -> None:
    _agrees(xlm_roberta, token_types=False, max_length=max_length)


@pytest.mark.parametrize(
    ("folder", "token_types"),
    [
        pytest.param("models/debian-ce-minilm-l6", True, id="the trained BERT"),
        pytest.param("tokenizers/xlm-roberta", False, id="the real XLM-RoBERTa"),
    ],
)
def test_real_tokenizers_pairs_are_transformers_pairs(folder: str, *, token_types: bool) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} isn't beside this checkout")
    _agrees(SHARED / folder, token_types=token_types, max_length=64)


def test_only_the_document_is_truncated(bert: Path) -> None:
    encoder = _encoder(bert, max_length=16, token_types=True)
    query = encoder.encode_query("fast small python library")
    (pair,) = encoder.encode_pairs(query, ["web server " * 50])
    assert len(pair) == 16
    assert pair.token_ids[1:5] == query


def test_a_document_is_cut_to_the_tokens_that_a_request_allows(bert: Path) -> None:
    encoder = _encoder(bert, max_length=32, token_types=True)
    query = encoder.encode_query("fast")
    long, short = encoder.encode_pairs(query, ["web server " * 50, "web"], Truncation(max_tokens=4))
    assert (len(long), len(short)) == (len(query) + 3 + 4, len(query) + 3 + 1)
    assert len(encoder.encode_pairs(query, ["web " * 50], Truncation(max_tokens=1000))[0]) == 32


@pytest.mark.parametrize("truncation", [Truncation(), Truncation(side="left")], ids=["right", "left"])
def test_a_pair_tells_whether_its_document_was_cut(bert: Path, truncation: Truncation) -> None:
    encoder = _encoder(bert, max_length=10, token_types=True)
    pairs = encoder.encode_pairs(encoder.encode_query("fast"), ["web " * 7, "web " * 6, "", "web " * 6], truncation)
    assert [(len(pair), pair.truncated) for pair in pairs] == [(10, True), (10, False), (4, False), (10, False)]
    (asked,) = encoder.encode_pairs(encoder.encode_query("fast"), ["web " * 6], Truncation(max_tokens=5))
    assert asked.truncated


def test_a_request_may_bound_the_pair_as_a_whole(bert: Path) -> None:
    encoder = _encoder(bert, max_length=32, token_types=True)
    query = encoder.encode_query("fast")
    long, short = encoder.encode_pairs(query, ["web server " * 50, "web"], Truncation(pair_tokens=12))
    assert (len(long), len(short)) == (12, len(query) + 3 + 1)
    assert len(encoder.encode_pairs(query, ["web " * 50], Truncation(pair_tokens=1000))[0]) == 32
    (both,) = encoder.encode_pairs(query, ["web " * 50], Truncation(max_tokens=4, pair_tokens=12))
    assert len(both) == len(query) + 3 + 4


def test_a_bound_that_leaves_no_room_for_a_document_says_how_much_is_needed(bert: Path) -> None:
    encoder = _encoder(bert, max_length=32, token_types=True)
    query = encoder.encode_query("fast")
    least = len(query) + 3 + 1
    with pytest.raises(InvalidRequest, match=f"needs at least {least}") as refusal:
        encoder.encode_pairs(query, ["web"], Truncation(pair_tokens=least - 1))
    assert refusal.value.param == "truncate_prompt_tokens"
    assert len(encoder.encode_pairs(query, ["web"], Truncation(pair_tokens=least))[0]) == least


def test_a_document_may_lose_its_beginning_instead_of_its_end(bert: Path) -> None:
    encoder = _encoder(bert, max_length=16, token_types=True)
    query = encoder.encode_query("fast")
    text = "web " * 50 + "server"
    (right,) = encoder.encode_pairs(query, [text])
    (left,) = encoder.encode_pairs(query, [text], Truncation(side="left"))
    (last,) = encoder.encode_pairs(query, ["server"])
    assert len(left) == len(right) == 16
    assert left.token_ids[-2] == last.token_ids[-2] != right.token_ids[-2]
    assert encoder.encode_pairs(query, ["server"], Truncation(side="left")) == [last]


def test_a_document_that_may_not_be_cut_is_refused_with_both_lengths(bert: Path) -> None:
    encoder = _encoder(bert, max_length=16, token_types=True)
    query = encoder.encode_query("fast")
    whole = Truncation(refused=True)
    assert len(encoder.encode_pairs(query, ["web " * 12], whole)[0]) == 16
    with pytest.raises(InvalidRequest, match="a document has 13 tokens; 12 fit"):
        encoder.encode_pairs(query, ["web", "web " * 13], whole)


def test_truncation_and_padding_in_the_file_are_disabled(bert: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bert / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (short, long) = _encoder(tmp_path, max_length=128, token_types=True).encode_pairs([7], ["web", "web " * 40])
    assert (len(short), len(long)) == (5, 44)


def test_a_query_that_leaves_no_room_is_refused_with_its_length(bert: Path) -> None:
    with pytest.raises(InvalidRequest, match="20 tokens; this model takes at most 12") as refusal:
        _encoder(bert, max_length=16, token_types=True).encode_query("web " * 20)
    assert refusal.value.param == "query"


def test_a_query_of_seconds_leaves_other_threads_their_turns(bert: Path) -> None:
    encoder = _encoder(bert, max_length=64, token_types=True)
    refused = threading.Event()

    def ask() -> None:
        with pytest.raises(InvalidRequest):
            encoder.encode_query("fast tool " * 200_000)
        refused.set()

    asking = threading.Thread(target=ask)
    began_s = last_s = time.monotonic()
    longest_s = 0.0
    asking.start()
    while not refused.wait(0.001):
        longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
    longest_s = max(longest_s, time.monotonic() - last_s)
    asking.join()
    assert longest_s < (last_s - began_s) / 2


@pytest.mark.parametrize("param", ["query", "documents"])
def test_a_lone_surrogate_is_the_clients_mistake(bert: Path, param: str) -> None:
    encoder = _encoder(bert, max_length=64, token_types=True)
    with pytest.raises(InvalidRequest, match="lone surrogate") as refusal:
        _ = encoder.encode_query("\ud800") if param == "query" else encoder.encode_pairs([7], ["web", "a\udfff"])
    assert refusal.value.param == param


def test_any_kind_of_post_processor_gives_its_template(bert: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bert / "tokenizer.json"))
    tokenizer.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    template = pair_template(tokenizer, token_types=False)
    assert (template.before, template.between, template.after) == ([2], [3, 3], [3])


def test_a_template_without_a_document_is_refused(bert: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bert / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$B $A")
    with pytest.raises(CheckpointError, match="query before a document") as refusal:
        pair_template(tokenizer, token_types=True)
    assert refusal.value.reason == "InvalidTokenizer"
