"""When Python's cyclic garbage is collected: not while modules are imported or bodies parsed, never through modules."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Collect nothing meanwhile: walking through a million objects that stay takes half of an import's time.

    Several threads may do so at once; the one that came first turns collections on again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


#: The same for a body: a hostile one is millions of small objects, none of which is garbage.
parsing = importing


def keep_for_good() -> None:
    """Leave what is in memory out of all later collections: a full one would walk through it while requests wait.

    Not once a model is loaded: of what is kept, nothing is ever freed by a collection.
    """
    gc.freeze()
