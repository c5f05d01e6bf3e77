"""What can go wrong between the operator and the API server, or a worker.

    OperatorError
    ├── NoCluster         neither a service account nor a kubeconfig; ends the process at its start
    ├── Unreachable       no answer of the API server: it is away, hangs, is cut off, or something else answers for it
    ├── Refused           an answer that says no; status and message of the API server
    │   ├── NotFound      404
    │   ├── Conflict      409: somebody wrote in between
    │   └── Invalid       422: the object as it would become isn't valid
    ├── Stale             our own reading is older than what an operator has already acted on
    ├── UnreadableSpec    a stored spec that this version can't parse (an older or newer CRD)
    └── NoScores          a worker didn't score; its code and message, for the gate to tell what that means

Each is raised where it is known. The loop that takes keys from the queue meets Unreachable, Refused and Stale: it
retries. What a reconcile makes of an UnreadableSpec stands in the status; NoScores ends at the judge, as a verdict or
another try.
"""

from typing import Any


def cause(error: Exception) -> str:
    """What an exception says; its type where it says nothing, as a timeout does."""
    return str(error) or type(error).__name__


class OperatorError(Exception):
    """Anything that a later attempt may overcome."""

    #: Whether the API server itself is in trouble, which the other models meet as well.
    outage = False


class NoCluster(OperatorError):
    """Nothing says where the API server is."""


class Unreachable(OperatorError):
    """No answer of the API server came."""

    outage = True


class Refused(OperatorError):
    """The API server answered with an error."""

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"{what}: {status}: {message}")
        self.status = status
        self.message = message
        # 429: more is asked of it than it takes on, by whomever.
        self.outage = status >= 500 or status == 429


class NotFound(Refused):
    """There is no such object, or no such API."""


class Conflict(Refused):
    """The object was written since it was read, so this write was decided on old news."""


class Invalid(Refused):
    """The object as it would become breaks a rule."""


class Stale(OperatorError):
    """A child was written for a newer generation than was read."""


class UnreadableSpec(OperatorError):
    """The spec doesn't parse; holds the resource as it was read, for the status to say so."""

    def __init__(self, live: dict[str, Any], message: str) -> None:
        super().__init__(message)
        self.live = live
        self.message = message


class NoScores(OperatorError):
    """A worker gave no scores; `code` is its own reason, "" where it didn't answer or not as a worker does."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
