"""Collections of cyclic garbage pause while modules are imported, and begin again whoever else imports."""

import gc
from contextlib import ExitStack

import pytest

from reranker_worker.collecting import uncollected


def test_nothing_is_collected_meanwhile_and_everything_is_as_before_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_import_that_fails_leaves_collections_on() -> None:
    with pytest.raises(ModuleNotFoundError), uncollected():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_imports_that_overlap_leave_collections_on() -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(uncollected())
    second.enter_context(uncollected())
    first.close()
    second.close()
    assert gc.isenabled()


def test_where_collections_are_off_they_stay_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
