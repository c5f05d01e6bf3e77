"""The model families that are built in, one table row each. No torch: classes are named, not imported."""

from collections.abc import Container
from dataclasses import dataclass, replace

from reranker_worker.models.layouts import JINA_XLM_ROBERTA, Layout
from reranker_worker.models.prompts import BGE_RERANKER_V2_GEMMA, MXBAI_RERANK_V2, QWEN3_RERANKER, Prompt

OWN = "reranker_worker.models.sequence_classifiers"
_LANGUAGE_MODEL_HEAD = ("lm_head",)


@dataclass(frozen=True, slots=True)
class Family:
    """How to build one architecture and how to score with it.

    `head` names the modules that turn the scored tokens' states, [pairs, 1, hidden], into logits, [pairs, 1], in order.
    """

    architecture: str
    model_type: str
    module: str
    config_class: str
    backbone: str
    head: tuple[str, ...]
    token_types: bool
    """Whether the document's tokens carry type 1; RoBERTa's children are trained with zeros throughout."""
    positions_follow_padding: bool
    """Whether positions start behind the padding token's id and padding tokens in a text don't count, as in fairseq."""
    sentencepiece: bool
    """Whether whitespace only separates words, at a text's ends too: some tokenizer.json files forget that."""
    headless: tuple[str, ...]
    """Architectures of the same weights without the head."""
    harmless: tuple[str, ...]
    """Prefixes of tensors that checkpoints carry and scoring doesn't need."""
    position_table: bool = False
    """Whether positions are a table in the files; elsewhere they are rotary or relative."""
    pooling: str | None = None
    """The member of config.json that may say `mean`; everywhere else the head reads the first token."""
    required: tuple[tuple[str, tuple[object, ...]], ...] = ()
    """Further members of config.json with the values that are built in."""
    layouts: tuple[Layout, ...] = ()
    """Other names under which the same network's checkpoints and adapters are published."""
    prompt: Prompt | None = None
    """What a decoder is asked; its score is the logit of the answer. None for an encoder, which has a scoring head.

    A reranker's config.json is that of the plain language model it was made from, so the architecture decides: each
    of the three belongs to one published reranker family. A fine-tune of it that was trained with another prompt is
    scored with this one; the tokenizer must know the prompt's control tokens and answers, or the model is refused.
    """

    @property
    def in_fp32(self) -> tuple[str, ...]:
        """Return the modules whose weights stay in fp32: rounded to half precision many documents' scores are equal.

        Of a decoder's large head the few rows that are read are widened instead.
        """
        return self.head if self.prompt is None else ()

    @property
    def is_own(self) -> bool:
        """Tell whether its network is written out here, and computes in its last layer the scored tokens alone."""
        return self.module == OWN

    @property
    def reads_answers(self) -> bool:
        """Tell whether its head is a language model's, with a row for each token, the answers' among them."""
        return self.head == _LANGUAGE_MODEL_HEAD

    def layout(self, tensors: Container[str]) -> Layout | None:
        """Return the layout of files that hold tensors of these names; None for the network's own."""
        return next((layout for layout in self.layouts if layout.sign in tensors), None)


FAMILIES = {
    family.architecture: family
    for family in (
        Family(
            architecture="BertForSequenceClassification",
            model_type="bert",
            module=OWN,
            config_class="EncoderConfig",
            backbone="bert",
            head=("bert.pooler", "classifier"),
            token_types=True,
            positions_follow_padding=False,
            sentencepiece=False,
            headless=("BertModel", "BertForMaskedLM", "BertForPreTraining"),
            harmless=("bert.embeddings.position_ids", "cls."),
            position_table=True,
        ),
        Family(
            architecture="ElectraForSequenceClassification",
            model_type="electra",
            module=OWN,
            config_class="EncoderConfig",
            backbone="electra",
            head=("classifier",),
            token_types=True,
            positions_follow_padding=False,
            sentencepiece=False,
            headless=("ElectraModel", "ElectraForMaskedLM", "ElectraForPreTraining"),
            harmless=("electra.embeddings.position_ids", "discriminator_predictions.", "generator_"),
            position_table=True,
        ),
        Family(
            architecture="RobertaForSequenceClassification",
            model_type="roberta",
            module=OWN,
            config_class="EncoderConfig",
            backbone="roberta",
            head=("classifier",),
            token_types=False,
            positions_follow_padding=True,
            sentencepiece=False,
            headless=("RobertaModel", "RobertaForMaskedLM"),
            harmless=("roberta.embeddings.position_ids", "roberta.pooler.", "lm_head."),
            position_table=True,
        ),
        Family(
            architecture="XLMRobertaForSequenceClassification",
            model_type="xlm-roberta",
            module=OWN,
            config_class="EncoderConfig",
            backbone="roberta",
            head=("classifier",),
            token_types=False,
            positions_follow_padding=True,
            sentencepiece=True,
            headless=("XLMRobertaModel", "XLMRobertaForMaskedLM"),
            harmless=("roberta.embeddings.position_ids", "roberta.pooler.", "lm_head."),
            position_table=True,
            layouts=(JINA_XLM_ROBERTA,),
        ),
        Family(
            architecture="ModernBertForSequenceClassification",
            model_type="modernbert",
            module="transformers.models.modernbert",
            config_class="ModernBertConfig",
            backbone="model",
            head=("head", "classifier"),
            token_types=False,
            positions_follow_padding=False,
            sentencepiece=False,
            headless=("ModernBertModel", "ModernBertForMaskedLM"),
            harmless=("decoder.",),
            pooling="classifier_pooling",
        ),
        Family(
            architecture="DebertaV2ForSequenceClassification",
            model_type="deberta-v2",
            module="reranker_worker.models.deberta",
            config_class="DebertaV2Config",
            backbone="deberta",
            head=("pooler", "classifier"),
            token_types=True,
            positions_follow_padding=False,
            # Its tokenizer.json strips a text's ends itself.
            sentencepiece=False,
            headless=("DebertaV2Model", "DebertaV2ForMaskedLM"),
            harmless=("deberta.embeddings.position_", "lm_predictions.", "mask_predictions."),
            required=(("relative_attention", (True,)), ("conv_kernel_size", (None, 0))),
        ),
        Family(
            architecture="Qwen3ForCausalLM",
            model_type="qwen3",
            module="transformers.models.qwen3",
            config_class="Qwen3Config",
            backbone="model",
            head=_LANGUAGE_MODEL_HEAD,
            token_types=False,
            positions_follow_padding=False,
            sentencepiece=False,
            headless=("Qwen3Model",),
            harmless=(),
            prompt=QWEN3_RERANKER,
        ),
        Family(
            architecture="Qwen2ForCausalLM",
            model_type="qwen2",
            module="transformers.models.qwen2",
            config_class="Qwen2Config",
            backbone="model",
            head=_LANGUAGE_MODEL_HEAD,
            token_types=False,
            positions_follow_padding=False,
            sentencepiece=False,
            headless=("Qwen2Model",),
            harmless=(),
            prompt=MXBAI_RERANK_V2,
        ),
        Family(
            architecture="GemmaForCausalLM",
            model_type="gemma",
            module="transformers.models.gemma",
            config_class="GemmaConfig",
            backbone="model",
            head=_LANGUAGE_MODEL_HEAD,
            token_types=False,
            positions_follow_padding=False,
            sentencepiece=False,
            headless=("GemmaModel",),
            harmless=(),
            prompt=BGE_RERANKER_V2_GEMMA,
        ),
    )
}
# Decoders as vLLM and Sentence Transformers convert them: asked the same, and of a head for scoring the one row is the
# positive answer's less the negative one's.
FAMILIES |= {
    family.architecture: family
    for family in [
        replace(
            decoder,
            architecture=decoder.architecture.replace("ForCausalLM", "ForSequenceClassification"),
            head=("score",),
            headless=(),
        )
        for decoder in FAMILIES.values()
        if decoder.prompt is not None
    ]
}
HEADLESS = {name: family for family in FAMILIES.values() for name in family.headless}
