"""Which keys a model's clients have to send. No I/O."""

from typing import Annotated

from pydantic import Field

from reranker_operator.resources.schema import Schema
from reranker_operator.resources.sources import SecretRef

#: The one key of the Secret that is read: it opts in by having it.
SECRET_KEY = "API_KEYS"  # noqa: S105 - a name


class ApiKeys(Schema):
    """Keys of which clients have to send one."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description=f"The Secret whose `{SECRET_KEY}` holds the keys, one a line; an edit of it restarts no pod."
        ),
    ]
