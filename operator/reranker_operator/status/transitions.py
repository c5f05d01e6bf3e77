"""Kubernetes Events, told from the status before and after: each change of state once, whoever restarts. No I/O."""

from collections.abc import Iterator

from reranker_operator.status.downloads import size
from reranker_operator.world.actions import Event
from reranker_operator.world.facts import ACCESSORY_CONDITIONS, INVALID_SPEC, condition
from reranker_operator.world.names import Document

NORMAL, WARNING = "Normal", "Warning"


def events(before: Document, after: Document) -> tuple[Event, ...]:
    """The Events of one change of status."""
    told = (
        _revision_events,
        _fleet_events,
        _download_events,
        _adapter_events,
        _condition_events,
        _accessory_events,
    )
    return tuple(event for each in told for event in each(before, after))


def _revision(status: Document, which: str) -> Document:
    return (status.get("revisions") or {}).get(which) or {}


def _revision_events(before: Document, after: Document) -> Iterator[Event]:
    old, new = _revision(before, "candidate"), _revision(after, "candidate")
    name, phase = new.get("name"), new.get("phase")
    if name and name != old.get("name"):
        yield Event(NORMAL, "RolloutStarted", f"{name} is on its way to the pods{_beside(new, after)}")
    if phase != old.get("phase") or name != old.get("name"):
        if phase == "Admitted":
            yield Event(NORMAL, "RevisionAdmitted", f"{name} is loaded and may answer clients{_measured(new)}")
        if phase == "Failed":
            yield Event(WARNING, "ModelFailed", f"{name}: {new.get('message', '')}")
    if name == old.get("name") and old.get("strategy", "InPlace") != "InPlace" == new.get("strategy"):
        yield Event(WARNING, "NoRoomForPod", f"no node has room for another pod: {name} is swapped in place")
    for rejected in _new_rejections(before, after):
        why = f"{rejected['name']}: {rejected['reason']}: {rejected['message']}{_measured(rejected)}"
        answers = _revision(after, "serving").get("name")
        elsewhere = answers and answers != rejected["name"]
        yield Event(WARNING, "RevisionRejected", f"{why}; {answers} serves in its place" if elsewhere else why)
    serving = _revision(after, "serving").get("name")
    if serving and serving != _revision(before, "serving").get("name"):
        yield Event(NORMAL, "RolloutFinished", f"{serving} answers clients on every ready pod")


def _beside(candidate: Document, after: Document) -> str:
    answers, strategy = _revision(after, "serving").get("name"), candidate.get("strategy")
    return f", by {strategy}; {answers} answers meanwhile" if answers and strategy else ""


def _fleet_events(before: Document, after: Document) -> Iterator[Event]:
    old, new = before.get("fleet") or {}, after.get("fleet") or {}
    if new and (new["active"], new.get("since")) != (old.get("active"), old.get("since")):
        kept = f"; {new['kept']} is kept until {new['keptUntil']}" if new.get("kept") else ""
        yield Event(NORMAL, "ServiceFlipped", f"the Service points at the {new['active']} fleet{kept}")
    if old.get("kept") and not new.get("kept") and new.get("since") == old.get("since"):
        yield Event(NORMAL, "FleetRemoved", f"the fleet of {old['kept']} isn't kept any more")


def _new_rejections(before: Document, after: Document) -> list[Document]:
    earlier = (before.get("revisions") or {}).get("rejected") or ()
    known = {(each["name"], each["gate"]) for each in earlier}
    now = (after.get("revisions") or {}).get("rejected") or ()
    return [each for each in now if (each["name"], each["gate"]) not in known]


def _measured(revision: Document) -> str:
    words = (
        ("ndcg", "nDCG"),
        ("rankCorrelation", "rank correlation"),
        ("liveRankCorrelation", "on live queries"),
        ("p95Milliseconds", "p95 in ms"),
    )
    figures = ", ".join(f"{word} {revision[member]}" for member, word in words if member in revision)
    return f" ({figures})" if figures else ""


def _download_events(before: Document, after: Document) -> Iterator[Event]:
    old = {each["name"]: each["totalBytes"] for each in before.get("downloads") or ()}
    new = {each["name"]: each["totalBytes"] for each in after.get("downloads") or ()}
    for name in sorted(new.keys() - old.keys()):
        yield Event(NORMAL, "DownloadStarted", f"{name}: {size(new[name])} are on their way")
    for name in sorted((old.keys() - new.keys()) & _wanted(after)):
        yield Event(NORMAL, "DownloadFinished", f"{name}: {size(old[name])} have come")


def _wanted(status: Document) -> set[str]:
    """Revisions that the fleet is to have and that didn't fail: a failure has an Event of its own."""
    candidate = _revision(status, "candidate")
    models = [_revision(status, "serving"), *([candidate] if candidate.get("phase") != "Failed" else [])]
    adapters = {adapter["revision"] for adapter in status.get("adapters") or () if not adapter.get("reason")}
    return adapters | {model["name"] for model in models if model}


def _adapter_events(before: Document, after: Document) -> Iterator[Event]:
    earlier = {adapter["name"]: adapter for adapter in before.get("adapters") or ()}
    for adapter in after.get("adapters") or ():
        old = earlier.pop(adapter["name"], {})
        same = old.get("revision") == adapter["revision"]
        if _ready(adapter) and not (same and _ready(old)):
            yield Event(
                NORMAL,
                "AdapterReady",
                f"{adapter['name']} ({adapter['revision']}) is loaded on all {adapter['desired']} pods",
            )
        if adapter.get("reason") and not (same and adapter["reason"] == old.get("reason")):
            yield Event(WARNING, "AdapterFailed", f"{adapter['name']}: {adapter['reason']}: {adapter.get('message')}")
    for name in earlier:
        yield Event(NORMAL, "AdapterRemoved", f"{name} is unloaded after its last request")


def _ready(adapter: Document) -> bool:
    return bool(adapter.get("desired")) and adapter.get("ready") == adapter["desired"] and not adapter.get("reason")


def _condition_events(before: Document, after: Document) -> Iterator[Event]:
    # A failed or rejected model and a failed adapter have their own Events, with the same reason in the message.
    stalled, old = condition(after, "Stalled"), condition(before, "Stalled")
    failed = _revision(after, "candidate").get("phase") == "Failed"
    bad_adapter = any(adapter.get("reason") and not adapter.get("owner") for adapter in after["adapters"])
    own = failed or _new_rejections(before, after) or bad_adapter
    # Of a model whose spec can't be read the status keeps what was told of revisions: that isn't why it stalls.
    if stalled and stalled["reason"] != old.get("reason") and (not own or stalled["reason"] == INVALID_SPEC):
        yield Event(WARNING, stalled["reason"], stalled["message"])
    available = condition(after, "Available").get("status")
    if available == "False" and condition(before, "Available").get("status") == "True":
        yield Event(WARNING, "Unavailable", condition(after, "Available")["message"])


def _accessory_events(before: Document, after: Document) -> Iterator[Event]:
    """What a model serves without can't be made, or another object does it now."""
    for name in ACCESSORY_CONDITIONS:
        old, new = condition(before, name), condition(after, name)
        if new and (new["status"], new["reason"]) != (old.get("status"), old.get("reason")):
            yield Event(NORMAL if new["status"] == "True" else WARNING, new["reason"], new["message"])
