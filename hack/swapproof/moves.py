"""Which moves the proof makes, drawn in random order from a table. No I/O.

A new strategy or a new sort of edit is one more row of KINDS.
"""

from collections import Counter
from dataclasses import dataclass
from random import Random

from hack.swapproof.wanted import BLUE_GREEN, IN_PLACE, OWNED_ADAPTERS, ROLL, Wanted

ADD, CHANGE, REMOVE = "add", "change", "remove"
REVERSED, HEADLESS = "reversed", "headless"  # candidates that rank badly, or can't be loaded

MODELS = ("first", "second", "third")
ADAPTERS = {
    "legal": ("legal-1", "legal-2"),
    "news": ("news-1", "news-2"),
    "tax": ("tax-1", "tax-2"),
}  # each name's folders
START = Wanted(MODELS[0], (("legal", "legal-1"),))

OPERATOR_KILLED, POD_DELETED, PODS_EVICTED = "operator killed", "pod deleted", "pods evicted"
DISTURBANCES = (OPERATOR_KILLED, POD_DELETED, PODS_EVICTED)
TAKES_A_POD = (POD_DELETED, PODS_EVICTED)
LATEST_DISTURBANCE_S = 4.0  # after the edit: before a roll's surge pod serves


@dataclass(frozen=True)
class Kind:
    """A sort of move."""

    name: str
    strategy: str = ""  # how the model is swapped; empty: it stays
    adapter: str = ""  # ADD, CHANGE or REMOVE
    owned: bool = False  # the adapter is a RerankerAdapter
    overtaken: bool = False  # the edit is overtaken at once by one that asks for another model
    refused: str = ""  # the candidate that must be turned away
    cards: int = 1  # how often it lies in the deck; a roll takes ten times as long as what is done in place

    def possible(self, wanted: Wanted) -> bool:
        """Tell whether there is an adapter to add, change or remove."""
        return not self.adapter or bool(self.names(wanted))

    def names(self, wanted: Wanted) -> list[str]:
        """Return the adapters that this could be done to."""
        return [
            name
            for name in ADAPTERS
            if (name in OWNED_ADAPTERS) == self.owned and (name in wanted.names) == (self.adapter != ADD)
        ]


KINDS = (
    Kind("roll", ROLL),
    Kind("roll, adapter added", ROLL, ADD),
    Kind("roll, adapter changed", ROLL, CHANGE),
    Kind("roll, adapter removed", ROLL, REMOVE),
    Kind("roll overtaken by the next", ROLL, overtaken=True),
    Kind("roll refused by the gate", ROLL, refused=REVERSED),
    Kind("blue/green", BLUE_GREEN, cards=2),
    Kind("blue/green, adapter added", BLUE_GREEN, ADD),
    Kind("blue/green, adapter changed", BLUE_GREEN, CHANGE),
    Kind("blue/green, adapter removed", BLUE_GREEN, REMOVE),
    Kind("blue/green overtaken by the next", BLUE_GREEN, overtaken=True),
    Kind("blue/green refused by the gate", BLUE_GREEN, refused=REVERSED),
    Kind("in place", IN_PLACE, cards=5),
    Kind("in place, adapter added", IN_PLACE, ADD),
    Kind("in place, adapter changed", IN_PLACE, CHANGE),
    Kind("in place, adapter removed", IN_PLACE, REMOVE),
    Kind("in place, adapter resource changed", IN_PLACE, CHANGE, owned=True, cards=2),
    Kind("in place overtaken by the next", IN_PLACE, overtaken=True, cards=2),
    Kind("in place refused by the gate", IN_PLACE, refused=REVERSED),
    Kind("in place that can't be loaded", IN_PLACE, refused=HEADLESS),
    Kind("adapter added", adapter=ADD, cards=3),
    Kind("adapter changed", adapter=CHANGE, cards=5),
    Kind("adapter removed", adapter=REMOVE, cards=3),
    Kind("adapter resource added", adapter=ADD, owned=True, cards=3),
    Kind("adapter resource changed", adapter=CHANGE, owned=True, cards=4),
    Kind("adapter resource removed", adapter=REMOVE, owned=True, cards=2),
)


@dataclass(frozen=True)
class Disturbance:
    """What happens beside a move, so many seconds after its edit."""

    name: str
    after_s: float


@dataclass(frozen=True)
class Move:
    """One edit of the resource, or two in a row, and what has to serve in the end."""

    kind: str
    strategy: str
    before: Wanted
    edits: tuple[Wanted, ...]
    after: Wanted
    disturbance: Disturbance | None = None

    @property
    def is_swap(self) -> bool:
        """Tell whether something else serves afterwards."""
        return self.after != self.before

    @property
    def refused(self) -> bool:
        """Tell whether what the edit asks for must be turned away."""
        return not self.is_swap

    @property
    def never(self) -> tuple[str, ...]:
        """Return the models that are asked for and must not answer."""
        return tuple(edit.model for edit in self.edits if edit.model not in (self.before.model, self.after.model))


def plan(seed: int, swaps: int, disturbed: float = 0.0) -> list[Move]:
    """Return moves with so many swaps; `disturbed` is the share of them that something happens beside."""
    random = Random(seed)
    moves: list[Move] = []
    wanted = START
    tried: Counter[str] = Counter()
    deck: list[Kind] = []
    while sum(move.is_swap for move in moves) < swaps:
        kind = next((kind for kind in deck if kind.possible(wanted)), None)
        if kind is None:
            deck += _shuffled(random)
            continue
        deck.remove(kind)
        moves.append(_move(kind, wanted, random, tried, disturbed))
        wanted = moves[-1].after
    return moves


def refused_folders(moves: list[Move]) -> list[str]:
    """Return the folders of the candidates that are to be turned away."""
    return [edit.model for move in moves if move.refused for edit in move.edits]


def _shuffled(random: Random) -> list[Kind]:
    """Return a deck in an order that nobody chose; with deck after deck, every kind comes."""
    deck = [kind for kind in KINDS for _ in range(kind.cards)]
    random.shuffle(deck)
    return deck


def _move(kind: Kind, wanted: Wanted, random: Random, tried: Counter[str], disturbed: float) -> Move:
    happens = _disturbance(random, disturbed)
    strategy = kind.strategy or random.choice((ROLL, IN_PLACE, BLUE_GREEN))
    if kind.refused:
        # A candidate that was refused isn't tried again, so each one is a folder of its own.
        tried[kind.refused] += 1
        candidate = wanted.with_model(f"{kind.refused}-{tried[kind.refused]}")
        return Move(kind.name, strategy, wanted, (candidate,), wanted, happens)
    target = wanted
    if kind.strategy:
        others = [model for model in MODELS if model != wanted.model]
        random.shuffle(others)
        target = wanted.with_model(others[0])
    target = _with_adapters(kind, target, random)
    edits = (wanted.with_model(others[1]), target) if kind.overtaken else (target,)
    return Move(kind.name, strategy, wanted, edits, target, happens)


def _disturbance(random: Random, share: float) -> Disturbance | None:
    name, after_s = random.choice(DISTURBANCES), round(random.uniform(0, LATEST_DISTURBANCE_S), 2)
    return Disturbance(name, after_s) if random.random() < share else None


def _with_adapters(kind: Kind, wanted: Wanted, random: Random) -> Wanted:
    if not kind.adapter:
        return wanted
    name = random.choice(kind.names(wanted))
    match kind.adapter:
        case "add":
            return wanted.with_adapter(name, random.choice(ADAPTERS[name]))
        case "change":
            (other,) = (folder for folder in ADAPTERS[name] if folder != wanted.folder(name))
            return wanted.with_adapter(name, other)
        case _:
            return wanted.without(name)
