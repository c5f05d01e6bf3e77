"""The linear layer that adds each row's own LoRA adapter, so that one batch mixes adapters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from reranker_worker.kernels.int8_rows import Int8Rows
from reranker_worker.models import prepacked


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """What an adapter adds to a linear layer: down [rank, in], up [out, rank], the scale multiplied into `up`."""

    down: torch.Tensor
    up: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """A linear layer that an adapter brings whole (PEFT's modules_to_save): weight [out, in], bias [out]."""

    weight: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LoraWeights:
    """An adapter's immutable tensors by the path of the module that they change."""

    changes: Mapping[str, LowRank | Replacement]


AdaptedRows = Sequence[tuple[slice, LoraWeights]]

# The rows of the running forward that have an adapter: tokens in the backbone, pairs in the head. A context variable,
# since transformers' modules pass nothing of ours down to a linear layer, and a probe may run beside the device thread.
adapted_rows: ContextVar[AdaptedRows] = ContextVar("adapted_rows", default=())


@contextmanager
def adapting(rows: AdaptedRows) -> Iterator[None]:
    """Let linear layers add adapters to these rows of their input."""
    token = adapted_rows.set(rows)
    try:
        yield
    finally:
        adapted_rows.reset(token)


class AdaptedLinear(nn.Linear):
    """A linear layer whose own weights no adapter ever touches."""

    path: str = ""

    @property
    def is_adapted(self) -> bool:
        """Tell whether an adapter of the running forward changes this layer."""
        return any(self.path in weights.changes for _, weights in adapted_rows.get())

    def numbers(self) -> torch.Tensor:
        """Return the weights in fp32, [out, in], however they are laid out."""
        return prepacked.plain(self.weight).float()

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - nn.Linear's name for it
        """Return the layer's output; rows with an adapter get that adapter's change."""
        output = self._product(input)
        for rows, weights in adapted_rows.get():
            change = weights.changes.get(self.path)
            if change is not None:
                apply_change(change, input.flatten(0, -2)[rows], output.flatten(0, -2)[rows])
        return output

    def prepared(self, input: torch.Tensor) -> torch.Tensor | Int8Rows:  # noqa: A002
        """Return the input in the form that this layer multiplies, for several layers of the same input."""
        return input

    def with_gelu(self, input: torch.Tensor, approximate: str) -> torch.Tensor | Int8Rows:  # noqa: A002
        """Return GELU of the layer's output, computed within the product where no adapter comes between the two."""
        if self.is_adapted or not self.weight.is_mkldnn:
            return functional.gelu(self(input), approximate=approximate)
        return prepacked.product(input, self.weight, self.bias, "gelu" if approximate == "none" else "gelu-tanh")

    def _product(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        if self.weight.is_mkldnn:
            return prepacked.product(input, self.weight, self.bias)
        return super().forward(input)


def without_effect(weights: LoraWeights) -> LoraWeights:
    """Return an adapter that adds nothing where this one adds, so that a model takes the same steps with it.

    It replaces no layer, and takes no memory of its own.
    """
    low_rank = {path: change for path, change in weights.changes.items() if isinstance(change, LowRank)}
    nothing = {path: LowRank(each.down.new_zeros(()).expand_as(each.down), each.up) for path, each in low_rank.items()}
    return LoraWeights(nothing)


def adapt_linears(model: nn.Module) -> None:
    """Swap every linear layer of a model on the meta device for one that takes adapters, and tell each its path."""
    for path, module in list(model.named_modules()):
        if isinstance(module, AdaptedLinear):
            module.path = path
        elif type(module) is nn.Linear:
            linear = AdaptedLinear(module.in_features, module.out_features, bias=module.bias is not None, device="meta")
            linear.path = path
            model.set_submodule(path, linear)


def apply_change(change: LowRank | Replacement, rows_in: torch.Tensor, rows_out: torch.Tensor) -> None:
    """Change a linear layer's output, [rows, out], in place; `rows_in` is the layer's input, [rows, in]."""
    dtype = rows_in.dtype  # fp32 where a pair is scored again after its low-precision score wasn't finite
    match change:
        case LowRank(down, up):
            rows_out.addmm_(functional.linear(rows_in, down.to(dtype)), up.to(dtype).T)
        case Replacement(weight, bias):
            rows_out.copy_(functional.linear(rows_in, weight.to(dtype), None if bias is None else bias.to(dtype)))


def split(change: LowRank | Replacement, parts: int) -> list[LowRank | Replacement]:
    """Return the change of each of the layers whose rows lie one behind the other in the changed one."""
    match change:
        case LowRank(down, up):
            return [LowRank(down, rows) for rows in up.chunk(parts)]
        case Replacement(weight, bias):
            biases = [None] * parts if bias is None else bias.chunk(parts)
            return [Replacement(*rows) for rows in zip(weight.chunk(parts), biases, strict=True)]
