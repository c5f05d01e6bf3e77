"""Finds a network's parameters among a checkpoint's tensors, and reads them; nothing that isn't there is made up."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from reranker_worker.errors import CheckpointError
from reranker_worker.models import weights
from reranker_worker.models.families import Family
from reranker_worker.models.weights import Stored

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# BERT's first checkpoints, still on the hub, name a layer norm's tensors so.
_LEGACY_SUFFIXES = {".gamma": ".weight", ".beta": ".bias"}


def invalid(message: str) -> CheckpointError:
    """Return the refusal of a checkpoint that is no good in itself."""
    return CheckpointError("InvalidCheckpoint", message)


def read_headers(folder: Path) -> dict[str, weights.TensorInfo]:
    """Return what a checkpoint's files hold, without reading it."""
    tensors: dict[str, weights.TensorInfo] = {}
    for file in _weight_files(folder):
        for name, info in weights.read_header(file, invalid).items():
            if name in tensors:
                raise invalid(f"tensor {name[:200]!r} is in {tensors[name].file.name} and in {file.name}")
            tensors[name] = info
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = weights.read_json(index, invalid).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise invalid(f"{index.name} has no weight_map")
        return [_shard(folder, name) for name in sorted(set(map(str, shards.values())))]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        raise CheckpointError(
            "PickledWeights", f"{pickled[0]} is pickled and is never read; publish the weights as model.safetensors"
        )
    raise invalid("model.safetensors is missing")


def _shard(folder: Path, name: str) -> Path:
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise invalid(f"model.safetensors.index.json names {name[:100]!r}; accepted: a *.safetensors file beside it")
    if not (folder / name).is_file():
        raise invalid(f"{name} is missing")
    return folder / name


def match(
    module: nn.Module,
    family: Family,
    tensors: Mapping[str, weights.TensorInfo],
    shared: frozenset[str],
    *,
    remote_code: bool,
) -> dict[str, Stored]:
    """Return for each parameter the file's tensor; a missing one is never made up."""
    expected = {name: tuple(parameter.shape) for name, parameter in module.state_dict().items() if name not in shared}
    found = _found(family, tensors)
    missing = [name for name in expected if name not in found]
    if missing and remote_code:
        raise CheckpointError(
            "RemoteCode", f"the weights are laid out for code from the repository (auto_map): {missing[0]} is missing"
        )
    headless = [name for name in missing if name.startswith(tuple(f"{path}." for path in family.head))]
    if headless:
        raise CheckpointError(
            "MissingHead", f"the weights have no {headless[0]}; a model is never scored with a head that isn't trained"
        )
    if missing:
        raise invalid(f"the weights have no {missing[0]} ({len(missing)} tensors are missing)")
    surplus = [name for name in found if name not in expected and not name.startswith(family.harmless)]
    if surplus:
        raise invalid(f"the weights hold {surplus[0][:200]!r}, which {family.architecture} doesn't have")
    for name, shape in expected.items():
        _check_tensor(name, found[name], shape)
    return {name: found[name] for name in expected}


def _found(family: Family, tensors: Mapping[str, weights.TensorInfo]) -> dict[str, Stored]:
    """Return the files' tensors by the names that the network has for them."""
    layout = family.layout(tensors)
    if layout is None:
        return {_modern_name(name): Stored(name, info) for name, info in tensors.items()}
    found: dict[str, Stored] = {}
    for name, info in tensors.items():
        path, _, kind = name.rpartition(".")
        paths = layout.own(path)
        for own, part in zip(paths, Stored(name, info).split(len(paths)), strict=True):
            if f"{own}.{kind}" in found:
                raise invalid(f"the weights hold {own}.{kind} twice, once as part of {name[:200]!r}")
            found[f"{own}.{kind}"] = part
    return found


def _modern_name(name: str) -> str:
    for old, new in _LEGACY_SUFFIXES.items():
        if name.endswith(f"LayerNorm{old}"):
            return name.removesuffix(old) + new
    return name


def _check_tensor(name: str, stored: Stored, shape: tuple[int, ...]) -> None:
    if stored.shape != shape:
        raise invalid(f"{name} has shape {list(stored.shape)}; config.json wants {list(shape)}")
    if stored.info.dtype not in weights.FLOATS:
        raise invalid(f"{name} has type {stored.info.dtype}; accepted: {', '.join(sorted(weights.FLOATS))}")


def read(
    names: Mapping[str, Stored], dtype: torch.dtype, device: torch.device, in_fp32: Iterable[str] = ()
) -> dict[str, torch.Tensor]:
    """Return a network's parameters, on the device; those of the modules at the paths `in_fp32` in that precision."""
    exact = tuple(f"{path}." for path in in_fp32)
    loaded: dict[str, torch.Tensor] = {}
    try:
        for file in sorted({stored.info.file for stored in names.values()}):
            with safe_open(file, framework="pt") as tensors:
                for name, stored in names.items():
                    if stored.info.file == file:
                        tensor = tensors.get_tensor(stored.name)[stored.rows]
                        # A copy, so that nothing served depends on a mapped file.
                        wanted = torch.float32 if name.startswith(exact) else dtype
                        loaded[name] = tensor.to(device=device, dtype=wanted, copy=True)
    except (SafetensorError, OSError) as error:
        raise invalid(f"the weights can't be read: {error}") from error
    for name, tensor in loaded.items():
        if not tensor.sum(dtype=torch.float32).isfinite():
            raise CheckpointError("NonFiniteScores", f"{name} holds a value that isn't finite in {tensor.dtype}")
    return loaded
