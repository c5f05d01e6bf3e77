"""Makes the networks that are transformers' own modules, with packed attention in them.

Imported only for a family that needs it: these imports take longer than everything else at a worker's start.
"""

import importlib
from collections.abc import Mapping

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from reranker_worker.collecting import uncollected
from reranker_worker.models import attention, causal_attention, rotary
from reranker_worker.models.families import Family
from reranker_worker.models.parameters import invalid


def empty_module(config: Mapping[str, object], family: Family) -> nn.Module:
    """Return the network on the meta device: shapes without memory."""
    with uncollected():
        attention.register()
        causal_attention.register()
        package = importlib.import_module(family.module)
    implementation = attention.PACKED if family.prompt is None else causal_attention.PACKED_CAUSAL
    # What steers transformers' own loading has no place here.
    plain = {key: value for key, value in config.items() if key != "auto_map" and not key.startswith("_")}
    try:
        settings = getattr(package, family.config_class).from_dict(plain, attn_implementation=implementation)
        with torch.device("meta"):
            module: nn.Module = getattr(package, family.architecture)(settings)
    except (ValueError, TypeError, KeyError, AttributeError, StrictDataclassError) as error:
        raise invalid(f"config.json isn't one of {family.architecture}: {error}") from error
    rotary.check(settings)
    return module
