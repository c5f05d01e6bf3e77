"""The rerankers whose network is written out here: an encoder and the head that was trained with it."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from reranker_worker.models.encoder import Encoder, EncoderConfig


class BertForSequenceClassification(nn.Module):
    """BERT and MiniLM: a pooler within the encoder, and one linear layer."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.bert = Encoder(config)
        self.bert.pooler = Pooler(config)
        self.classifier = nn.Linear(config.hidden_size, 1)


class ElectraForSequenceClassification(nn.Module):
    """Electra: embeddings that may be narrower than the layers, and a head with GELU."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.electra = Encoder(config)
        self.classifier = ClassificationHead(config, functional.gelu)


class RobertaForSequenceClassification(nn.Module):
    """RoBERTa and XLM-RoBERTa: a head with tanh."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.roberta = Encoder(config)
        self.classifier = ClassificationHead(config, torch.tanh)


XLMRobertaForSequenceClassification = RobertaForSequenceClassification


class Pooler(nn.Module):
    """BERT's: a linear layer and tanh."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[pairs, 1, hidden] → [pairs, 1, hidden]."""
        return torch.tanh(self.dense(states))


class ClassificationHead(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: EncoderConfig, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, 1)
        self.activation = activation

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[pairs, 1, hidden] → [pairs, 1, 1]."""
        logits: torch.Tensor = self.out_proj(self.activation(self.dense(states)))
        return logits
