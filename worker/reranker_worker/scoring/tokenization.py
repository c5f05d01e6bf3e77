"""Turns texts into pairs of token ids as the model was trained to read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, Tokenizer, pre_tokenizers
from tokenizers.pre_tokenizers import Metaspace, WhitespaceSplit

from reranker_worker.errors import CheckpointError, InvalidRequest
from reranker_worker.models import weights
from reranker_worker.serving import CUT_AT_THE_END, EncodedPair, Truncation

# Vocabularies are padded to round sizes for the GPU, the widest known (Qwen) by 267 rows.
_SPARE_EMBEDDINGS = 1024


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The special tokens around query and document, and the types of all five parts."""

    before: list[int]
    between: list[int]
    after: list[int]
    query_type: int
    document_type: int
    before_types: list[int]
    between_types: list[int]
    after_types: list[int]

    @property
    def special_tokens(self) -> int:
        """Return how many tokens a pair has beside its texts."""
        return len(self.before) + len(self.between) + len(self.after)

    @property
    def most_type(self) -> int:
        """Return the highest type among all five parts."""
        return max(self.query_type, self.document_type, *self.before_types, *self.between_types, *self.after_types)

    def pair(self, query: list[int], document: list[int], *, truncated: bool) -> EncodedPair:
        """Return the pair as the tokenizer itself would put it together."""
        return EncodedPair(
            token_ids=[*self.before, *query, *self.between, *document, *self.after],
            type_ids=[
                *self.before_types,
                *[self.query_type] * len(query),
                *self.between_types,
                *[self.document_type] * len(document),
                *self.after_types,
            ],
            truncated=truncated,
        )


class PairEncoder:
    """A raw tokenizer whose pairs are spliced by hand, so that the query is encoded once per request.

    Its settings are never changed after the constructor: a fast tokenizer that is reconfigured while another thread
    encodes raises "Already borrowed".
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, token_types: bool) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._template = pair_template(tokenizer, token_types=token_types)
        self._max_length = max_length
        if self._room([]) < 2:
            raise CheckpointError(
                "InvalidTokenizer",
                f"pairs of at most {max_length} tokens have no room for a query and a document beside "
                f"{self._template.special_tokens} special tokens",
            )

    @property
    def most_type(self) -> int:
        """Return the highest type of any token of any pair."""
        return self._template.most_type

    def encode_query(self, query: str, instruction: str | None = None) -> list[int]:  # noqa: ARG002 — a decoder's
        """Return the query's token ids, without special tokens; encoders aren't trained with instructions.

        Raises InvalidRequest where no room is left for a document: cutting the query would change what is asked.
        """
        require_unicode(query, "query")
        (ids,) = plain_ids(self._tokenizer, [query])
        if self._room(ids) < 1:
            most = self._max_length - self._template.special_tokens - 1
            raise InvalidRequest(f"query has {len(ids)} tokens; this model takes at most {most}", param="query")
        return ids

    def encode_pairs(
        self, query_ids: list[int], documents: Sequence[str], truncation: Truncation = CUT_AT_THE_END
    ) -> list[EncodedPair]:
        """Return a pair for each document, the document cut to what fits and is allowed."""
        for document in documents:
            require_unicode(document, "documents")
        room = self._room(query_ids, truncation)
        require_room(room, truncation)
        pairs = []
        for ids in plain_ids(self._tokenizer, documents):
            kept = cut(ids, room, truncation)
            pairs.append(self._template.pair(query_ids, kept, truncated=len(kept) < len(ids)))
        return pairs

    def _room(self, query_ids: list[int], truncation: Truncation = CUT_AT_THE_END) -> int:
        return truncation.pair_length(self._max_length) - self._template.special_tokens - len(query_ids)


def load_pair_encoder(
    folder: Path,
    *,
    vocab_size: int,
    max_length: int,
    token_types: bool,
    sentencepiece: bool,
    most_types: int | None = None,
) -> PairEncoder:
    """Read tokenizer.json and whether tokens get types; raises CheckpointError with reason InvalidTokenizer.

    most_types: how many types the model knows, where it has a table of them.
    """
    tokenizer = read_tokenizer(folder, vocab_size=vocab_size)
    if sentencepiece and isinstance(tokenizer.pre_tokenizer, Metaspace):
        # As transformers does: alone it makes a token of a text's last space, which the model never saw in training.
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([WhitespaceSplit(), tokenizer.pre_tokenizer])
    encoder = PairEncoder(tokenizer, max_length=max_length, token_types=token_types and _gives_types(folder))
    if most_types is not None and encoder.most_type >= most_types:
        # On CUDA an index beyond the table would poison the process.
        raise CheckpointError(
            "InvalidTokenizer",
            f"tokenizer.json gives tokens type {encoder.most_type}, config.json says type_vocab_size {most_types}: "
            f"accepted are types up to {most_types - 1}",
        )
    return encoder


def _gives_types(folder: Path) -> bool:
    """Tell whether the model was trained with the tokenizer's types; where it is never given them, all are zero."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return True
    names = weights.read_json(path, lambda message: CheckpointError("InvalidTokenizer", message)).get(
        "model_input_names"
    )
    return not isinstance(names, list) or "token_type_ids" in names


def read_tokenizer(folder: Path, *, vocab_size: int) -> Tokenizer:
    """Return the raw tokenizer of a model with so many embeddings."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError("InvalidTokenizer", "tokenizer.json is missing; only fast tokenizers are read")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise CheckpointError("InvalidTokenizer", f"tokenizer.json can't be read: {error}") from error
    used = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if not vocab_size - _SPARE_EMBEDDINGS <= used <= vocab_size:
        raise CheckpointError(
            "InvalidTokenizer",
            f"tokenizer.json has {used} tokens, config.json says vocab_size {vocab_size}: they belong to two models",
        )
    return tokenizer


def pair_template(tokenizer: Tokenizer, *, token_types: bool) -> PairTemplate:
    """Return the template that the tokenizer's own post-processor follows, read off one encoded pair.

    Reading it off covers every kind of post-processor (template, BERT, RoBERTa, sequences of them) alike.
    """
    encoding = tokenizer.encode("a", "b")
    parts = encoding.sequence_ids
    if 0 not in parts or 1 not in parts or parts.index(1) < _last(parts, 0):
        raise CheckpointError(
            "InvalidTokenizer", "tokenizer.json's post-processor doesn't put a query before a document"
        )
    template = _template(encoding, encoding.type_ids if token_types else [0] * len(encoding.ids))
    if not template.special_tokens:
        # Two empty texts would be no pair, and encoders are read at a special token.
        raise CheckpointError(
            "InvalidTokenizer", "tokenizer.json's post-processor puts no special token around query and document"
        )
    return template


def _template(encoding: Encoding, types: list[int]) -> PairTemplate:
    parts = encoding.sequence_ids
    before, between, after = (
        slice(0, parts.index(0)),
        slice(_last(parts, 0) + 1, parts.index(1)),
        slice(_last(parts, 1) + 1, len(parts)),
    )
    return PairTemplate(
        before=encoding.ids[before],
        between=encoding.ids[between],
        after=encoding.ids[after],
        query_type=types[parts.index(0)],
        document_type=types[parts.index(1)],
        before_types=types[before],
        between_types=types[between],
        after_types=types[after],
    )


def _last(parts: Sequence[int | None], part: int) -> int:
    return len(parts) - 1 - list(reversed(parts)).index(part)


def plain_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return each text's token ids, without special tokens.

    By a batch even for one text: `encode` holds Python's lock, and with it every probe, for as long as a text takes.
    """
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def cut(ids: list[int], room: int, truncation: Truncation) -> list[int]:
    """Return what is left of a document's token ids; raises InvalidRequest where nothing may be cut."""
    if truncation.refused and len(ids) > room:
        raise InvalidRequest(
            f"a document has {len(ids)} tokens; {room} fit beside this query, and nothing may be cut", param="documents"
        )
    room = min(room, truncation.max_tokens or room)
    return ids[:room] if truncation.side == "right" else ids[max(0, len(ids) - room) :]


def require_room(room: int, truncation: Truncation) -> None:
    """Raise InvalidRequest where a client's length of the pair leaves no room for a document."""
    if room < 1:
        asked = truncation.pair_tokens or 0
        raise InvalidRequest(
            f"truncate_prompt_tokens is {asked}; beside this query a document needs at least {asked - room + 1}",
            param="truncate_prompt_tokens",
        )


def require_unicode(text: str, param: str) -> None:
    """Raise InvalidRequest for a text that no UTF-8 can hold; a tokenizer would end with an error of its own."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{param} holds a lone surrogate at character {error.start}, which no UTF-8 text can", param=param
        ) from error
