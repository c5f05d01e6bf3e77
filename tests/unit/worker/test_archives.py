"""Layers of images that are unpacked: what they may cost, and which can't be read."""

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching.archives import unpack
from reranker_worker.fetching.transfer import Transfer

MEBIBYTE = 1 << 20
WEIGHTS = b"weights " * 1000


def header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(format=tarfile.GNU_FORMAT)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def weights() -> bytes:
    return header("model.safetensors", tarfile.REGTYPE, len(WEIGHTS)) + padded(WEIGHTS) + bytes(2 * tarfile.BLOCKSIZE)


def pax_record(keyword: str, value: str) -> bytes:
    length = len(keyword) + len(value) + 3
    digits = next(digits for digits in range(1, 10) if len(str(length + digits)) == digits)
    return f"{length + digits} {keyword}={value}\n".encode()


def pax(kind: bytes, *, value: str, keyword: str = "comment") -> bytes:
    record = pax_record(keyword, value)
    return header("pax", kind, len(record)) + padded(record)


def long_name(size: int) -> bytes:
    return header("././@LongLink", tarfile.GNUTYPE_LONGNAME, size) + padded(b"x" * size)


def sparse_map() -> bytes:
    """Return the header of a sparse file whose map goes on for long."""
    first = bytearray(header("model.safetensors", tarfile.GNUTYPE_SPARSE, 0))
    first[482] = 1  # more of the map follows
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    return bytes(first) + (b"00000000001\0" * 42 + b"\1" + bytes(7)) * (16 * MEBIBYTE // tarfile.BLOCKSIZE)


def unpacked(content: bytes, tmp_path: Path) -> bytes:
    archive = tmp_path / "layer-0.tar"
    archive.write_bytes(content)
    unpack("oci://a/b", archive, tmp_path, Transfer())
    return (tmp_path / "model.safetensors").read_bytes()


@contextmanager
def taking_at_most(taken_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < taken_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "extension",
    [
        pytest.param(lambda: pax(tarfile.XHDTYPE, value="x" * 16 * MEBIBYTE), id="of one file"),
        pytest.param(lambda: pax(tarfile.XGLTYPE, value="x" * 16 * MEBIBYTE), id="of all files"),
        pytest.param(lambda: long_name(16 * MEBIBYTE), id="a long name"),
        pytest.param(lambda: 32 * pax(tarfile.XHDTYPE, value="x" * (MEBIBYTE // 2)), id="many"),
        pytest.param(sparse_map, id="a sparse file's map"),
    ],
)
def test_headers_that_would_take_memory_without_bound_are_refused(
    extension: Callable[[], bytes], tmp_path: Path
) -> None:
    layer = gzip.compress(extension() + weights(), compresslevel=1)
    assert len(layer) < MEBIBYTE
    with taking_at_most(6 * MEBIBYTE), pytest.raises(SourceError, match="can't be unpacked") as caught:
        unpacked(layer, tmp_path)
    assert caught.value.reason == "SourceNotFound"
    assert "headers of a file" in caught.value.message
    assert not (tmp_path / "model.safetensors").exists()


def test_a_layer_of_many_files_takes_no_more_memory_than_one_of_a_few(tmp_path: Path) -> None:
    files = [
        pax(tarfile.XGLTYPE, keyword=f"a{number}", value="x" * 2000) + header(f"usr/{number}", tarfile.REGTYPE, 0)
        for number in range(2000)
    ]
    layer = gzip.compress(b"".join(files) + weights(), compresslevel=1)
    with taking_at_most(6 * MEBIBYTE):
        assert unpacked(layer, tmp_path) == WEIGHTS


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "tar+gzip"])
def test_files_beside_large_ones_and_behind_long_names_are_unpacked(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    sizes = {
        f"{'deep/' * 100}file": 10,
        "usr/large": 3 * MEBIBYTE,
        "tokenizer.json": 3 * MEBIBYTE,
        "model.safetensors": 7,
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, size in sizes.items():
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    assert unpacked(pack(content.getvalue()), tmp_path) == bytes(7)
    assert (tmp_path / "tokenizer.json").stat().st_size == 3 * MEBIBYTE


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda layer: layer[: len(layer) // 2], id="cut off"),
        pytest.param(lambda layer: layer[:20] + bytes(20) + layer[40:], id="spoiled"),
        pytest.param(lambda _: b"neither", id="something else"),
    ],
)
def test_a_layer_that_is_no_archive_is_named(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="can't be unpacked") as caught:
        unpacked(spoil(gzip.compress(weights())), tmp_path)
    assert caught.value.reason == "SourceNotFound"
