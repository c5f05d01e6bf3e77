"""Which model in memory scores a request, and why none does. No I/O."""

from collections.abc import Collection, Iterable

from reranker_worker.errors import InvalidRequest, NotFound, NotReady, RevisionGone, RevisionUnknown
from reranker_worker.serving import Held, LoadedAdapter, LoadedModel, ScoreRequest, Serving


def captured(
    serving: Serving, request: ScoreRequest, answered: Collection[str]
) -> tuple[LoadedModel, LoadedAdapter | None]:
    """Return the one model, and its adapter, that scores the whole request, whatever is swapped meanwhile.

    `answered` are the revisions that clients could have here, now or before. Raises a RequestError.
    """
    held = _held(serving, request, answered)
    if not request.documents:
        raise InvalidRequest("documents is empty; at least one is needed", param="documents")
    if request.adapter is None:
        return held.model, None
    adapter = held.adapters.get(request.adapter)
    if adapter is None:
        raise NotFound("no adapter by that name is served here", param="adapter")
    return held.model, adapter


def pinnable(serving: Serving) -> list[str]:
    """Return the revisions that a client may have, the one that answers first."""
    return [revision for revision, held in serving.held.items() if held.admitted]


def _held(serving: Serving, request: ScoreRequest, answered: Collection[str]) -> Held:
    revision = request.revision or (serving.model.revision if serving.model is not None else None)
    if revision is None:
        raise NotReady("no model is ready to score", retry_after_s=1.0)
    held = serving.held.get(revision)
    if held is not None and (held.admitted or request.trial):
        return held
    if request.trial:
        raise NotFound(f"no such revision is in memory; there is {_listed(serving.held)}", param="revision")
    if revision in answered:
        raise RevisionGone(f"that revision isn't served here any more; {_can_be_pinned(serving)}")
    raise RevisionUnknown(f"that revision has never been served here; {_can_be_pinned(serving)}")


def _can_be_pinned(serving: Serving) -> str:
    return f"x-reranker-revision may name {_listed(pinnable(serving))}"


def _listed(revisions: Iterable[str]) -> str:
    return ", ".join(revisions) or "none now"
