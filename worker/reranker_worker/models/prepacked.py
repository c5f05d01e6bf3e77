"""Linear layers on CPUs with units for bf16: weights laid out once for oneDNN's products, GELU computed within them.

In float32, on AVX2, neither is faster than the plain layers (docs/performance.md).
"""

from collections.abc import Iterable

import torch
from torch import nn

FULL_ROWS = 2048
"""As many rows as a full batch has; the layout is chosen for them."""
_FEWEST_ROWS = 32
_ROW_MULTIPLE = 256


def pays(dtype: torch.dtype, device: torch.device, *, bf16_units: bool) -> bool:
    """Tell whether linear layers are faster so; without the units oneDNN refuses bf16, or emulates it."""
    return bf16_units and device.type == "cpu" and dtype is torch.bfloat16


def filled_up(tokens: int) -> int:
    """Return how many rows a batch of so many tokens should have: powers of two, then multiples of 256.

    oneDNN compiles and keeps a product for each number of rows; so few numbers are soon all there.
    """
    if tokens > _ROW_MULTIPLE:
        return tokens + -tokens % _ROW_MULTIPLE
    return max(_FEWEST_ROWS, 1 << (tokens - 1).bit_length())


def prepack(module: nn.Module, but: Iterable[str] = ()) -> None:
    """Lay out the weights of all linear layers in place, except those under the paths `but`."""
    kept = tuple(f"{path}." for path in but)
    for path, child in module.named_modules():
        if isinstance(child, nn.Linear) and not f"{path}.".startswith(kept):
            packed = torch.ops.mkldnn._reorder_linear_weight(child.weight.detach(), FULL_ROWS)  # noqa: SLF001
            child.weight = nn.Parameter(packed, requires_grad=False)


def product(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, then: str = "none") -> torch.Tensor:  # noqa: A002
    """Multiply by a weight that is laid out: [.., in] → [.., out]; `then` is `none`, `gelu` or `gelu-tanh`."""
    attribute, _, algorithm = then.partition("-")
    output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
        input, weight, bias, attribute, [], algorithm or "none"
    )
    return output


def plain(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as it was before it was laid out."""
    return weight.to_dense() if weight.is_mkldnn else weight
