"""adapter_config.json of PEFT: what is plain LoRA, and what it says of each module. No torch."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reranker_worker.errors import AdapterError
from reranker_worker.models import weights

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


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """The members of a plain LoRA's configuration; what is asked of it raises AdapterError where they make no sense."""

    members: Mapping[str, object]

    def rank(self, path: str) -> float:
        """Return the rank of the module at a path."""
        value = self.members.get("r")
        if not isinstance(value, int) or not 1 <= value < 2**31:
            raise invalid(f"adapter_config.json: r is {str(value)[:100]}; accepted: a whole number from 1")
        return self._of_pattern("rank_pattern", path, value)

    def scale(self, path: str, rank: int) -> float:
        """Return what the product of a module's two matrices is multiplied by."""
        alpha = self._of_pattern("alpha_pattern", path, _number(self.members.get("lora_alpha", 8)))
        return alpha / (rank**0.5 if self.members.get("use_rslora") else rank)

    def saves(self, path: str) -> bool:
        """Tell whether the module at the path is brought whole: it, or one around it, is named so."""
        saved = self.members.get("modules_to_save") or []
        return isinstance(saved, list) and any(f".{name}." in f".{path}." for name in saved)

    def targets(self, paths: Iterable[str]) -> set[str] | None:
        """Return which of the model's modules have low ranks, or None where only PEFT's own rules could tell."""
        names = self.members.get("target_modules")
        narrowed = self.members.get("layers_to_transform") is not None or self.members.get("exclude_modules")
        if not isinstance(names, list) or narrowed:
            return None
        return {path for path in paths if any(f".{path}".endswith(f".{name}") for name in names)}

    def _of_pattern(self, key: str, path: str, default: float) -> float:
        """Return the value of PEFT's first pattern that matches the module, else the default."""
        patterns = self.members.get(key) or {}
        if not isinstance(patterns, dict):
            raise invalid(f"adapter_config.json: {key} isn't an object")
        for pattern, value in patterns.items():
            if not _SAFE_PATTERN.fullmatch(pattern):
                raise invalid(
                    f"adapter_config.json: {key} has the pattern {pattern[:100]!r}; accepted: module names with at "
                    "most two wildcards (.*)"
                )
            if re.match(rf"(.*\.)?({pattern})$", path):
                return _number(value)
        return default


def invalid(message: str) -> AdapterError:
    """Return the error of files that make no adapter."""
    return AdapterError("InvalidAdapter", message)


def read_config(folder: Path) -> AdapterConfig:
    """Read a folder's configuration; raises AdapterError for what isn't plain LoRA."""
    members = weights.read_json(folder / "adapter_config.json", invalid)
    _check_plain(members)
    return AdapterConfig(members)


def _check_plain(config: Mapping[str, object]) -> None:
    for key, accepted in _PLAIN.items():
        if config.get(key) not in accepted:
            raise invalid(
                f"adapter_config.json: {key} {str(config.get(key))[:100]!r} isn't supported; "
                f"accepted: {', '.join(repr(value) for value in accepted)}"
            )
    began = config.get("init_lora_weights")
    if isinstance(began, str) and began.lower().startswith(_OF_OTHER_WEIGHTS):
        raise invalid(
            f"adapter_config.json: init_lora_weights {began[:100]!r} made it an adapter of other weights than the "
            "model's; accepted: one that PEFT has converted to plain LoRA, by path_initial_model_for_weight_conversion "
            "of save_pretrained"
        )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**31:
        raise invalid(f"adapter_config.json holds {str(value)[:100]!r} where a positive number belongs")
    return value
