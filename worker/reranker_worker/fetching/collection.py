"""Which cached artifacts go when a download needs their room: unused ones, the longest unused first. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: A server looks at its manifest many times in this span, so it never begins to load what is removed; and an edit that
#: is taken back at once finds its files.
UNLISTED_S = 60.0


@dataclass(frozen=True)
class Holding:
    """An artifact's share of the cache, whole or under way: `bytes` that it takes or is about to take."""

    key: str
    bytes: int
    used_at_s: float = 0.0
    in_use: bool = False


def removals(holdings: Iterable[Holding], needed_bytes: int, limit_bytes: int) -> tuple[str, ...] | None:
    """Return what has to go so that `needed_bytes` fit beside the rest; None where they can't."""
    holdings = list(holdings)
    surplus = sum(each.bytes for each in holdings) + needed_bytes - limit_bytes
    gone = []
    for each in sorted((each for each in holdings if not each.in_use), key=lambda each: each.used_at_s):
        if surplus <= 0:
            break
        gone.append(each.key)
        surplus -= each.bytes
    return tuple(gone) if surplus <= 0 else None


def used_keys(last_listed_s: Mapping[str, float], now_s: float) -> frozenset[str]:
    """Return the artifacts that a manifest lists, or listed a moment ago."""
    return frozenset(key for key, listed_s in last_listed_s.items() if now_s - listed_s <= UNLISTED_S)
