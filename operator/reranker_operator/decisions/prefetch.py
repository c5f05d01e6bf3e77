"""Whether a new revision's files are fetched into a cache that pods share before pods are made for it. No I/O.

Running pods do it, so a roll holds no download: a pod of the new revision finds its files when it starts.
"""

from reranker_operator.decisions import templates
from reranker_operator.settings import Settings
from reranker_operator.world.fleet import (
    active,
    admitted_before,
    candidate_status,
    deployed_revision,
    deployed_template,
    deployment,
    is_young,
    known_models,
    last_manifest,
    reached_pods,
)
from reranker_operator.world.reports import FAILED
from reranker_operator.world.state import ManifestModel, World

#: How a worker ends with what it fetches ahead. What it couldn't fetch is rolled out all the same, and fails where
#: everyone sees it.
ENDS = frozenset({"Complete", FAILED})


def meanwhile(world: World, asked: ManifestModel, settings: Settings) -> ManifestModel | None:
    """What the fleet stays with while the asked revision's files are fetched; None when it is to go on."""
    live = deployment(world, active(world))
    if not world.model.spec.cache.prefetch or live is None or not reached_pods(world):
        return None
    if _begun(world, asked.revision) or _fetched(world, asked.revision) or _overdue(world, asked.revision):
        return None
    serving = known_models(world).get(deployed_revision(live))
    if serving is None or serving.revision not in admitted_before(world):  # a roll that is overtaken goes no farther
        return None
    # Where the pods change in other ways, too, staying with the revision would roll them twice.
    same_pods = templates.template(world, serving, settings).key == deployed_template(live)
    return serving if same_pods else None


def _begun(world: World, revision: str) -> bool:
    """Whether pods serve the revision, are made for it, or load it beside what they serve."""
    told = last_manifest(world)
    return told is not None and revision in {*told.serve.values(), *told.candidates.values()}


def _fetched(world: World, revision: str) -> bool:
    fetched = (each for report in world.reports_of(reached_pods(world)) for each in report.prefetch)
    return any(each.revision == revision and each.phase in ENDS for each in fetched)


def _overdue(world: World, revision: str) -> bool:
    """Whether it takes longer than any progress may: pods of an older image don't know how to fetch ahead."""
    candidate = candidate_status(world, revision)
    return candidate is not None and not is_young(world, candidate)
