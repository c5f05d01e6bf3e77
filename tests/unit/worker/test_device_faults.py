"""What a device's errors are taken for: a lack of memory, a lost device, or a mistake of the batch alone."""

import weakref
from collections.abc import Callable

import pytest
import torch

from reranker_worker import device_faults
from reranker_worker.errors import DeviceFault


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


def test_what_the_failed_work_had_made_is_gone_before_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    left: list[bool] = []

    def work() -> None:
        states = torch.zeros(9)
        made.append(weakref.ref(states))
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(made[0]() is not None))
    assert device_faults.in_memory(work) is None
    assert left == [False]


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_another_error_is_no_lack_of_memory(error: RuntimeError) -> None:
    with pytest.raises(type(error)) as raised:
        device_faults.in_memory(lambda: raises(error))
    assert raised.value is error


CUDA = torch.device("cuda")
UNKNOWN = RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`")


@pytest.mark.parametrize(
    ("raised", "answer"),
    [
        pytest.param(ILLEGAL_ACCESS, lambda _: None, id="told"),
        pytest.param(UNKNOWN, lambda _: raises(ILLEGAL_ACCESS), id="hidden behind another error"),
    ],
)
def test_a_lost_device_is_told(
    monkeypatch: pytest.MonkeyPatch, raised: RuntimeError, answer: Callable[[torch.device], None]
) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", answer)
    with pytest.raises(DeviceFault, match=r"cuda is lost.*illegal memory access"), device_faults.faults(CUDA):
        raise raised


@pytest.mark.parametrize("device", [CUDA, torch.device("cpu")], ids=str)
def test_an_error_of_a_device_that_still_answers_is_the_batchs_own(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    with pytest.raises(RuntimeError) as raised, device_faults.faults(device):
        raise UNKNOWN
    assert raised.value is UNKNOWN
    assert asked == ([CUDA] if device is CUDA else [])
