"""How a request is split: into parts for the queue and turns for the tokeniser. No I/O, no threads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from reranker_worker.serving import EncodedPair, PairTokenizer, ScoreRequest

# What is tokenised at a time, so that a long request doesn't hold up a short one: some ten milliseconds.
_DOCUMENTS_PER_TURN = 64
_CHARACTERS_PER_TURN = 65_536


@dataclass(frozen=True, slots=True)
class Queries:
    """Encodes a request's pairs, each query once."""

    tokenizer: PairTokenizer
    instruction: str | None
    _known: dict[str, list[int]] = field(default_factory=dict)

    def encoded(self, request: ScoreRequest, documents: Sequence[int]) -> list[EncodedPair]:
        """Return the pairs of documents, which come by their numbers; raises InvalidRequest."""
        asked: dict[str, list[int]] = {}
        for document in documents:
            asked.setdefault(request.query_of(document), []).append(document)
        pairs: dict[int, EncodedPair] = {}
        for query, its in asked.items():
            if query not in self._known:
                self._known[query] = self.tokenizer.encode_query(query, self.instruction)
            texts = [request.documents[document] for document in its]
            encoded = self.tokenizer.encode_pairs(self._known[query], texts, request.truncation)
            pairs.update(zip(its, encoded, strict=True))
        return [pairs[document] for document in documents]


def turns(request: ScoreRequest, documents: range) -> Iterator[list[int]]:
    """Split documents into what is tokenised at a time; a text of more than a turn's characters is one by itself."""
    turn: list[int] = []
    characters, query, instruction = 0, None, len(request.instruction or "")
    for document in documents:
        own = request.query_of(document)
        size = len(request.documents[document]) + (len(own) + instruction if own is not query else 0)
        query = own
        if turn and (len(turn) == _DOCUMENTS_PER_TURN or characters + size > _CHARACTERS_PER_TURN):
            yield turn
            turn, characters = [], 0
        turn.append(document)
        characters += size
    yield turn


def has_long_text(request: ScoreRequest) -> bool:
    """Tell whether one of a request's texts is longer than a turn: texts can't be split."""
    instruction = len(request.instruction or "")  # which is encoded with each query
    query = instruction + max(map(len, (request.query, *request.paired_queries)))
    return max(query, *map(len, request.documents)) > _CHARACTERS_PER_TURN


@dataclass(frozen=True, slots=True)
class Part:
    """Documents by their numbers, and the tokens that they will be about."""

    documents: range
    estimated_tokens: int


def parts_of(request: ScoreRequest, max_length: int, most_tokens: int) -> Iterator[Part]:
    """Split a request where its estimated tokens pass the bound; most requests are one part."""
    start, tokens = 0, 0
    for i, document in enumerate(request.documents):
        # Four characters a token is what subword vocabularies average on prose; the true count replaces it soon.
        pair = min(max_length, 4 + (len(request.query_of(i)) + len(document)) // 4)
        if tokens and tokens + pair > most_tokens:
            yield Part(range(start, i), tokens)
            start, tokens = i, 0
        tokens += pair
    yield Part(range(start, len(request.documents)), tokens)
