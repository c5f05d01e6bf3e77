"""Loads PEFT's LoRA adapters for a network: the files decide which modules change, the configuration must agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from reranker_worker.device import copied
from reranker_worker.errors import AdapterError
from reranker_worker.models import lora, weights
from reranker_worker.models.adapter_config import AdapterConfig, invalid, read_config
from reranker_worker.models.layouts import Layout
from reranker_worker.models.lora import LoraWeights, LowRank, Replacement

_PREFIX = "base_model.model."
_FILE = "adapter_model.safetensors"


def load_lora(
    folder: Path,
    module: nn.Module,
    *,
    dtype: torch.dtype,
    device: torch.device,
    max_rank: int,
    layouts: Sequence[Layout] = (),
    in_fp32: Sequence[str] = (),
) -> LoraWeights:
    """Load an adapter for the network; raises AdapterError with the reason why it can't be served on it.

    in_fp32: the paths under which the network's own weights are in that precision.
    It may name the modules as the network does, or as one of the `layouts`, with which everything is then checked.
    """
    config = read_config(folder)
    tensors = _header(folder)
    paths = {name: _module_path(name) for name in tensors}
    linears = {path: child for path, child in module.named_modules() if isinstance(child, nn.Linear)}
    layout = _layout(set(paths.values()), linears, layouts)
    if layout is not None:
        linears = _published(layout, linears)
    _check_paths(set(paths.values()), linears)
    for path in sorted(set(paths.values())):
        _check_module(path, linears[path], tensors, config, max_rank)
    _check_complete(config, {path for name, path in paths.items() if _is_lora(name)}, paths, linears)
    loaded = _read(folder / _FILE, tensors)
    changes: dict[str, LowRank | Replacement] = {}
    for path in sorted(set(paths.values())):
        exact = f"{path}.".startswith(tuple(f"{each}." for each in in_fp32))
        change = _change(path, loaded, config, dtype=torch.float32 if exact else dtype, device=device)
        own = (path,) if layout is None else layout.own(path)
        changes |= zip(own, lora.split(change, len(own)), strict=True)
    return LoraWeights(MappingProxyType(changes))


def _header(folder: Path) -> dict[str, weights.TensorInfo]:
    if not (folder / _FILE).is_file():
        if (folder / "adapter_model.bin").is_file():
            raise AdapterError("PickledWeights", f"adapter_model.bin is pickled and is never read; publish {_FILE}")
        raise invalid(f"{_FILE} is missing")
    tensors = weights.read_header(folder / _FILE, invalid)
    for name, info in tensors.items():
        if info.dtype not in weights.FLOATS:
            raise invalid(f"{name[:200]} has type {info.dtype}; accepted: {', '.join(sorted(weights.FLOATS))}")
    return tensors


def _is_lora(name: str) -> bool:
    return name.endswith((".lora_A.weight", ".lora_B.weight"))


def _module_path(name: str) -> str:
    path, _, kind = name.removeprefix(_PREFIX).rpartition(".")
    if name.startswith(_PREFIX) and _is_lora(name):
        return path.rpartition(".")[0]
    if name.startswith(_PREFIX) and kind in {"weight", "bias"} and "lora_" not in name:
        return path
    raise invalid(f"tensor {name[:200]!r} isn't part of a plain LoRA adapter")


def _layout(paths: set[str], linears: Mapping[str, nn.Linear], layouts: Sequence[Layout]) -> Layout | None:
    """Return the layout by whose names the adapter goes, or None for the network's own."""
    unknown = paths - linears.keys()
    return next((layout for layout in layouts if unknown & _published(layout, linears).keys()), None)


def _published(layout: Layout, linears: Mapping[str, nn.Linear]) -> dict[str, nn.Linear]:
    """Return the linear layers that the published network has, without weights."""
    published = {}
    for path in dict.fromkeys(map(layout.published, linears)):
        held = [linears[own] for own in layout.own(path)]
        out = sum(linear.out_features for linear in held)
        published[path] = nn.Linear(held[0].in_features, out, bias=held[0].bias is not None, device="meta")
    return published


def _check_paths(paths: set[str], linears: Mapping[str, nn.Linear]) -> None:
    unknown = sorted(paths - linears.keys())
    if len(unknown) == len(paths):
        raise AdapterError(
            "AdapterMatchesNothing",
            f"none of the adapter's {len(paths)} modules is in the model; the first is {(unknown or [''])[0][:200]!r}",
        )
    if unknown:
        raise AdapterError("AdapterBaseMismatch", f"the model has no linear layer {unknown[0][:200]!r}")


def _check_module(
    path: str,
    linear: nn.Linear,
    tensors: Mapping[str, weights.TensorInfo],
    config: AdapterConfig,
    max_rank: int,
) -> None:
    """Check one module's tensors: all there, and of the shapes that the model and the configuration want."""
    full = _PREFIX + path
    parts = {name for name in tensors if name.startswith(f"{full}.") and _module_path(name) == path}
    low_rank, whole = {f"{full}.lora_A.weight", f"{full}.lora_B.weight"}, {f"{full}.weight"}
    out, width = linear.weight.shape
    shapes: dict[str, tuple[float, ...]]
    if parts == low_rank:
        rank = config.rank(path)
        if rank > max_rank:
            raise AdapterError("AdapterRankTooHigh", f"{path} has rank {rank:g}; accepted: at most {max_rank}")
        shapes = {f"{full}.lora_A.weight": (rank, width), f"{full}.lora_B.weight": (out, rank)}
    elif parts == (whole | {f"{full}.bias"} if linear.bias is not None else whole):
        if not config.saves(path):
            raise invalid(f"the adapter brings {path} whole, which adapter_config.json's modules_to_save doesn't name")
        shapes = {f"{full}.weight": (out, width), f"{full}.bias": (out,)}
    else:
        raise invalid(f"{path} should have lora_A and lora_B, or its weight and bias, and has {len(parts)} tensors")
    for name in sorted(parts):
        if tensors[name].shape != shapes[name]:
            raise AdapterError(
                "AdapterBaseMismatch",
                f"{name} has shape {list(tensors[name].shape)}; on this model it is {[int(n) for n in shapes[name]]}",
            )


def _check_complete(
    config: AdapterConfig, adapted: set[str], paths: Mapping[str, str], linears: Mapping[str, nn.Linear]
) -> None:
    """Refuse an adapter whose configuration promises modules that its file lacks: those would do nothing in silence."""
    if not adapted:
        raise AdapterError("AdapterMatchesNothing", "the adapter holds no low-rank tensors")
    saved, targets = {path for path in linears if config.saves(path)}, config.targets(linears)
    stray = sorted(adapted - saved - targets) if targets is not None else []
    if stray:
        raise invalid(f"the adapter changes {stray[0]}, which adapter_config.json's target_modules doesn't name")
    lacking = sorted((saved | (targets or set())) - set(paths.values()))
    if lacking:
        raise invalid(f"adapter_config.json names {lacking[0]}, for which the file has no tensors")


def _read(path: Path, tensors: Mapping[str, weights.TensorInfo]) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            loaded = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in tensors}
    except (SafetensorError, OSError) as error:
        raise invalid(f"{path.name} can't be read: {error}") from error
    for name, tensor in loaded.items():
        if not tensor.isfinite().all():
            raise AdapterError("NonFiniteScores", f"{name} holds a value that isn't finite")
    return loaded


def _change(
    path: str,
    loaded: Mapping[str, torch.Tensor],
    config: AdapterConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> LowRank | Replacement:
    # Copied without waiting for a GPU: batches are computed meanwhile, in the same order of work.
    full = _PREFIX + path
    if f"{full}.lora_A.weight" not in loaded:
        bias = loaded.get(f"{full}.bias")
        return Replacement(
            weight=copied(loaded[f"{full}.weight"].to(dtype), device),
            bias=None if bias is None else copied(bias.to(dtype), device),
        )
    down, up = loaded[f"{full}.lora_A.weight"], loaded[f"{full}.lora_B.weight"]
    scale = config.scale(path, down.shape[0])
    return LowRank(down=copied(down.to(dtype), device), up=copied((up * scale).to(dtype), device))
