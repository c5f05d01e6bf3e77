"""What a device's errors mean: that it has no memory for something, or that it is lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from reranker_worker.errors import DeviceFault

_T = TypeVar("_T")


@contextmanager
def faults(device: torch.device) -> Iterator[None]:
    """Raise DeviceFault for what says that the device is lost."""
    try:
        yield
    except torch.AcceleratorError as error:
        raise DeviceFault("DeviceFault", f"{device} is lost, the process must be replaced: {error}") from error


def in_memory(work: Callable[[], _T]) -> _T | None:
    """Return what comes of work, or None when the device has no memory for it."""
    try:
        return work()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
    except RuntimeError as error:
        # The CPU's allocator has no exception of its own.
        if "can't allocate memory" not in str(error):
            raise
    return None
