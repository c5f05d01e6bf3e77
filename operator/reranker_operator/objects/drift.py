"""The first difference between an object as we write it and as it is live. No I/O.

Server-side apply alone would also repair an edit, but it is a write; comparing first keeps an idle fleet at none.
Members that we don't write (defaults of the API server, other managers' fields) are no difference. What we stopped
writing shows in the hash of the applied object, an annotation.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from reranker_operator.world.names import Document

#: Lists that the API server merges by a key; every other list is compared as a whole.
MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "name",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
QUANTITIES = frozenset({"averageValue", "limits", "requests", "sizeLimit"})
SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def difference(desired: Document, live: Document) -> str | None:
    """The first member of `desired` that differs in `live`, in words; None when there is none."""
    return _differs(desired, live, "", quantities=False)


def _differs(desired: Any, live: Any, path: str, *, quantities: bool) -> str | None:
    if isinstance(desired, Mapping):
        return _mapping_differs(desired, live, path, quantities=quantities)
    if isinstance(desired, list):
        return _list_differs(desired, live, path, quantities=quantities)
    if desired == live or (quantities and _amount(desired) == _amount(live) is not None):
        return None
    return f"{path} is {_shown(live)} instead of {_shown(desired)}"


def _mapping_differs(desired: Mapping[str, Any], live: Any, path: str, *, quantities: bool) -> str | None:
    if not isinstance(live, Mapping):
        return f"{path} is missing"
    for key, value in desired.items():
        below = f"{path}.{key}" if path else key
        if key not in live:
            return f"{below} is missing"
        found = _differs(value, live[key], below, quantities=quantities or key in QUANTITIES)
        if found:
            return found
    return None


def _list_differs(desired: list[Any], live: Any, path: str, *, quantities: bool) -> str | None:
    if not isinstance(live, list):
        return f"{path} is missing"
    merge_key = MERGE_KEYS.get(path.rpartition(".")[2])
    if merge_key is None:
        if len(live) != len(desired):
            return f"{path} is {_shown(live)} instead of {_shown(desired)}"
        pairs = [(f"{path}[{i}]", want, have) for i, (want, have) in enumerate(zip(desired, live, strict=True))]
    else:
        by_key = {item.get(merge_key): item for item in live}
        pairs = [(f"{path}[{w[merge_key]}]", w, by_key.get(w[merge_key])) for w in desired]
    differences = (_differs(want, have, where, quantities=quantities) for where, want, have in pairs)
    return next((found for found in differences if found), None)


def _amount(value: Any) -> Decimal | None:
    """A Kubernetes quantity as a number: 1000m, 1 and "1" are the same amount."""
    text = str(value)
    digits = text.rstrip("".join({*"".join(SUFFIXES), *"".join(BINARY)}))
    suffix = text[len(digits) :]
    try:
        if suffix in BINARY:
            return Decimal(digits) * Decimal(2) ** BINARY[suffix]
        if suffix in SUFFIXES:
            return Decimal(digits).scaleb(SUFFIXES[suffix])
    except InvalidOperation:
        return None
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
