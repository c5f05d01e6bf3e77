"""What the fetcher's environment brings of a model's Secret, key by key. No I/O.

A Secret opts in by the names of its keys: whoever may create models can't read any other Secret by way of a pod.
"""

from collections.abc import Iterable

from reranker_operator.resources.sources import Source
from reranker_operator.world.names import Document

#: Environment variable by the Secret's key, where the two differ.
VARIABLES = {".dockerconfigjson": "DOCKER_AUTH_CONFIG"}
#: What a Secret must have to open a source of the scheme; without it the pod doesn't start, and says why.
REQUIRED = {
    "hf": ("HF_TOKEN",),
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "oci": (".dockerconfigjson",),
}
#: What it may have beside it, for the source or for adapters from elsewhere.
OPTIONAL = ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")


def variables(source: Source, given: Iterable[str]) -> list[Document]:
    """The variables that come from the source's Secret; those `given` by the installation stay as they are."""
    if source.secret_ref is None:
        return []
    required = REQUIRED.get(source.uri.partition("://")[0], ())
    known = (*(key for keys in REQUIRED.values() for key in keys), *OPTIONAL)
    fixed = set(given)
    return [
        _variable(source.secret_ref.name, key, required=key in required)
        for key in known
        if VARIABLES.get(key, key) not in fixed
    ]


def _variable(secret: str, key: str, *, required: bool) -> Document:
    reference: Document = {"name": secret, "key": key, **({} if required else {"optional": True})}
    return {"name": VARIABLES.get(key, key), "valueFrom": {"secretKeyRef": reference}}
