"""Loads a checkpoint's files into a network: everything is checked against the files before anything is allocated."""

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from reranker_worker import collecting
from reranker_worker.device import cpu_flags, free_bytes, has_bf16_units
from reranker_worker.errors import CheckpointError
from reranker_worker.models import (
    decoder_network,
    int8,
    lora,
    parameters,
    prepacked,
    rotary,
    sequence_classifiers,
    weights,
)
from reranker_worker.models.architectures import check_model_type, family_of
from reranker_worker.models.encoder import EncoderConfig
from reranker_worker.models.families import Family
from reranker_worker.models.parameters import invalid
from reranker_worker.models.weights import Stored

_MOST_LAYERS = 1024
_HEAD = "lm_head.weight"
# Tables that the embeddings read only where no positions or types are given; every packed batch gives both.
_UNREAD_BUFFERS = frozenset({"position_ids", "token_type_ids"})


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model in memory, not yet tried: its modules, and what a batch for it must respect."""

    module: nn.Module
    family: Family
    device: torch.device
    dtype: torch.dtype
    vocab_size: int
    pad_token_id: int
    positions: int
    """The longest pair that its position table holds."""
    token_types: int | None
    """How many types its table of them holds, where its family reads types and it has such a table."""
    laid_out: bool
    """Whether its weights are laid out for the processor's own products."""


def load_network(
    folder: Path, dtype: torch.dtype, device: torch.device, *, in_int8: bool = False, spare_tokens: int = 0
) -> Network:
    """Load a checkpoint onto the device; raises CheckpointError with the reason why it can't be served.

    in_int8: whether linear layers are computed in int8. Beside the weights, a batch of `spare_tokens` must find room.
    """
    config = weights.read_json(folder / "config.json", invalid)
    family = family_of(config)
    tensors = parameters.read_headers(folder)
    check_model_type(config, family, tensors)
    _check_dimensions(config, family, tensors)
    module = _empty_module(config, family)
    shared = frozenset[str]() if family.prompt is None else _shared_tensors(module, tensors)
    names = parameters.match(module, family, tensors, shared, remote_code="auto_map" in config)
    _check_memory(names, dtype, device, spare_tokens * _scratch_numbers(config))
    module.load_state_dict(parameters.read(names, dtype, device, family.in_fp32), strict=not shared, assign=True)
    if shared:
        decoder_network.share_head(module)
    _fill_buffers(module, device)
    module.requires_grad_(requires_grad=False).eval()
    # Heads see one row a pair, and of a decoder's few rows of the weight are read.
    if in_int8:
        laid_out = int8.quantize(module, but=family.head)
    elif laid_out := prepacked.pays(dtype, device, bf16_units=has_bf16_units(cpu_flags())):
        prepacked.prepack(module, but=family.head)
    pad = _integer(config, "pad_token_id", 1 if family.positions_follow_padding else 0, least=0)
    first = pad + 1 if family.positions_follow_padding else 0
    return Network(
        module=module,
        family=family,
        device=device,
        dtype=dtype,
        vocab_size=_integer(config, "vocab_size"),
        pad_token_id=pad,
        positions=_integer(config, "max_position_embeddings") - first,
        token_types=_token_types(names) if family.token_types else None,
        laid_out=laid_out,
    )


def _integer(config: Mapping[str, object], key: str, default: int | None = None, *, least: int = 1) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or not least <= value < 2**31:
        raise invalid(f"config.json: {key} is {str(value)[:100]}; accepted: a whole number from {least}")
    return value


def _check_dimensions(config: Mapping[str, object], family: Family, tensors: Mapping[str, weights.TensorInfo]) -> None:
    """Refuse a configuration that describes more than the files hold, before modules are made by it."""
    hidden, inner = _integer(config, "hidden_size"), _integer(config, "intermediate_size")
    layers, heads = _integer(config, "num_hidden_layers"), _integer(config, "num_attention_heads")
    vocabulary, positions = _integer(config, "vocab_size"), _integer(config, "max_position_embeddings")
    if layers > _MOST_LAYERS or (family.prompt is None and hidden % heads):
        raise invalid(f"config.json: {layers} layers of {hidden} with {heads} heads; accepted: whole heads")
    if family.prompt is None:
        embedded = vocabulary + (positions if family.position_table else 0)
        least = layers * (4 * hidden**2 + 2 * hidden * inner) + _integer(config, "embedding_size", hidden) * embedded
    else:
        # A decoder's attention may be narrower than its hidden size, and its positions need no table.
        least = layers * 3 * hidden * inner + hidden * vocabulary
    held = sum(info.elements for info in tensors.values())
    if least > held:
        raise invalid(f"config.json describes at least {least} weights, the files hold {held}")


def _empty_module(config: Mapping[str, object], family: Family) -> nn.Module:
    """Return the network on the meta device: shapes without memory."""
    if family.is_own:
        try:
            settings = EncoderConfig.from_dict(config)
        except (ValueError, TypeError) as error:
            raise invalid(f"config.json isn't one of {family.architecture}: {error}") from error
        with torch.device("meta"):
            module: nn.Module = getattr(sequence_classifiers, family.architecture)(settings)
    else:
        with collecting.uncollected():
            borrowed = importlib.import_module("reranker_worker.models.borrowed")
        module = borrowed.empty_module(config, family)
    lora.adapt_linears(module)
    return module


def _shared_tensors(module: nn.Module, tensors: Mapping[str, weights.TensorInfo]) -> frozenset[str]:
    """Return what the files may leave out, since the network reads another tensor in its place.

    A file that holds an output head all the same is believed, as transformers does.
    """
    if not getattr(module.config, "tie_word_embeddings", False) or _HEAD in tensors:
        return frozenset()
    return frozenset({_HEAD}) & module.state_dict().keys()


def _token_types(names: Mapping[str, Stored]) -> int | None:
    """Return the rows of the types' table; DeBERTa may have none."""
    tables = (stored for name, stored in names.items() if name.endswith(".token_type_embeddings.weight"))
    return next((table.shape[0] for table in tables), None)


def _check_memory(names: Mapping[str, Stored], dtype: torch.dtype, device: torch.device, spare_numbers: int) -> None:
    needed = sum(math.prod(stored.shape) for stored in names.values()) * dtype.itemsize
    spare = spare_numbers * dtype.itemsize
    free = free_bytes(device)
    if needed + spare > free:
        beside = f" and a batch {spare}" if spare else ""
        raise CheckpointError("OutOfMemory", f"the weights need {needed} bytes{beside}, {device} has {free} free")


def _scratch_numbers(config: Mapping[str, object]) -> int:
    """Return how many numbers a batch holds per token at most: states in all their roles, and the MLP's inside."""
    # Of 60 MiB that this makes for 2,048 tokens of width 384 and 768 inside, 50 were seen to be used.
    return 12 * _integer(config, "hidden_size") + 4 * _integer(config, "intermediate_size")


def _fill_buffers(module: nn.Module, device: torch.device) -> None:
    """Compute the tables that no file holds, and drop those that are never read."""
    for child in module.modules():
        for name, buffer in list(child.named_buffers(recurse=False)):
            if buffer.is_meta and name in _UNREAD_BUFFERS:
                setattr(child, name, None)
    rotary.fill(module, device)
    decoder_network.fill_scale(module, device)
