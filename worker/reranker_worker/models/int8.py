"""Linear layers in int8 on CPUs: bytes for weights and for what they multiply, exact products of them by oneDNN.

A weight's scale is its output's and an input's is its token's, found as it is computed, so nothing is calibrated.
"""

from collections.abc import Iterable
from typing import Self

import structlog
import torch
from torch import nn
from torch.nn import functional

from reranker_worker.device import cpu_flags, has_int8_units
from reranker_worker.kernels.int8_rows import Int8Rows, Product, from_product, gelu_to_int8, to_int8
from reranker_worker.models.lora import AdaptedLinear, adapted_rows
from reranker_worker.models.prepacked import FULL_ROWS

_log = structlog.get_logger("engine")

_LARGEST = 127
"""Of a weight's bytes, either side of 0."""


class Int8Linear(AdaptedLinear):
    """A linear layer whose product is computed in int8; adapters are added to it in the model's precision.

    `weight` has the shape and the precision alone, on the meta device.
    """

    weights: torch.Tensor
    """int8 [out, in], or laid out for oneDNN: [in, out]."""
    scales: torch.Tensor
    """float32 [out]: a weight is its byte times its output's scale."""
    sums: torch.Tensor
    """float32 [out], of each output's weights."""
    zero_points: torch.Tensor
    """int64 [out]: zeros, which oneDNN asks for."""

    @classmethod
    def of(cls, linear: AdaptedLinear, *, laid_out: bool) -> Self:
        """Return the layer with each weight rounded to the nearest of 255 steps of its output."""
        new = cls(linear.in_features, linear.out_features, bias=False, device="meta", dtype=linear.weight.dtype)
        new.path, new.bias = linear.path, linear.bias
        numbers = linear.weight.detach().float()
        largest = numbers.abs().amax(1, keepdim=True)
        weights = (numbers * torch.where(largest > 0, _LARGEST / largest, 0)).round().to(torch.int8)
        new.weights = (
            torch.ops.onednn.qlinear_prepack(weights, [FULL_ROWS, linear.in_features]) if laid_out else weights
        )
        new.scales = (largest / _LARGEST).flatten()
        new.sums = weights.sum(1) * new.scales
        new.zero_points = torch.zeros(linear.out_features, dtype=torch.int64)
        return new

    def forward(self, input: torch.Tensor | Int8Rows) -> torch.Tensor:  # noqa: A002 - nn.Linear's name for it
        """Return the layer's output; rows that come in int8 are those of no adapter."""
        if isinstance(input, Int8Rows):
            return from_product(self._multiplied(input))
        return super().forward(input)

    def prepared(self, input: torch.Tensor) -> torch.Tensor | Int8Rows:  # noqa: A002
        """Return the input in int8 where no adapter reads it."""
        return input if adapted_rows.get() else to_int8(input)

    def with_gelu(self, input: torch.Tensor, approximate: str) -> torch.Tensor | Int8Rows:  # noqa: A002
        """Return GELU of the layer's output, in int8 where no adapter reads it."""
        if approximate != "none" or adapted_rows.get():
            return functional.gelu(self(input), approximate=approximate)
        return gelu_to_int8(self._multiplied(to_int8(input)))

    def numbers(self) -> torch.Tensor:
        """Return the weights that these stand for in fp32, [out, in]."""
        weights = self.weights.to_dense().T if self.weights.is_mkldnn else self.weights
        return weights * self.scales.unsqueeze(1)

    def in_numbers(self) -> AdaptedLinear:
        """Return a layer in fp32 with the weights that these stand for."""
        new = AdaptedLinear(self.in_features, self.out_features, bias=False, device="meta")
        new.path = self.path
        new.weight = nn.Parameter(self.numbers(), requires_grad=False)
        new.bias = None if self.bias is None else nn.Parameter(self.bias.float(), requires_grad=False)
        return new

    def _product(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        return self.forward(to_int8(input))

    def _multiplied(self, rows: Int8Rows) -> Product:
        dtype = self.weight.dtype
        if self.weights.is_mkldnn:
            of_rows, of_weights, of_output = (1.0, rows.zero_point), (self.scales, self.zero_points), (1.0, 0, dtype)
            of_bytes = torch.ops.onednn.qlinear_pointwise(
                rows.bytes, *of_rows, self.weights, *of_weights, None, *of_output, "none", [], ""
            )
        else:
            # Whole numbers in fp32: the same to its 24 bits, about as slow as a layer in it.
            numbers = functional.linear(rows.bytes.float() - rows.zero_point, self.weights.float())
            of_bytes = (numbers * self.scales).to(dtype)
        return Product(of_bytes, rows, self.sums, self.bias)


def quantize(module: nn.Module, but: Iterable[str] = ()) -> bool:
    """Turn all linear layers into int8 ones in place, except those under the paths `but`; tell if they are laid out."""
    laid_out = has_int8_units(cpu_flags())
    if not laid_out:
        _log.warning("int8 is no faster than fp32 here: the processor has no units for it (VNNI, AMX)")
    kept = tuple(f"{path}." for path in but)
    for path, child in list(module.named_modules()):
        if isinstance(child, AdaptedLinear) and not f"{path}.".startswith(kept):
            module.set_submodule(path, Int8Linear.of(child, laid_out=laid_out))
    return laid_out
