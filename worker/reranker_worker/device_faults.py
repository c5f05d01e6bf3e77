"""What a device's errors mean: that it has no memory for something, or that it is lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from reranker_worker.errors import DeviceFault

_T = TypeVar("_T")

_MEMORY_ALLOCATION = 2
"""cudaErrorMemoryAllocation: of what torch's allocator doesn't allocate, as pinned memory and kernels loaded late."""
_NO_ROOM = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What the CPU's allocator and cuBLAS say, which have no exceptions of their own."""


@contextmanager
def faults(device: torch.device) -> Iterator[None]:
    """Raise DeviceFault for what says that the device is lost, or hides that it is."""
    try:
        yield
    except torch.AcceleratorError as error:
        raise _lost(device, error) from error
    except RuntimeError:
        # Libraries on top of CUDA raise what is merely the first that they noticed.
        if device.type == "cuda":
            _check(device)
        raise


def _check(device: torch.device) -> None:
    """Raise DeviceFault where the device doesn't answer any more."""
    try:
        torch.cuda.synchronize(device)
    except torch.AcceleratorError as error:
        raise _lost(device, error) from error


def _lost(device: torch.device, error: torch.AcceleratorError) -> DeviceFault:
    return DeviceFault("DeviceFault", f"{device} is lost, the process must be replaced: {error}")


def in_memory(work: Callable[[], _T]) -> _T | None:
    """Return what comes of work, or None when the device has no memory for it."""
    try:
        return work()
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
    # Not in the handler: until it has ended, the traceback holds what the failed work had made.
    torch.cuda.empty_cache()
    return None


def lacks_memory(error: RuntimeError) -> bool:
    """Tell whether all that was wrong is that the device, or the memory that it copies from, has no room."""
    if isinstance(error, torch.AcceleratorError):
        return getattr(error, "error_code", None) == _MEMORY_ALLOCATION
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_ROOM)
