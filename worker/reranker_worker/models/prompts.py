"""The prompts of decoder rerankers, word for word as their authors trained them. No I/O.

A prompt is put together from pieces that are encoded one by one, as its authors do: two pieces encoded together may
give other token ids. Sources: the model card of Qwen/Qwen3-Reranker-0.6B, MxbaiRerankV2 in mixedbread-ai/mxbai-rerank,
and BaseLLMReranker in FlagOpen/FlagEmbedding for BAAI/bge-reranker-v2-gemma.
"""

from dataclasses import dataclass

QUERY = "{query}"
INSTRUCTION = "{instruction}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands around a query and its document, and which next token answers.

    The logit of a pair is that of the answer `positive`, less that of `negative` where there is one.
    """

    opening: tuple[str, ...]
    """The pieces before the document; the one that holds QUERY is encoded with the query in its place."""
    instructed: str | None
    """What stands for that piece where a request brings an INSTRUCTION; None where the authors trained without one."""
    lead: str
    """What is encoded together with the document; truncation never reaches it."""
    closing: tuple[str, ...]
    positive: str
    negative: str | None
    controls: tuple[str, ...]
    """Texts in the pieces that the tokenizer must know as one token each; one that splits them belongs elsewhere."""


_QWEN3_SYSTEM = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_QWEN3_INSTRUCT = "Given a web search query, retrieve relevant passages that answer the query"
_MXBAI_SYSTEM = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
_MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment "
    "(0 for not relevant, 1 for relevant).\nRelevance:"
)
_GEMMA_TASK = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'."
)

QWEN3_RERANKER = Prompt(
    # Its authors encode all from <Instruct> to the document's end as one piece. The cut before the space changes no
    # token: the tokenizer's pattern ends a word there, whatever the document begins with.
    opening=(_QWEN3_SYSTEM, f"<Instruct>: {_QWEN3_INSTRUCT}\n<Query>: {QUERY}\n<Document>:"),
    instructed=f"<Instruct>: {INSTRUCTION}\n<Query>: {QUERY}\n<Document>:",
    lead=" ",
    closing=("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",),
    positive="yes",
    negative="no",
    controls=("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
)
MXBAI_RERANK_V2 = Prompt(
    opening=(_MXBAI_SYSTEM, f"query: {QUERY}", "\n"),
    instructed=f"instruction: {INSTRUCTION}\nquery: {QUERY}",
    lead="document: ",
    closing=("\n", _MXBAI_TASK, "<|im_end|>\n<|im_start|>assistant\n"),
    positive="1",
    negative="0",
    controls=("<|im_start|>", "<|im_end|>"),
)
BGE_RERANKER_V2_GEMMA = Prompt(
    opening=("<bos>", f"A: {QUERY}", "\n"),
    instructed=None,
    lead="B: ",
    closing=("\n", _GEMMA_TASK),
    positive="Yes",
    negative=None,
    controls=("<bos>",),
)
