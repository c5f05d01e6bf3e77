"""Which precision a device gets, bf16 only where it is computed, not emulated; and what a batch's memory costs."""

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from reranker_worker import device
from reranker_worker.errors import CheckpointError, DeviceFault
from reranker_worker.serving import DType

AVX2 = "fpu sse2 avx2 fma"
AVX512 = f"{AVX2} avx512f avx512bw avx512vl avx512dq"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (AVX2, False),
        (f"{AVX2} avx512f avx512bw avx512vl avx512dq avx512_vnni", False),
        (f"{AVX512} avx512_bf16", True),
        (f"{AVX512} avx512_bf16 amx_bf16 amx_tile amx_int8", True),
        ("", False),
    ],
    ids=["AVX2", "AVX-512 without bf16", "AVX-512 with bf16", "AMX", "a kernel that lists no flags"],
)
def test_a_cpu_says_whether_it_computes_bf16(flags: str, expected: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    first = f"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: {flags}\nbugs\t\t:\n"
    cpuinfo.write_text(f"{first}\nprocessor\t: 1\nflags\t\t: fpu\n")
    found = device.cpu_flags(cpuinfo)
    assert found == {"GenuineIntel", *flags.split()}
    assert device.has_bf16_units(found) is expected


def test_a_kernel_without_flags_is_one_without_units(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert device.cpu_flags(cpuinfo) == frozenset()


@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        ("auto", AVX2, torch.float32),
        ("auto", f"AuthenticAMD {AVX512} avx512_bf16", torch.bfloat16),
        ("auto", f"AuthenticAMD {AVX512} avx512_bf16 avx512_fp16", torch.bfloat16),
        ("auto", f"GenuineIntel {AVX512} avx512_bf16", torch.bfloat16),
        ("auto", f"GenuineIntel {AVX512} avx512_bf16 avx512_fp16 amx_bf16", torch.bfloat16),
        ("auto", f"GenuineIntel {AVX512} avx512_bf16 avx512_fp16", torch.float32),
        ("float32", f"{AVX512} amx_bf16", torch.float32),
        ("bfloat16", AVX2, torch.bfloat16),
        ("int8", AVX2, torch.float32),
        ("int8", f"GenuineIntel {AVX512} avx512_bf16 avx512_fp16", torch.bfloat16),
    ],
    ids=[
        *("auto without units", "auto on AMD", "auto on AMD with fp16", "auto on Cooper Lake", "auto with AMX"),
        *("auto where AMX is hidden", "asked for", "asked for where it is emulated"),
        *("what isn't in int8 without units", "what isn't in int8 with units"),
    ],
)
def test_auto_is_the_fastest_that_the_cpu_computes_itself(
    name: DType, flags: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cpu_flags", lambda: frozenset(flags.split()))
    assert device.resolve_dtype(name, torch.device("cpu")) is expected


@pytest.mark.parametrize(
    ("built_for", "devices", "name", "words"),
    [
        (None, 0, "cuda", "torch .* is built without CUDA"),
        ("13.0", 0, "cuda", "driver is new enough for CUDA 13.0, .* device plugin .* CUDA sees 0"),
        ("13.0", 1, "cuda:1", "--device=cuda:1: there is no such CUDA device; .* CUDA sees 1"),
    ],
    ids=["a build without", "a node without", "one too few"],
)
def test_a_gpu_that_is_asked_for_and_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, built_for: str | None, devices: int, name: str, words: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(DeviceFault, match=words) as refused:
        device.resolve_device(name)
    assert refused.value.reason == "DeviceUnavailable"


def test_a_gpu_is_taken_by_its_name_and_auto_is_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.resolve_device("auto") == torch.device("cuda")
    assert device.resolve_device("cuda:1") == torch.device("cuda:1")


def test_int8_is_refused_where_it_isnt_computed() -> None:
    with pytest.raises(CheckpointError, match="accepted on cuda: auto, float32, bfloat16, float16") as refused:
        device.resolve_dtype("int8", torch.device("cuda"))
    assert refused.value.reason == "UnsupportedDtype"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (AVX2, False),
        (AVX512, False),
        (f"{AVX2} avx_vnni", True),
        (f"{AVX512} avx512_vnni", True),
        (f"{AVX512} amx_bf16", False),
        (f"{AVX512} amx_int8", True),
        ("", False),
    ],
)
def test_a_cpu_says_whether_it_computes_int8(flags: str, *, expected: bool) -> None:
    assert device.has_int8_units(frozenset(flags.split())) is expected


def test_memory_that_torch_keeps_for_later_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [7000]
    monkeypatch.setattr(torch.cuda, "empty_cache", kept.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10_000 - sum(kept), 10_000))
    assert device.free_bytes(torch.device("cuda")) == 10_000


BATCHES = """
import resource, sys
import torch
from reranker_worker.device import keep_batch_memory

def batches():
    for _ in range(30):
        for tensor in [torch.empty(6 << 20, dtype=torch.int8) for _ in range(20)]:
            tensor.fill_(1)

if sys.argv[1] == "kept":
    keep_batch_memory()
batches()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batches()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other mallocs keep what they keep")
def test_the_memory_of_a_batch_is_kept_for_the_next() -> None:
    def faults(memory: str) -> int:
        # Left to itself glibc gives memory back or, where something else lies above it, by chance doesn't.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
        run = subprocess.run(
            [sys.executable, "-c", BATCHES, memory], env=environment, capture_output=True, check=True, text=True
        )
        return int(run.stdout)

    assert faults("kept") < faults("given back") / 10


OPENMP_THREADS = """
import os, sys, threading, time
import torch
from reranker_worker.device import on_passing_thread

def threads():
    return len(os.listdir("/proc/self/task"))

def in_parallel():
    torch.ones(1 << 22).exp_()
    return threads()

torch.set_num_threads(2)
before = threads()
most = on_passing_thread(in_parallel) if sys.argv[1] == "passing" else in_parallel()
end = time.monotonic() + 10
while sys.argv[1] == "passing" and threads() > before and time.monotonic() < end:
    time.sleep(0.01)
print(most - before, threads() - before)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="threads are counted in /proc")
@pytest.mark.parametrize(
    ("where", "most", "left"),
    [pytest.param("passing", 2, 0, id="itself and one more, both gone"), pytest.param("here", 1, 1, id="kept")],
)
def test_what_openmp_gave_a_passing_thread_ends_with_it(where: str, most: int, left: int) -> None:
    command = [sys.executable, "-c", OPENMP_THREADS, where]
    counted = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "2"}, capture_output=True, check=True)
    assert counted.stdout.split() == [b"%d" % most, b"%d" % left]


def test_what_is_raised_on_a_passing_thread_is_raised_to_who_asked() -> None:
    def refuse() -> None:
        raise CheckpointError("MissingHead", f"on {threading.current_thread().name}")

    with pytest.raises(CheckpointError, match="passing"):
        device.on_passing_thread(refuse)
