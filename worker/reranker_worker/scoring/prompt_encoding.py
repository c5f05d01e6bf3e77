"""Turns texts into a decoder's prompts: the part before the documents once per request, then a part for each."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer

from reranker_worker.errors import CheckpointError, InvalidRequest
from reranker_worker.models.prompts import INSTRUCTION, QUERY, Prompt
from reranker_worker.scoring.tokenization import cut, plain_ids, read_tokenizer, require_room, require_unicode
from reranker_worker.serving import CUT_AT_THE_END, EncodedPair, Truncation


class PromptEncoder:
    """A raw tokenizer and the prompt that it fills in; its settings are never changed after the constructor."""

    def __init__(self, tokenizer: Tokenizer, prompt: Prompt, *, max_length: int) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        _check_controls(tokenizer, prompt.controls)
        answers = (prompt.positive,) if prompt.negative is None else (prompt.positive, prompt.negative)
        self.answers = tuple(self._answer(answer) for answer in answers)
        """The token ids of the answers, the positive one first."""
        place = next(i for i, piece in enumerate(prompt.opening) if QUERY in piece)
        self._before = self._ids(prompt.opening[:place])
        self._question = prompt.opening[place]
        self._instructed = prompt.instructed
        self._between = self._ids(prompt.opening[place + 1 :])
        self._lead = prompt.lead
        self._lead_tokens = len(self._ids([prompt.lead]))
        self._closing = self._ids(prompt.closing)
        self._max_length = max_length
        self._empty = len(self._prefix("", None))
        self._fixed = self._empty + self._lead_tokens + len(self._closing)
        if max_length < self._fixed + 2:
            raise CheckpointError(
                "InvalidTokenizer",
                f"prompts of at most {max_length} tokens have no room for a query and a document beside "
                f"{self._fixed} tokens of the model's own",
            )

    def encode_query(self, query: str, instruction: str | None = None) -> list[int]:
        """Return all token ids before the document, the query's and the instruction's among them.

        Raises InvalidRequest where no room is left for a document: cutting the query would change what is asked.
        """
        require_unicode(query, "query")
        require_unicode(instruction or "", "instruction")
        prefix = self._prefix(query, instruction)
        own = len(prefix) - self._empty
        most = self._max_length - self._fixed - 1
        if own > most:
            raise InvalidRequest(f"query has {own} tokens; this model takes at most {most}", param="query")
        return prefix

    def encode_pairs(
        self, query_ids: list[int], documents: Sequence[str], truncation: Truncation = CUT_AT_THE_END
    ) -> list[EncodedPair]:
        """Return a pair for each document, the document cut to what fits and is allowed; all share the one prefix."""
        if truncation.side == "left":
            # What leads a document is encoded with its first word, so a prompt can't lose a document's beginning.
            raise InvalidRequest(
                "this model's documents can only be cut at their right end", param="truncation_direction"
            )
        for document in documents:
            require_unicode(document, "documents")
        room = truncation.pair_length(self._max_length) - len(query_ids) - len(self._closing)
        require_room(room - self._lead_tokens, truncation)
        if truncation.max_tokens is not None:
            truncation = replace(truncation, max_tokens=truncation.max_tokens + self._lead_tokens)
        pairs = []
        for ids in plain_ids(self._tokenizer, [self._lead + text for text in documents]):
            kept = cut(ids, room, truncation)
            pairs.append(EncodedPair(kept + self._closing, [], prefix=query_ids, truncated=len(kept) < len(ids)))
        return pairs

    def _prefix(self, query: str, instruction: str | None) -> list[int]:
        wording = self._instructed if instruction and self._instructed else self._question
        # The query isn't searched for marks: it may hold the same letters.
        head, _, tail = wording.partition(QUERY)
        question = head.replace(INSTRUCTION, instruction or "") + query + tail
        return [*self._before, *self._ids([question]), *self._between]

    def _ids(self, pieces: Iterable[str]) -> list[int]:
        return [token for ids in plain_ids(self._tokenizer, list(pieces)) for token in ids]

    def _answer(self, answer: str) -> int:
        ids = self._ids([answer])
        if len(ids) != 1:
            raise CheckpointError(
                "InvalidTokenizer", f"tokenizer.json makes {len(ids)} tokens of the answer {answer!r}, not one"
            )
        return ids[0]


def load_prompt_encoder(folder: Path, prompt: Prompt, *, vocab_size: int, max_length: int) -> PromptEncoder:
    """Read tokenizer.json; raises CheckpointError with reason InvalidTokenizer."""
    return PromptEncoder(read_tokenizer(folder, vocab_size=vocab_size), prompt, max_length=max_length)


def _check_controls(tokenizer: Tokenizer, controls: Sequence[str]) -> None:
    for control in controls:
        if plain_ids(tokenizer, [control]) != [[tokenizer.token_to_id(control)]]:
            raise CheckpointError(
                "InvalidTokenizer",
                f"tokenizer.json doesn't know {control!r} as one token; the model's prompt needs {', '.join(controls)}",
            )
