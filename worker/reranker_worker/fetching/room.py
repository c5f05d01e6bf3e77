"""The room in a cache: who uses which artifacts, what is reserved for downloads, and what is removed to make room.

Fetchers that share a cache tell each other what they use by a file each, touched every minute; one that hasn't been
touched for long is of a pod that is gone. Under one lock a fetcher says what it uses, and under the same one another
looks and removes, so nothing is removed that somebody has just begun to use.
"""

import json
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import COMPLETE
from reranker_worker.fetching.cache import ArtifactCache, folder_bytes, write_atomically
from reranker_worker.fetching.collection import Holding, removals
from reranker_worker.fetching.locks import held, held_if_free

SIGN_S = 60.0  # how often a fetcher shows that it lives
_GONE_S = 600.0

log = structlog.get_logger("fetcher")


@dataclass(frozen=True)
class Room:
    """What fits into a cache, seen by one of its users."""

    cache: ArtifactCache
    limit_bytes: int
    user: str
    _needed: set[str] = field(init=False, default_factory=set)
    """What this user needs, whether the disk has room for its sign or not."""

    def use(self, keys: AbstractSet[str]) -> None:
        """Say which artifacts this user needs; what is none of them may go."""
        with held(self._lock):
            self._needed.clear()
            self._needed.update(keys)
            self._users.mkdir(parents=True, exist_ok=True)
            write_atomically(self._own, json.dumps(sorted(keys)), durable=False)
        for key in keys:
            complete = self.cache.artifacts / key / COMPLETE
            if complete.exists():
                os.utime(complete)  # the time of its last use

    def make(self, uri: str, key: str, total_bytes: int) -> None:
        """Reserve room for an artifact, and remove what is unused until there is; raises SourceError("DiskFull")."""
        with held(self._lock):
            others = [each for each in self._holdings() if each.key != key]
            gone = removals(others, total_bytes, self.limit_bytes)
            if gone is None:
                raise SourceError("DiskFull", self._too_small(uri, others, total_bytes))
            for each in gone:
                self._remove(each)
            self.cache.reserve(key, total_bytes)

    def free(self) -> None:
        """Remove all that is unused: the disk is full before the limit is reached."""
        with held(self._lock):
            for each in self._holdings():
                if not each.in_use:
                    self._remove(each.key)

    @property
    def _lock(self) -> Path:
        return self.cache.lock("room")

    @property
    def _users(self) -> Path:
        return self.cache.root / "users"

    @property
    def _own(self) -> Path:
        return self._users / f"{self.user}.json"

    def _holdings(self) -> Iterator[Holding]:
        used = self._used()
        for key in self.cache.held_keys():
            size = folder_bytes(self.cache.artifacts / key)
            partial = self.cache.partials / key
            underway = max(folder_bytes(partial), self.cache.reserved(key)) if partial.exists() else 0
            yield Holding(key, size + underway, _modified_s(self.cache.artifacts / key / COMPLETE), key in used)

    def _used(self) -> set[str]:
        """Return what living users need; by the file system's clock, which is the same for all of them."""
        with suppress(OSError):  # on a full disk: then the latest of the others' signs tells the time
            self._users.mkdir(parents=True, exist_ok=True)
            self._own.touch()  # empty if others took this user for gone: until it is written they remove nothing
        signs = {path: _modified_s(path) for path in self._users.glob("*.json")}
        now_s = max(signs.values(), default=0.0)
        used = set(self._needed)
        for path, signed_s in signs.items():
            if now_s - signed_s >= _GONE_S:
                path.unlink(missing_ok=True)
            elif path != self._own:
                used |= self._used_by(path)
        return used

    def _used_by(self, sign: Path) -> set[str]:
        """Return what a living user needs: all that there is, where its sign can't be read."""
        try:
            return set(json.loads(sign.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return set()
        except ValueError:
            return self.cache.held_keys()

    def _remove(self, key: str) -> None:
        with held_if_free(self.cache.lock(key)) as free:
            if free:  # else another fetcher is at it: what it has begun it needs
                self.cache.remove(key)
                log.info("artifact removed", artifact=key)

    def _too_small(self, uri: str, others: list[Holding], total_bytes: int) -> str:
        in_use = sum(each.bytes for each in others if each.in_use)
        return (
            f"{uri}: its {total_bytes} bytes don't fit into the cache beside {in_use} bytes that are in use; artifacts "
            f"may take {self.limit_bytes} bytes (cache.size less a hundredth), and have to be given at least "
            f"{in_use + total_bytes}"
        )


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
