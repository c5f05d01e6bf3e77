"""Other names under which authors publish a built-in network, mapped onto the network's own modules. No torch."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Modules by the names that an author's own code gives them; `*` stands for a layer's number.

    A published module that holds several of the network's has their rows one behind the other.
    """

    sign: str
    """A tensor that tells this layout from the network's own."""
    modules: tuple[tuple[str, tuple[str, ...]], ...]
    untyped: bool = False
    """Whether config.json may have no model_type: the authors' own code doesn't need one."""

    def own(self, path: str) -> tuple[str, ...]:
        """Return the network's modules that a published one holds, in order; a name that isn't the layout's stays."""
        for published, owns in self.modules:
            if (number := _number(published, path)) is not None:
                return tuple(own.replace("*", number) for own in owns)
        return (path,)

    def published(self, path: str) -> str:
        """Return the published module that holds one of the network's."""
        for published, owns in self.modules:
            for own in owns:
                if (number := _number(own, path)) is not None:
                    return published.replace("*", number)
        return path


def _number(template: str, path: str) -> str | None:
    match = re.fullmatch(re.escape(template).replace(r"\*", r"(\d+)"), path)
    if match is None:
        return None
    return match[1] if match.groups() else ""


JINA_XLM_ROBERTA = Layout(
    sign="roberta.encoder.layers.0.mixer.Wqkv.weight",
    modules=(
        ("roberta.emb_ln", ("roberta.embeddings.LayerNorm",)),
        (
            "roberta.encoder.layers.*.mixer.Wqkv",
            (
                "roberta.encoder.layer.*.attention.self.query",
                "roberta.encoder.layer.*.attention.self.key",
                "roberta.encoder.layer.*.attention.self.value",
            ),
        ),
        ("roberta.encoder.layers.*.mixer.out_proj", ("roberta.encoder.layer.*.attention.output.dense",)),
        ("roberta.encoder.layers.*.norm1", ("roberta.encoder.layer.*.attention.output.LayerNorm",)),
        ("roberta.encoder.layers.*.mlp.fc1", ("roberta.encoder.layer.*.intermediate.dense",)),
        ("roberta.encoder.layers.*.mlp.fc2", ("roberta.encoder.layer.*.output.dense",)),
        ("roberta.encoder.layers.*.norm2", ("roberta.encoder.layer.*.output.LayerNorm",)),
    ),
    untyped=True,
)
"""jina-reranker-v2's, made for flash attention: XLM-RoBERTa's weights, query, key and value of a layer in one."""
