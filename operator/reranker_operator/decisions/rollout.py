"""How a fleet gets from the revision that serves to the wanted one: the serving manifest's content. No I/O.

The manifest names every revision that a living pod serves and the wanted one. A revision is admitted when a pod has
loaded it and the gate has let it pass, so one that was overtaken by the next edit before that never answers.
"""

from dataclasses import replace

from reranker_operator.decisions.adapters import adapter_policy, wanted_adapters
from reranker_operator.world import names
from reranker_operator.world.fleet import (
    admitted_before,
    answered_last,
    answering,
    answers,
    deployed_template,
    deployments,
    known_models,
    last_manifest,
    loaded_pods,
    reached_pods,
    told_serve,
)
from reranker_operator.world.reports import WorkerReport
from reranker_operator.world.state import Manifest, ManifestAdapter, ManifestModel, Model, World
from reranker_operator.world.trials import Passed

HF = "hf://"


def wanted_model(model: Model) -> ManifestModel:
    """The revision that the spec asks for."""
    source = model.spec.source.document()
    engine = {
        "dtype": model.spec.engine.dtype,
        "maxLength": model.spec.engine.max_length,
        "scores": model.spec.engine.scores,
    }
    return ManifestModel(names.model_revision(model.key.name, source, engine), source, engine)


def served_name(model: Model, uri: str) -> str:
    """What clients call the model: as given, else the hub's repository, else the resource's name."""
    if model.spec.served_name:
        return model.spec.served_name
    return uri.removeprefix(HF) if uri.startswith(HF) else model.key.name


def manifest(
    world: World,
    wanted: ManifestModel,
    template: str,
    *,
    parked: tuple[str, ...] = (),
    shadow_percent: int = 0,
    ahead: ManifestModel | None = None,
) -> Manifest:
    """The serving manifest for a fleet that is to serve `wanted`, whose new pods are made from `template`.

    parked: templates whose pods the Service doesn't reach any more. shadow_percent: of requests to be copied.
    ahead: what is fetched for pods that aren't made yet.
    """
    previous = last_manifest(world)
    living = _serve(world, previous, template, wanted.revision)
    candidates = _candidates(world, living, wanted.revision, template)
    serve = living if candidates else {**living, template: wanted.revision}
    models = _models({*serve.values(), *answering(world)}, known_models(world), wanted)
    spec = world.model.spec
    content = Manifest(
        generation=0,
        served_name=served_name(world.model, wanted.source["uri"]),
        models=(*models, ahead) if ahead is not None and ahead not in models else models,
        serve={key: revision for key, revision in serve.items() if any(m.revision == revision for m in models)},
        admitted=_admitted(world, models, wanted.revision),
        adapters=_adapters(world, previous),
        adapter_policy=adapter_policy(world.model),
        limits={"maxBatchTokens": spec.engine.max_batch_tokens, "maxQueueTokens": spec.engine.max_queue_tokens},
        drain_seconds=spec.rollout.drain_seconds,
        candidates=candidates,
        parked=parked,
        shadow_percent=shadow_percent,
        prefetch=(ahead.revision,) if ahead is not None else (),
        playground=spec.playground,
    )
    return replace(content, generation=_generation(world, previous, content))


def _candidates(world: World, living: dict[str, str], wanted: str, template: str) -> dict[str, str]:
    """What pods load beside what they serve, until all of them have it and it may answer: then they serve it at once.

    Empty where the template is a new one, or serves the wanted revision already.
    """
    if living.get(template, wanted) == wanted:
        return {}
    previous = last_manifest(world)
    asked = previous is not None and previous.candidates.get(template) == wanted
    if asked and loaded_pods(world, wanted) and (wanted in admitted_before(world) or admission(world, wanted)):
        return {}
    return {template: wanted}


def _serve(world: World, previous: Manifest | None, template: str, wanted: str) -> dict[str, str]:
    """What each living template serves; a pod that ends counts until it is gone, since it may still answer."""
    serve: dict[str, str] = {}
    # A Deployment may be making a pod of its template right now that no listing shows yet.
    deployed = [deployed_template(live) for live in deployments(world).values()]
    # So may the ReplicaSet of the template before it, whose pods were lost, until the wanted revision answers.
    last = answered_last(world)
    told = told_serve(world)
    told_last = previous.serve if previous is not None and world.model.spec.pods else {}
    lost = sorted(key for key, each in told_last.items() if each == last != wanted)
    for key in dict.fromkeys([*deployed, *sorted(pod.template for pod in world.pods), *lost, template]):
        revision = told.get(key) or answers(world, key)
        if revision is not None:
            serve[key] = revision
    return serve


def _models(living: set[str], sources: dict[str, ManifestModel], wanted: ManifestModel) -> tuple[ManifestModel, ...]:
    """Old revisions, then the wanted one."""
    old = living - {wanted.revision}
    return (*(model for revision, model in sources.items() if revision in old), wanted)


def _admitted(world: World, models: tuple[ManifestModel, ...], wanted: str) -> tuple[str, ...]:
    """Revisions that may answer: those that could before, and the wanted one once it passes admission."""
    before = admitted_before(world)
    return tuple(
        model.revision
        for model in models
        if model.revision in before or (model.revision == wanted and admission(world, wanted))
    )


def admission(world: World, revision: str) -> bool:
    """Whether a revision that never answered may: a pod has it in memory and scored a pair, and it passed the gate."""
    gated = world.model.spec.rollout.gate is not None
    return bool(loaded_pods(world, revision)) and (not gated or isinstance(world.judgement, Passed))


def _adapters(world: World, previous: Manifest | None) -> tuple[ManifestAdapter, ...]:
    """Per name the wanted revision, then those that pods rely on, until every ready pod has the wanted one.

    Where the name is required, these are what was required and what a ready pod answers with, clients reach it or not:
    in the middle of a roll a new pod may have an adapter that fits no other model, and has nothing else for the name.
    Only its owner's: weights that are somebody else's by now mustn't answer for a name.
    """
    told = previous.adapters if previous is not None else ()
    reached = tuple(map(world.report, reached_pods(world)))
    ready = tuple(world.report(pod) for pod in world.pods if pod.ready and not pod.terminating)
    entries: list[ManifestAdapter] = []
    for adapter in wanted_adapters(world):
        former = [each for each in told if (each.name, each.owner) == (adapter.name, adapter.owner)]
        required = {each.revision for each in former if each.required}
        has_it = adapter.revision in required or _loaded_everywhere(reached, adapter)
        entries.append(replace(adapter, required=has_it))
        if required and not _loaded_everywhere(ready, adapter):
            others = (each for each in former if each.revision != adapter.revision)
            relied_on = (each for each in others if each.required or any(_loaded(said, each) for said in ready))
            entries += [replace(each, required=True) for each in relied_on]
    return tuple(entries)


def _loaded_everywhere(reports: tuple[WorkerReport | None, ...], adapter: ManifestAdapter) -> bool:
    return bool(reports) and all(_loaded(report, adapter) for report in reports)


def _loaded(report: WorkerReport | None, adapter: ManifestAdapter) -> bool:
    return report is not None and report.has_loaded(adapter.name, adapter.revision)


def _generation(world: World, previous: Manifest | None, content: Manifest) -> int:
    """The previous generation while the content stays; a new one is above all that any pod was told or has read."""
    seen = [pod.manifest.generation for pod in world.pods if pod.manifest is not None]
    seen += [report.observed_generation for report in world.reports.values()]
    newest = max(seen, default=0)
    if previous is not None and previous.same_content(content) and previous.generation >= newest:
        return previous.generation
    return max(newest, previous.generation if previous is not None else 0) + 1
