"""The keys and values of prefixes that were computed before, kept up to so many bytes."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from reranker_worker.models.causal_attention import States
from reranker_worker.models.lora import LoraWeights


@dataclass(frozen=True, slots=True, eq=False)
class PrefixStates:
    """What later tokens attend to of a prefix: in each layer keys and values, both [1, key heads, tokens, width]."""

    layers: Sequence[States]

    @property
    def tokens(self) -> int:
        """Return the prefix's length."""
        return self.layers[0][0].shape[2]

    @property
    def bytes(self) -> int:
        """Return the memory that it takes."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


def joined(prefixes: Sequence[PrefixStates]) -> Sequence[States]:
    """Return in each layer the states of all prefixes one behind the other; nothing where there is no prefix."""
    by_layer = zip(*(states.layers for states in prefixes), strict=True)
    return [
        (torch.cat([keys for keys, _ in layer], dim=2), torch.cat([values for _, values in layer], dim=2))
        for layer in by_layer
    ]


@dataclass(frozen=True, slots=True)
class PrefixKey:
    """Which prefix, computed with which adapter; the reference keeps no unloaded adapter in memory."""

    token_ids: tuple[int, ...]
    adapter: "weakref.ref[LoraWeights] | None"


@dataclass(slots=True, eq=False)
class PrefixCache:
    """Prefixes of one model, the least recently used ones dropped first; used by the device thread and by probes."""

    max_bytes: int
    _states: OrderedDict[PrefixKey, PrefixStates] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def bytes(self) -> int:
        """Return the memory that all of them take."""
        return self._bytes

    def get(self, key: PrefixKey) -> PrefixStates | None:
        """Return a prefix's states if they are kept."""
        with self._lock:
            states = self._states.get(key)
            if states is not None:
                self._states.move_to_end(key)
            return states

    def put(self, key: PrefixKey, states: PrefixStates) -> None:
        """Keep a prefix's states, unless they alone are too large."""
        with self._lock:
            if key in self._states or states.bytes > self.max_bytes:
                return
            self._states[key] = states
            self._bytes += states.bytes
            while self._bytes > self.max_bytes:
                self._bytes -= self._states.popitem(last=False)[1].bytes
