"""The API server: one model, its children and ControllerRevisions, written only over the version that was seen."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reranker_operator.decisions.rollout import wanted_model
from reranker_operator.objects import history, serving
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.world import names
from reranker_operator.world.actions import Action, Announce, Apply, Forget, Record, Remove, Resize
from reranker_operator.world.adapter_resource import AdapterResource
from reranker_operator.world.names import Document, Key
from reranker_operator.world.state import DEPLOYMENTS, Kind, Model, Past
from tests.unit.operator.simulation import sources
from tests.unit.operator.simulation.pods import WorkerPod

KEY = Key("search", "bge")
UID = "uid-1"


class Conflict(Exception):
    """A write over another version than there is: here nobody but the operator writes between its look and its act."""


@dataclass
class Cluster:
    """All that the API server has; `say` takes a line for the log."""

    say: Callable[[str], None]
    spec: RerankerModelSpec = field(init=False)
    generation: int = 0
    status: Document = field(default_factory=dict)
    children: dict[Kind, Document] = field(default_factory=dict)
    revisions: list[Document] = field(default_factory=list)
    adapters: list[AdapterResource] = field(default_factory=list)
    pods: list[WorkerPod] = field(default_factory=list)
    short_names: dict[str, str] = field(default_factory=dict)
    _version: int = 10
    _model_version: str = "10"

    @property
    def model(self) -> Model:
        return Model(KEY, UID, self.generation, self._model_version, self.spec, status=self.status)

    @property
    def manifest(self) -> str | None:
        """The text of the ConfigMap that pods mount."""
        live = self.children.get(Kind.CONFIG_MAP)
        return str(live["data"][names.MANIFEST_KEY]) if live is not None else None

    @property
    def past(self) -> tuple[Past, ...]:
        found = (history.past(live, UID) for live in self.revisions)
        return tuple(each for each in found if each is not None)

    def short(self, revision: str | None) -> str:
        """The name of a revision's source, which a person reads more easily."""
        return self.short_names.get(revision or "", revision or "nothing")

    def edit(self, spec: Document) -> None:
        """Write the spec, as a user does."""
        self.spec = RerankerModelSpec.model_validate(spec)
        self.generation += 1
        self._model_version = self._next_version()
        engine = f" at {self.spec.engine.max_length}" if spec.get("engine") else ""
        self.short_names[wanted_model(self.model).revision] = f"{sources.name_of(self.spec.source.uri)}{engine}"
        self.say(f"EDIT {json.dumps(spec)}")

    def write_status(self, version: str, patch: Document) -> None:
        """Merge into the status; raises Conflict."""
        if version != self._model_version:
            raise Conflict(f"the model is at version {self._model_version}")
        self.status = _merged(self.status, _plain(patch))
        self._model_version = self._next_version()

    def execute(self, action: Action) -> None:
        """Carry out one write; raises Conflict."""
        match action:
            case Apply():
                self._apply(action)
            case Resize():
                self._resize(action)
            case Remove():
                self._check(self.children[action.kind], action.resource_version)
                self.delete(action.kind)
            case Announce():
                self._announce(action)
            case Record():
                self._record(action)
            case Forget():
                self._forget(action)
        self.say(f"  write: {action.detail}")

    def delete(self, kind: Kind) -> None:
        """Delete a child; the garbage collector ends a Deployment's pods by way of its controller."""
        del self.children[kind]

    def _apply(self, action: Apply) -> None:
        old, body = self.children.get(action.kind), _plain(action.body)
        self._check(old, action.resource_version)
        version = self._next_version()
        before: Document = old["metadata"] if old is not None else {"uid": f"uid-{version}", "generation": 0}
        changed = old is None or old.get("spec") != body.get("spec")
        kept = {"uid": before["uid"], "generation": before["generation"] + changed, "resourceVersion": version}
        status = {"status": old["status"]} if old is not None and "status" in old else {}
        self.children[action.kind] = {**body, "metadata": {**body["metadata"], **kept}, **status}

    def _resize(self, action: Resize) -> None:
        live, body = self.children[action.kind], _plain(action.body)
        self._check(live, body["metadata"].pop("resourceVersion", live["metadata"]["resourceVersion"]))
        merged = _merged(live, body)
        stamped = {"generation": live["metadata"]["generation"] + 1, "resourceVersion": self._next_version()}
        self.children[action.kind] = {**merged, "metadata": {**merged["metadata"], **stamped}}

    def _announce(self, action: Announce) -> None:
        assert serving.manifest(action.manifest) is not None, action.manifest
        for pod in self.pods:
            if pod.name == action.pod:
                pod.annotation = action.manifest

    def _record(self, action: Record) -> None:
        old = next((live for live in self.revisions if live["metadata"]["name"] == action.name), None)
        self._check(old, action.resource_version)
        version, body = self._next_version(), _plain(action.body)
        assert old is None or old["data"] == body["data"], f"the data of ControllerRevision {action.name} can't change"
        metadata = {**body["metadata"], "uid": old["metadata"]["uid"] if old else version, "resourceVersion": version}
        others = [live for live in self.revisions if live is not old]
        self.revisions = [*others, {"metadata": metadata, "data": body["data"], "revision": body["revision"]}]

    def _forget(self, action: Forget) -> None:
        old = next(live for live in self.revisions if live["metadata"]["name"] == action.name)
        self._check(old, action.resource_version)
        self.revisions = [live for live in self.revisions if live is not old]

    def _check(self, live: Document | None, version: str) -> None:
        found = live["metadata"]["resourceVersion"] if live is not None else ""
        if version != found:
            raise Conflict(f"version {version or 'none'} was seen, it is at {found or 'none'}")

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)


def deployments(cluster: Cluster) -> list[Kind]:
    """The kinds of the Deployments that there are."""
    return [kind for kind in DEPLOYMENTS.values() if kind in cluster.children]


def _plain(body: Document) -> Document:
    """A copy of its own, as one that went over the wire."""
    copied: Document = json.loads(json.dumps(body))
    return copied


def _merged(before: Document, patch: Document) -> Document:
    """The document with a JSON merge patch (RFC 7386) applied."""
    after: dict[str, Any] = dict(before)
    for member, value in patch.items():
        if value is None:
            after.pop(member, None)
        elif isinstance(value, dict):
            old = after.get(member)
            after[member] = _merged(old if isinstance(old, dict) else {}, value)
        else:
            after[member] = value
    return after
