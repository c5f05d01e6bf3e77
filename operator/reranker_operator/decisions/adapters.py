"""Which adapters a model is to have: its spec's, then the RerankerAdapters that it takes. No I/O.

A RerankerAdapter is another team's: nothing that it says may restart a pod of the model, open what is the model's, or
take a name that somebody has already. So of one name the spec's wins, then the oldest resource.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reranker_operator.resources.adapter_kind import RerankerAdapterSpec
from reranker_operator.resources.adapter_types import EVERY_NAMESPACE, Adapter
from reranker_operator.resources.schema import byte_count
from reranker_operator.resources.sources import ArtifactSource, claim_of
from reranker_operator.world import names
from reranker_operator.world.adapter_resource import AdapterResource
from reranker_operator.world.facts import INVALID_SPEC, Problem
from reranker_operator.world.names import Document
from reranker_operator.world.state import ManifestAdapter, Model, World

FETCHED = "hf://, s3://, gs:// or oci://"


@dataclass(frozen=True)
class Verdict:
    """What the model makes of a RerankerAdapter: an adapter to load, or why not."""

    resource: AdapterResource
    outcome: ManifestAdapter | Problem


def wanted_adapters(world: World) -> tuple[ManifestAdapter, ...]:
    """The model's adapters, each name once."""
    own = tuple(wanted_adapter(adapter) for adapter in world.model.spec.adapters)
    outcomes = (verdict.outcome for verdict in verdicts(world))
    return (*own, *(outcome for outcome in outcomes if isinstance(outcome, ManifestAdapter)))


def wanted_adapter(adapter: Adapter) -> ManifestAdapter:
    return _manifest_adapter(adapter.name, adapter.source)


def _manifest_adapter(name: str, source: ArtifactSource, owner: str = "") -> ManifestAdapter:
    document = source.document()
    return ManifestAdapter(name, names.adapter_revision(name, document), document, owner=owner)


def verdicts(world: World) -> tuple[Verdict, ...]:
    """One for each RerankerAdapter that names the model, the oldest first."""
    model = world.model
    taken = {adapter.name: f"the spec of RerankerModel {model.key}" for adapter in model.spec.adapters}
    found = []
    for resource in sorted(world.adapters, key=lambda each: (each.created, each.namespace, each.name)):
        outcome = _outcome(model, resource, taken)
        found.append(Verdict(resource, outcome))
        if isinstance(outcome, ManifestAdapter):
            taken[resource.name] = f"RerankerAdapter {resource}"
    return tuple(found)


def _outcome(model: Model, resource: AdapterResource, taken: Mapping[str, str]) -> ManifestAdapter | Problem:
    if resource.spec is None:
        return Problem(INVALID_SPEC, resource.problem)
    refusal = _refusal(model, resource, resource.spec, taken)
    return refusal or _manifest_adapter(resource.name, resource.spec.source, owner=str(resource))


def _refusal(
    model: Model, resource: AdapterResource, spec: RerankerAdapterSpec, taken: Mapping[str, str]
) -> Problem | None:
    """Why the model doesn't take the adapter, the first reason that its owner could do something about."""
    policy, foreign = model.spec.adapter_policy, resource.namespace != model.key.namespace
    if foreign and not {resource.namespace, EVERY_NAMESPACE} & set(policy.allowed_namespaces):
        return Problem(
            "NamespaceNotAllowed",
            f"RerankerModel {model.key} takes adapters of {_listed([model.key.namespace, *policy.allowed_namespaces])}:"
            f" its spec.adapterPolicy.allowedNamespaces would have to name {resource.namespace}",
        )
    claim = claim_of(spec.source.uri)
    if claim and foreign:
        return Problem(
            "ClaimOutOfReach",
            f"{spec.source.uri}: pods of RerankerModel {model.key} mount claims of their own namespace only, and those "
            f"aren't {resource.namespace}'s to name: publish the adapter where they fetch it from ({FETCHED})",
        )
    mounted = wanted_claims(model, model.spec.source.uri)
    if claim and claim not in mounted:
        return Problem(
            "ClaimNotMounted",
            f"{spec.source.uri}: pods of RerankerModel {model.key} mount {_listed(mounted)}, and another claim "
            f"would replace them all: use one of these, publish the adapter where they fetch it from ({FETCHED}), or "
            "have the model's spec.adapters name the claim",
        )
    if resource.name in taken:
        return Problem("NameTaken", f"{taken[resource.name]} has an adapter of this name: choose another name")
    if len(taken) >= policy.max_loaded:
        return Problem(
            "TooManyAdapters",
            f"RerankerModel {model.key} has {len(taken)} older adapters, and its spec.adapterPolicy.maxLoaded is "
            f"{policy.max_loaded}",
        )
    return None


def wanted_claims(model: Model, uri: str) -> tuple[str, ...]:
    """PersistentVolumeClaims that pods need for a model's files and the spec's own adapters."""
    uris = (uri, *(adapter.source.uri for adapter in model.spec.adapters))
    return tuple(sorted({claim for claim in map(claim_of, uris) if claim}))


def adapter_policy(model: Model) -> Document:
    """The bounds as the serving manifest has them."""
    policy = model.spec.adapter_policy
    bounds = {"maxLoaded": policy.max_loaded, "maxRank": policy.max_rank}
    return {**bounds, "maxBytes": byte_count(policy.max_bytes)} if policy.max_bytes else bounds


def _listed(several: Iterable[str]) -> str:
    return ", ".join(several) or "none"
