"""What a client library is to these tests: one ranking, and what its users see when they are refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal

Refusal = Literal["bad request", "unknown model", "overload", "cold start"]

#: Document number and score, best first.
Ranking = list[tuple[int, float]]


@dataclass(frozen=True)
class Ask:
    """One ranking that is asked of a client."""

    url: str
    key: str
    model: str
    query: str
    documents: Sequence[str]

    def but(self, **changes: str) -> "Ask":
        """Return the same with other members."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Raises:
    """The client gives up with this error; its users know it by class, and read `says` in it."""

    error: type[BaseException]
    says: str = ""


@dataclass(frozen=True)
class Waits:
    """The client asks again until it is answered."""


@dataclass(frozen=True)
class NotMet:
    """This can't happen to the client's users."""

    reason: str


@dataclass(frozen=True)
class Where:
    """A worker, and the key that it wants."""

    url: str
    key: str


@dataclass(frozen=True)
class Lister:
    """A client library that lists what is served; `adapters` says whether it tells of those, too."""

    name: str
    package: str
    names: Callable[[Where], list[str]]
    adapters: bool = False

    @property
    def label(self) -> str:
        """Return the name with the version that is installed."""
        return f"{self.name}, {self.package} {version(self.package)}"


@dataclass(frozen=True)
class Client:
    """A client library as its users call it.

    sends_model: whether a user can name a model, and with it an adapter.
    """

    name: str
    package: str
    rank: Callable[[Ask], Ranking]
    refusals: Mapping[Refusal, Raises | Waits | NotMet]
    sends_model: bool = True

    @property
    def label(self) -> str:
        """Return the name with the version that is installed."""
        return f"{self.name}, {self.package} {version(self.package)}"
