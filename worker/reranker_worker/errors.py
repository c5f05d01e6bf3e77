"""The worker's error tree. No I/O.

WorkerError                 reason (CamelCase), message
├── SourceError             an artifact can't be had                       fetcher → /state
├── CheckpointError         a model's files can't be served                loading → /state
├── AdapterError            an adapter's files can't be served             adapters → /state
├── DeviceFault             the accelerator isn't there, or is lost        engine → the process ends
├── ManifestError           the serving manifest can't be read             manifest → /state
├── FlagError               a flag can't be followed                       __main__ → exit code 2
└── RequestError            status: HTTP code                              routes → response
    ├── InvalidRequest      400
    ├── Unauthorized        401
    ├── NotFound            404  a model or adapter by that name isn't served here
    ├── MethodNotAllowed    405
    ├── BodyTooSlow         408
    ├── RevisionUnknown     409  the pinned revision has never been served here
    ├── RevisionGone        410  the pinned revision isn't served here any more
    ├── TooLarge            413
    ├── Overloaded          429  retry_after_s
    ├── LoadFailed          502  the model's files can't be served; waiting doesn't help
    ├── NotReady            503  retry_after_s
    ├── DeadlineExceeded    504
    └── ScoringFailed       500  this pair or request can't be scored
(Overloaded and NotReady share RetryableRequestError.)
"""

from typing import ClassVar


class WorkerError(Exception):
    """A failure with a reason that machines match and a message that a person can act on."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class SourceError(WorkerError):
    """An artifact can't be fetched or doesn't match its digest."""


class CheckpointError(WorkerError):
    """A model's files can't be served."""


class AdapterError(WorkerError):
    """An adapter's files can't be served on this model."""


class DeviceFault(WorkerError):
    """The device isn't there, or it or its thread is lost; only a new process can score again."""


class ManifestError(WorkerError):
    """A serving manifest can't be read."""


class FlagError(WorkerError):
    """A flag asks for what can't be had on this machine, or not together with another one."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidFlag", message)


class RequestError(WorkerError):
    """A client's request is refused; `status` is the HTTP code."""

    status: ClassVar[int] = 500

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(type(self).__name__, message)
        self.param = param


class InvalidRequest(RequestError):
    """The request itself is wrong."""

    status = 400


class Unauthorized(RequestError):
    """The request carries none of the keys that this worker accepts."""

    status = 401


class NotFound(RequestError):
    """No model or adapter by that name is served here."""

    status = 404


class MethodNotAllowed(RequestError):
    """The path is served, but not by this method."""

    status = 405


class BodyTooSlow(RequestError):
    """The body didn't arrive in time."""

    status = 408


class RevisionUnknown(RequestError):
    """The client pins a revision that has never been served here."""

    status = 409


class RevisionGone(RequestError):
    """The client pins a revision that isn't served here any more."""

    status = 410


class TooLarge(RequestError):
    """The body exceeds the configured size."""

    status = 413


class RetryableRequestError(RequestError):
    """Refused for now; the same request may succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(RetryableRequestError):
    """The queue holds as many tokens as it may."""

    status = 429


class LoadFailed(RequestError):
    """The model that this worker is to serve can't be loaded."""

    status = 502


class NotReady(RetryableRequestError):
    """No admitted revision is loaded yet."""

    status = 503


class DeadlineExceeded(RequestError):
    """The request's deadline passed before it was scored."""

    status = 504


class ScoringFailed(RequestError):
    """This request can't be scored: its scores aren't finite in fp32 either, or it doesn't fit the device."""

    status = 500
