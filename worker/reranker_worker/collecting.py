"""When Python's cyclic garbage is collected: not while modules are imported or bodies parsed, never through modules."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing meanwhile: of an import, walking through a million objects that stay takes half the time.

    A hostile body is millions of small objects, too, none of which is garbage. Several threads may do so at once; the
    one that came first turns collections on again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep_for_good() -> None:
    """Leave what is in memory out of all later collections: a full one would walk through it while requests wait.

    Not once a model is loaded: of what is kept, nothing is ever freed by a collection.
    """
    gc.freeze()
