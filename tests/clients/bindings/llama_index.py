"""LlamaIndex's node postprocessors: Cohere's, Jina's and Text Embeddings Inference's."""

from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

from tests.clients.bindings.cohere_sdk import REFUSALS
from tests.clients.client import Ask, Client, NotMet, Raises, Ranking, Refusal, Waits

JINA: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(RuntimeError, "tokens; this model takes at most"),
    "unknown model": Raises(RuntimeError, "there is 'acme/debian-search'"),
    "overload": Raises(RuntimeError, "tokens wait"),
    "cold start": Raises(RuntimeError, "isn't ready yet"),
}
# It reads no status and no error: an answer that isn't a list of all scores fails its assertion.
TEI: Mapping[Refusal, Raises | Waits | NotMet] = {
    "bad request": Raises(AssertionError),
    "unknown model": NotMet("it names no model"),
    "overload": Raises(AssertionError),
    "cold start": Raises(AssertionError),
}


def cohere_rerank(ask: Ask) -> Ranking:
    return _ranking(
        CohereRerank(api_key=ask.key, base_url=ask.url, model=ask.model, top_n=len(ask.documents), max_retries=1),
        ask,
    )


def jina_rerank(ask: Ask) -> Ranking:
    return _ranking(
        JinaRerank(api_key=ask.key, base_url=f"{ask.url}/v1", model=ask.model, top_n=len(ask.documents)), ask
    )


def tei_rerank(ask: Ask) -> Ranking:
    # It sends the key alone, without "Bearer".
    return _ranking(TextEmbeddingInference(auth_token=ask.key, base_url=ask.url, top_n=len(ask.documents)), ask)


def _ranking(postprocessor: Any, ask: Ask) -> Ranking:
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(i)), score=0.0) for i, text in enumerate(ask.documents)]
    ranked = postprocessor.postprocess_nodes(nodes, QueryBundle(ask.query))
    return [(int(node.node_id), node.score) for node in ranked]


CLIENTS = (
    Client("CohereRerank", "llama-index-postprocessor-cohere-rerank", cohere_rerank, REFUSALS),
    Client("JinaRerank", "llama-index-postprocessor-jinaai-rerank", jina_rerank, JINA),
    Client("TextEmbeddingInference", "llama-index-postprocessor-tei-rerank", tei_rerank, TEI, sends_model=False),
)
