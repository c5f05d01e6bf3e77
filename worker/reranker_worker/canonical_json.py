"""The one text of a JSON value that both sides of the contract hash. No I/O."""

import json
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Mapping[str, Any]) -> str:
    """Return sorted, compact JSON with absent members left out instead of null."""
    return json.dumps(_present(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _present(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _present(member) for key, member in value.items() if member is not None}
        case list() | tuple():
            return [_present(member) for member in value]
        case _:
            return value
