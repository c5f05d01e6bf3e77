"""Which adapters fit the byte budget: on every pod the same, in whatever order the files came. No I/O."""

from collections.abc import Iterable, Mapping, Sequence

from reranker_worker.manifest import AdapterEntry


def over_budget(
    names: Iterable[Sequence[AdapterEntry]], sizes: Mapping[AdapterEntry, int], max_bytes: int
) -> dict[AdapterEntry, str]:
    """Return the entries that don't fit, each with the reason in words.

    names: the entries of each name in order of preference, names in the manifest's order. sizes: bytes of each entry
    that is at hand and could be loaded; the others take no room. What the fleet has had is let in whatever it takes:
    a pod that starts later mustn't lack it.
    """
    names = list(names)
    held = {entries[0].name: _required_bytes(entries, sizes) for entries in names}
    refused: dict[AdapterEntry, str] = {}
    for entries in names:
        for entry in entries:
            if entry.required:
                break
            if entry not in sizes:
                continue
            free = max_bytes - sum(held.values()) + held[entry.name]
            if sizes[entry] <= free:
                held[entry.name] = sizes[entry]
                break
            refused[entry] = _message(entry, sizes[entry], free, max_bytes)
    return refused


def _required_bytes(entries: Sequence[AdapterEntry], sizes: Mapping[AdapterEntry, int]) -> int:
    return next((sizes.get(entry, 0) for entry in entries if entry.required), 0)


def _message(entry: AdapterEntry, size: int, free: int, max_bytes: int) -> str:
    return (
        f"adapter {entry.name}: its files hold {size} bytes, and of adapterPolicy.maxBytes ({max_bytes}) the adapters "
        f"before it leave {max(free, 0)}: raise maxBytes, remove an adapter, or publish one of a lower rank"
    )
