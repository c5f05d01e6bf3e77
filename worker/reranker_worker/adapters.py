"""Loads PEFT's LoRA adapters for a network: the files decide which modules change, the configuration must agree."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from reranker_worker import lora, weights
from reranker_worker.errors import AdapterError
from reranker_worker.layouts import Layout
from reranker_worker.lora import LoraWeights, LowRank, Replacement

_PREFIX = "base_model.model."
_FILE = "adapter_model.safetensors"
# Members of adapter_config.json that change what the tensors mean, each with the values that mean plain LoRA.
_PLAIN: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": (None, "none"),
    "use_dora": (None, False),
    "lora_bias": (None, False),
    "use_qalora": (None, False),
    "use_bdlora": (None, False, {}),
    "fan_in_fan_out": (None, False),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None, {}),
    "velora_config": (None, {}),
    "monteclora_config": (None, {}),
    "kasa_config": (None, {}),
}
# Ways to begin a training that take what the adapter begins with out of the model's weights: PEFT does so again when it
# loads such an adapter, unless it was converted to one of the whole model when it was saved.
_OF_OTHER_WEIGHTS = ("pissa", "corda", "olora", "loftq", "lora_ga")
# A pattern's key comes from the adapter's author and would be run as a regular expression: names, dots, and at most
# two wildcards, so that none can take exponential time.
_SAFE_PATTERN = re.compile(r"\^?(?:[\w\\.]*(?:\.\*)?){1,3}\$?")


def load_lora(
    folder: Path,
    module: nn.Module,
    *,
    dtype: torch.dtype,
    device: torch.device,
    max_rank: int,
    layouts: Sequence[Layout] = (),
) -> LoraWeights:
    """Load an adapter for the network; raises AdapterError with the reason why it can't be served on it.

    It may name the modules as the network does, or as one of the `layouts`, with which everything is then checked.
    """
    config = weights.read_json(folder / "adapter_config.json", _invalid)
    _check_plain(config)
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
        change = _change(path, loaded, config, dtype=dtype, device=device)
        own = (path,) if layout is None else layout.own(path)
        changes |= zip(own, lora.split(change, len(own)), strict=True)
    ranks = [change.down.shape[0] for change in changes.values() if isinstance(change, LowRank)]
    return LoraWeights(changes=MappingProxyType(changes), rank=max(ranks))


def _invalid(message: str) -> AdapterError:
    return AdapterError("InvalidAdapter", message)


def _check_plain(config: Mapping[str, object]) -> None:
    for key, accepted in _PLAIN.items():
        if config.get(key) not in accepted:
            raise _invalid(
                f"adapter_config.json: {key} {str(config.get(key))[:100]!r} isn't supported; "
                f"accepted: {', '.join(repr(value) for value in accepted)}"
            )
    began = config.get("init_lora_weights")
    if isinstance(began, str) and began.lower().startswith(_OF_OTHER_WEIGHTS):
        raise _invalid(
            f"adapter_config.json: init_lora_weights {began[:100]!r} made it an adapter of other weights than the "
            "model's; accepted: one that PEFT has converted to plain LoRA, by path_initial_model_for_weight_conversion "
            "of save_pretrained"
        )


def _header(folder: Path) -> dict[str, weights.TensorInfo]:
    if not (folder / _FILE).is_file():
        if (folder / "adapter_model.bin").is_file():
            raise AdapterError("PickledWeights", f"adapter_model.bin is pickled and is never read; publish {_FILE}")
        raise _invalid(f"{_FILE} is missing")
    tensors = weights.read_header(folder / _FILE, _invalid)
    for name, info in tensors.items():
        if info.dtype not in weights.FLOATS:
            raise _invalid(f"{name[:200]} has type {info.dtype}; accepted: {', '.join(sorted(weights.FLOATS))}")
    return tensors


def _is_lora(name: str) -> bool:
    return name.endswith((".lora_A.weight", ".lora_B.weight"))


def _module_path(name: str) -> str:
    path, _, kind = name.removeprefix(_PREFIX).rpartition(".")
    if name.startswith(_PREFIX) and _is_lora(name):
        return path.rpartition(".")[0]
    if name.startswith(_PREFIX) and kind in {"weight", "bias"} and "lora_" not in name:
        return path
    raise _invalid(f"tensor {name[:200]!r} isn't part of a plain LoRA adapter")


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
    config: Mapping[str, object],
    max_rank: int,
) -> None:
    """Check one module's tensors: all there, and of the shapes that the model and the configuration want."""
    full = _PREFIX + path
    parts = {name for name in tensors if name.startswith(f"{full}.") and _module_path(name) == path}
    low_rank, whole = {f"{full}.lora_A.weight", f"{full}.lora_B.weight"}, {f"{full}.weight"}
    out, width = linear.weight.shape
    shapes: dict[str, tuple[float, ...]]
    if parts == low_rank:
        rank = _pattern_value(config, "rank_pattern", path, _rank(config.get("r")))
        if rank > max_rank:
            raise AdapterError("AdapterRankTooHigh", f"{path} has rank {rank:g}; accepted: at most {max_rank}")
        shapes = {f"{full}.lora_A.weight": (rank, width), f"{full}.lora_B.weight": (out, rank)}
    elif parts == (whole | {f"{full}.bias"} if linear.bias is not None else whole):
        _check_saved(config, path)
        shapes = {f"{full}.weight": (out, width), f"{full}.bias": (out,)}
    else:
        raise _invalid(f"{path} should have lora_A and lora_B, or its weight and bias, and has {len(parts)} tensors")
    for name in sorted(parts):
        if tensors[name].shape != shapes[name]:
            raise AdapterError(
                "AdapterBaseMismatch",
                f"{name} has shape {list(tensors[name].shape)}; on this model it is {[int(n) for n in shapes[name]]}",
            )


def _rank(value: object) -> float:
    if not isinstance(value, int) or not 1 <= value < 2**31:
        raise _invalid(f"adapter_config.json: r is {str(value)[:100]}; accepted: a whole number from 1")
    return value


def _check_saved(config: Mapping[str, object], path: str) -> None:
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not any(_covers(str(name), path) for name in saved):
        raise _invalid(f"the adapter brings {path} whole, which adapter_config.json's modules_to_save doesn't name")


def _covers(name: str, path: str) -> bool:
    """Whether a module of that name is the one at the path or one around it."""
    return f".{name}." in f".{path}."


def _check_complete(
    config: Mapping[str, object], adapted: set[str], paths: Mapping[str, str], linears: Mapping[str, nn.Linear]
) -> None:
    """Refuse an adapter whose configuration promises modules that its file lacks: those would do nothing in silence."""
    targets, saved = config.get("target_modules"), config.get("modules_to_save") or []
    if not adapted:
        raise AdapterError("AdapterMatchesNothing", "the adapter holds no low-rank tensors")
    promised: set[str] = set()
    if isinstance(saved, list):
        promised |= {path for path in linears if any(_covers(str(name), path) for name in saved)}
    narrowed = config.get("layers_to_transform") is not None or config.get("exclude_modules")
    if isinstance(targets, list) and not narrowed:
        promised |= {path for path in linears if any(f".{path}".endswith(f".{name}") for name in targets)}
        stray = sorted(path for path in adapted if path not in promised)
        if stray:
            raise _invalid(f"the adapter changes {stray[0]}, which adapter_config.json's target_modules doesn't name")
    lacking = sorted(promised - set(paths.values()))
    if lacking:
        raise _invalid(f"adapter_config.json names {lacking[0]}, for which the file has no tensors")


def _read(path: Path, tensors: Mapping[str, weights.TensorInfo]) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            loaded = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in tensors}
    except (SafetensorError, OSError) as error:
        raise _invalid(f"{path.name} can't be read: {error}") from error
    for name, tensor in loaded.items():
        if not tensor.isfinite().all():
            raise AdapterError("NonFiniteScores", f"{name} holds a value that isn't finite")
    return loaded


def _change(
    path: str,
    loaded: Mapping[str, torch.Tensor],
    config: Mapping[str, object],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> LowRank | Replacement:
    full = _PREFIX + path
    if f"{full}.lora_A.weight" not in loaded:
        bias = loaded.get(f"{full}.bias")
        return Replacement(
            weight=loaded[f"{full}.weight"].to(device, dtype), bias=None if bias is None else bias.to(device, dtype)
        )
    down, up = loaded[f"{full}.lora_A.weight"], loaded[f"{full}.lora_B.weight"]
    alpha = _pattern_value(config, "alpha_pattern", path, _number(config.get("lora_alpha", 8)))
    rank = down.shape[0]
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return LowRank(down=down.to(device, dtype), up=(up * scale).to(device, dtype))


def _pattern_value(config: Mapping[str, object], key: str, path: str, default: float) -> float:
    """Return the value of PEFT's first pattern that matches the module, else the default."""
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict):
        raise _invalid(f"adapter_config.json: {key} isn't an object")
    for pattern, value in patterns.items():
        if not _SAFE_PATTERN.fullmatch(pattern):
            raise _invalid(
                f"adapter_config.json: {key} has the pattern {pattern[:100]!r}; accepted: module names with at most "
                "two wildcards (.*)"
            )
        if re.match(rf"(.*\.)?({pattern})$", path):
            return _number(value)
    return default


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**31:
        raise _invalid(f"adapter_config.json holds {str(value)[:100]!r} where a positive number belongs")
    return value
