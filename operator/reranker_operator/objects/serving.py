"""The serving manifest's document form, read and written. No I/O."""

import json

from reranker_operator.world import names
from reranker_operator.world.names import Document
from reranker_operator.world.state import Manifest, ManifestAdapter, ManifestModel


def document(manifest: Manifest) -> Document:
    """The manifest as docs/contract.md lays it out."""
    return {
        "generation": manifest.generation,
        "servedName": manifest.served_name,
        "models": [
            {"revision": model.revision, "source": model.source, "engine": model.engine} for model in manifest.models
        ],
        "serve": dict(manifest.serve),
        **({"candidates": dict(manifest.candidates)} if manifest.candidates else {}),
        **({"shadow": {"percent": manifest.shadow_percent}} if manifest.shadow_percent else {}),
        **({"parked": list(manifest.parked)} if manifest.parked else {}),
        **({"prefetch": list(manifest.prefetch)} if manifest.prefetch else {}),
        **({"playground": True} if manifest.playground else {}),
        "admitted": list(manifest.admitted),
        "adapters": [
            {
                "name": adapter.name,
                "revision": adapter.revision,
                "source": adapter.source,
                "required": adapter.required,
                **({"owner": adapter.owner} if adapter.owner else {}),
            }
            for adapter in manifest.adapters
        ],
        "adapterPolicy": manifest.adapter_policy,
        "limits": manifest.limits,
        "drainSeconds": manifest.drain_seconds,
    }


def text(manifest: Manifest) -> str:
    return names.canonical(document(manifest))


def manifest(content: str | None) -> Manifest | None:
    """Read a manifest; None where there is none or it isn't one (then the operator writes it anew)."""
    if not content:
        return None
    try:
        raw = json.loads(content)
        return Manifest(
            generation=int(raw["generation"]),
            served_name=str(raw["servedName"]),
            models=tuple(
                ManifestModel(str(m["revision"]), dict(m["source"]), dict(m["engine"])) for m in raw["models"]
            ),
            serve={str(template): str(revision) for template, revision in raw["serve"].items()},
            admitted=tuple(str(revision) for revision in raw["admitted"]),
            adapters=tuple(
                ManifestAdapter(
                    name=str(a["name"]),
                    revision=str(a["revision"]),
                    source=dict(a["source"]),
                    required=bool(a.get("required", False)),
                    owner=str(a.get("owner", "")),
                )
                for a in raw["adapters"]
            ),
            adapter_policy=dict(raw["adapterPolicy"]),
            limits=dict(raw["limits"]),
            drain_seconds=int(raw["drainSeconds"]),
            candidates={str(template): str(revision) for template, revision in raw.get("candidates", {}).items()},
            parked=tuple(str(template) for template in raw.get("parked", ())),
            shadow_percent=int(raw.get("shadow", {}).get("percent", 0)),
            prefetch=tuple(str(revision) for revision in raw.get("prefetch", ())),
            playground=bool(raw.get("playground", False)),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
