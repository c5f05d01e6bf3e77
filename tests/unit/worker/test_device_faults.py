"""What a device's errors are taken for: a lack of memory, a lost device, or a mistake of the batch alone."""

import pytest
import torch

from reranker_worker import device_faults


def accelerator_error(code: int, words: str) -> torch.AcceleratorError:
    error = torch.AcceleratorError(f"CUDA error: {words}")
    error.error_code = code  # type: ignore[attr-defined]  # torch sets it where it translates CUDA's own
    return error


ILLEGAL_ACCESS = accelerator_error(700, "an illegal memory access was encountered")
NO_MEMORY = {
    "torch's allocator": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "pinned memory": accelerator_error(2, "out of memory"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "the CPU's allocator": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
}
OTHERS = {"a lost device": ILLEGAL_ACCESS, "a wrong shape": RuntimeError("mat1 and mat2 shapes cannot be multiplied")}


def raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", NO_MEMORY.values(), ids=NO_MEMORY)
def test_a_lack_of_memory_is_told(error: RuntimeError) -> None:
    assert device_faults.in_memory(lambda: raises(error)) is None


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_another_error_is_no_lack_of_memory(error: RuntimeError) -> None:
    with pytest.raises(type(error)) as raised:
        device_faults.in_memory(lambda: raises(error))
    assert raised.value is error
