"""What kopf tells us: which model a watch event is about. Event handlers only, which write nothing to any object."""

from collections.abc import Callable, Iterator
from typing import Any

import kopf

from reranker_operator import api
from reranker_operator.objects.ownership import controller
from reranker_operator.resources.adapter_kind import ADAPTER_PLURAL
from reranker_operator.resources.v1alpha1 import GROUP, KIND, PLURAL, VERSION
from reranker_operator.world import names
from reranker_operator.world.adapter_resource import model_of
from reranker_operator.world.names import Document, Key

#: Called with the resource's plural and the model that the event is about.
Notify = Callable[[str, Key], None]

OWNED = (
    ("", "v1", "configmaps"),
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("apps", "v1", "deployments"),
    ("apps", "v1", "controllerrevisions"),
    ("policy", "v1", "poddisruptionbudgets"),
)


class Endless:
    """Backoffs in seconds for ever: the API server may be away for any time."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.25, 0.5, 1.0)
        while True:
            yield 2.0


def registry(notify: Notify) -> kopf.OperatorRegistry:
    """Handlers for the models, the adapters that name them, and everything that they own."""
    handlers = kopf.OperatorRegistry()
    kopf.on.login(registry=handlers)(_login)

    async def model_changed(body: kopf.Body, **_: Any) -> None:
        notify(PLURAL, Key(body["metadata"]["namespace"], body["metadata"]["name"]))

    async def adapter_changed(body: kopf.Body, **_: Any) -> None:
        model = model_of(dict(body))
        if model is not None:
            notify(ADAPTER_PLURAL, Key(*model))

    kopf.on.event(GROUP, VERSION, PLURAL, id="model", registry=handlers)(model_changed)
    kopf.on.event(GROUP, VERSION, ADAPTER_PLURAL, id="adapter", registry=handlers)(adapter_changed)
    for group, version, plural in OWNED:
        _watch_owned(handlers, notify, group, version, plural)
    return handlers


def _watch_owned(handlers: kopf.OperatorRegistry, notify: Notify, group: str, version: str, plural: str) -> None:
    async def owned_changed(body: kopf.Body, **_: Any) -> None:
        key = owner_key(dict(body))
        if key is not None:
            notify(plural, key)

    kopf.on.event(group, version, plural, id=plural, registry=handlers)(owned_changed)


def owner_key(live: Document) -> Key | None:
    """The model that an object belongs to: by its controller, else (a pod, or an edited child) by its label."""
    metadata = live["metadata"]
    owner = controller(live)
    if owner is not None and owner["kind"] == KIND:
        return Key(metadata["namespace"], owner["name"])
    name = (metadata.get("labels") or {}).get(names.MODEL_LABEL)
    return Key(metadata["namespace"], name) if name else None


def settings() -> kopf.OperatorSettings:
    """kopf as a watcher that never gives up and never writes."""
    tuned = kopf.OperatorSettings()
    tuned.posting.enabled = False
    tuned.peering.standalone = True
    tuned.scanning.disabled = True
    tuned.networking.request_timeout = 30
    tuned.networking.connect_timeout = 10
    tuned.networking.error_backoffs = Endless()
    tuned.watching.connect_timeout = 10
    tuned.watching.server_timeout = 300
    tuned.watching.client_timeout = 330
    tuned.watching.inactivity_timeout = 70
    # kopf would kill the whole process this long after one of its runs ended; we begin another run.
    tuned.process.ultimate_exiting_timeout = None
    for resource in OWNED:
        tuned.watching.label_selectors[resource] = f"app.kubernetes.io/managed-by={names.MANAGER}"
    return tuned


async def _login(**_: Any) -> kopf.ConnectionInfo:
    # Not kopf's own: that goes by the cluster's DNS name, which a cluster without DNS doesn't resolve.
    found = await api.configuration()
    scheme, _, token = found.api_key.get("BearerToken", "").partition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=scheme or None,
        token=token or None,
    )
