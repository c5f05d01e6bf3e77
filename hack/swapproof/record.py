"""What a run of the proof leaves behind to be judged: steps, what was seen of the fleet, and facts about the run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter

from hack.stage.history import Request
from hack.swapproof.wanted import Serves

T = TypeVar("T")
HISTORY, MOVES, FLEET, FACTS = "history.jsonl", "moves.jsonl", "fleet.jsonl", "run.json"


@dataclass(frozen=True)
class Step:
    """A move as it went; times are seconds of the Unix clock."""

    number: int
    kind: str
    strategy: str
    disturbance: str
    pods_taken: bool
    before: Serves
    after: Serves
    never: tuple[str, ...]  # revisions that were asked for and may not answer
    began: float  # before `kubectl apply`
    ready: float  # when the resource was seen Ready with what serves afterwards
    settled: float  # when all replicas were there, too
    refused_generation: int = 0  # the generation that asked for what has to be refused

    @property
    def is_swap(self) -> bool:
        """Tell whether something else served afterwards."""
        return self.before != self.after


@dataclass(frozen=True)
class ModelSeen:
    """The RerankerModel at one moment."""

    time: float
    generation: int
    observed_generation: int
    ready_generation: int  # the generation that its condition Ready is true for; 0: not ready
    rejected: tuple[str, ...] = ()
    adapters: tuple[tuple[str, str], ...] = ()  # (name, revision) by name; no revision: not on every pod
    seen: Literal["model"] = "model"


@dataclass(frozen=True)
class AdapterSeen:
    """A RerankerAdapter at one moment."""

    time: float
    name: str
    generation: int
    ready_generation: int  # the generation that its condition Ready is true for; 0: not ready
    revision: str  # by its status
    seen: Literal["adapter"] = "adapter"


@dataclass(frozen=True)
class EndpointsSeen:
    """The Service's endpoints at one moment: how many pods clients are sent to."""

    time: float
    ready: int
    seen: Literal["endpoints"] = "endpoints"


@dataclass(frozen=True)
class ManifestSeen:
    """The serving manifest in its ConfigMap at one moment."""

    time: float
    generation: int
    admitted: tuple[str, ...]
    seen: Literal["manifest"] = "manifest"


Seen = ModelSeen | AdapterSeen | EndpointsSeen | ManifestSeen


@dataclass(frozen=True)
class Known:
    """The scores that transformers and PEFT give, for one revision with or without an adapter."""

    revision: str
    adapter: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Quiet:
    """A time without an edit, and how many writes the operator had sent before and after it."""

    began: float
    ended: float
    writes_before: int
    writes_after: int


@dataclass(frozen=True)
class Facts:
    """What else is known of a run."""

    seed: int
    swaps: int  # that were asked for
    rate: float
    replicas: int
    models: Mapping[str, str]  # folder by revision
    known: tuple[Known, ...]
    quiet: Quiet
    owned: tuple[str, ...]  # objects of the model before it was deleted
    leftovers: tuple[str, ...]  # and those of them that are there afterwards


@dataclass(frozen=True)
class Record:
    """A whole run."""

    requests: Sequence[Request]
    steps: Sequence[Step]
    fleet: Sequence[Seen]
    facts: Facts


_SEEN: TypeAdapter[Seen] = TypeAdapter(Annotated[Seen, Field(discriminator="seen")])
_STEP, _FACTS = TypeAdapter(Step), TypeAdapter(Facts)


def read(folder: Path) -> Record:
    """Read a run's files; `history.jsonl` is what the load wrote."""
    return Record(
        requests=[Request.parse(line) for line in (folder / HISTORY).read_text().splitlines()],
        steps=[_STEP.validate_json(line) for line in (folder / MOVES).read_text().splitlines()],
        fleet=[_SEEN.validate_json(line) for line in (folder / FLEET).read_text().splitlines()],
        facts=_FACTS.validate_json((folder / FACTS).read_text()),
    )


def write(folder: Path, steps: Iterable[Step], fleet: Iterable[Seen]) -> None:
    """Write what was done and seen."""
    _write_lines(folder / MOVES, _STEP, steps)
    _write_lines(folder / FLEET, _SEEN, fleet)


def write_facts(folder: Path, facts: Facts) -> None:
    """Write what is known when a run is over."""
    (folder / FACTS).write_bytes(_FACTS.dump_json(facts, indent=1))


def _write_lines(path: Path, adapter: TypeAdapter[T], rows: Iterable[T]) -> None:
    path.write_bytes(b"".join(adapter.dump_json(row) + b"\n" for row in rows))
