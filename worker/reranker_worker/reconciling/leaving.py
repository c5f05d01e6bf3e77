"""Models that were dropped and still take room, since something holds them: a request that is being scored by one."""

import gc
import time
import weakref
from dataclasses import dataclass, field

from reranker_worker.serving import LoadedModel

# Twice what a request may take by default: what holds a model for longer isn't waited for.
_LONGEST_S = 120.0
# Objects that hold each other, a library's for example, may hold a model, too. To look for them takes milliseconds.
_COLLECTION_PAUSE_S = 1.0


@dataclass
class Leaving:
    """Knows the dropped models without holding them."""

    _since_s: "weakref.WeakKeyDictionary[LoadedModel, float]" = field(
        init=False, default_factory=weakref.WeakKeyDictionary
    )
    _collected_s: float = field(init=False, default=-_COLLECTION_PAUSE_S)

    def add(self, model: LoadedModel) -> None:
        """Watch a model that was dropped just now."""
        self._since_s[model] = time.monotonic()

    def revisions(self) -> list[str]:
        """Return the revisions whose room isn't free yet; has garbage collected before that, once a second at most."""
        now_s = time.monotonic()
        if self._since_s and now_s - self._collected_s >= _COLLECTION_PAUSE_S:
            self._collected_s = now_s
            gc.collect()
        return [model.revision for model, since_s in self._since_s.items() if now_s - since_s < _LONGEST_S]
