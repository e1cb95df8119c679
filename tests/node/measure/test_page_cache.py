"""What is durable leaves the page cache; what is read again is the same, also where a system takes no such advice."""

import ctypes
import mmap
import os
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from meridian.errors import StorageFailure
from meridian.node.durable_file import write_durably
from meridian.node.measure.job_log import FrameRef, JobLog, log_file
from meridian.node.measure.log_reader import LogReader
from meridian.node.measure.page_cache import forget_file

FRAMES = 60
_RANDOM = random.Random(56)
PAYLOADS = [_RANDOM.randbytes(_RANDOM.randrange(1, 400_000)) for _ in range(FRAMES)]
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk, and one whose pages nothing can drop."""
    if request.param == "disk":
        yield tmp_path
        return
    if not SHARED_MEMORY.is_dir():
        pytest.skip("there is no file system in memory here")
    with TemporaryDirectory(dir=SHARED_MEMORY) as name:
        yield Path(name)


def written(folder: Path, sync_every: int = 1) -> list[FrameRef]:
    log = JobLog(folder, 1 << 30, file_bytes=4 << 20)
    assert list(log.recover()) == []
    refs = []
    for number, payload in enumerate(PAYLOADS, 1):
        if log.is_long:
            log.roll()
        refs.append(log.append(1, payload[:7], payload[7:]))
        if number % sync_every == 0:
            log.sync()
    log.sync()
    assert [log.read(ref).payload for ref in refs] == PAYLOADS
    log.close()
    return refs


def cached_pages(path: Path) -> tuple[int, int]:
    """Return how many pages of a file are in the cache, and how many it has (mincore(2))."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as area:
        data = np.frombuffer(area, dtype=np.uint8)
        found = np.zeros(-(-len(data) // mmap.PAGESIZE), dtype=np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        where = [ctypes.c_void_p(array.ctypes.data) for array in (data, found)]
        assert libc.mincore(where[0], ctypes.c_size_t(len(data)), where[1]) == 0, ctypes.get_errno()
        del data
    return int((found & 1).sum()), len(found)


def on_a_disk(path: Path) -> None:
    """Skip where files are in memory only: there, nothing can leave it."""
    file = path / "probe"
    file.write_bytes(bytes(mmap.PAGESIZE))
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached_pages(file)[0]:
        pytest.skip("this file system keeps all pages in memory")


@pytest.mark.parametrize("sync_every", [1, 7])
def test_frames_are_read_in_any_order_after_their_pages_are_gone(
    folder: Path, sync_every: int
) -> None:
    refs = written(folder, sync_every)
    with LogReader(folder) as reader:
        forwards = [reader.read(ref).payload for ref in refs]
        backwards = [reader.read(ref, check=False).payload for ref in reversed(refs)]
    assert forwards == backwards[::-1] == PAYLOADS  # they stay good when the files are closed
    log = JobLog(folder, 1 << 30)
    assert [frame.payload for frame in log.recover()] == PAYLOADS
    more = log.append(2, b"more")
    log.sync()
    assert log.read(more).payload == b"more"
    log.close()


def test_neither_writer_nor_reader_leaves_pages_in_the_cache(tmp_path: Path) -> None:
    on_a_disk(tmp_path)
    log = JobLog(tmp_path / "log", 1 << 30)
    list(log.recover())
    refs = []
    for payload in PAYLOADS:
        refs.append(log.append(1, payload))
        log.sync()
    path = log_file(tmp_path / "log", 0)
    cached, pages = cached_pages(path)
    assert pages > 2_000
    assert cached < pages // 20, "what is durable has left the cache"
    with LogReader(tmp_path / "log") as reader:
        for ref in refs:
            reader.read(ref)
    assert cached_pages(path)[0] < pages // 20, "what was read has left it too"
    log.close()


def test_a_file_that_is_forgotten_leaves_the_cache_and_one_that_is_not_there_is_no_matter(
    tmp_path: Path,
) -> None:
    on_a_disk(tmp_path)
    path = tmp_path / "segment"
    data = b"".join(PAYLOADS[:8])
    write_durably(path, data)
    assert cached_pages(path)[0] > 1
    forget_file(path)
    forget_file(tmp_path / "another")
    assert cached_pages(path)[0] <= 1
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["refused", "unknown"])
def test_a_system_that_does_not_take_the_advice_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(22, "Invalid argument")

    if kind == "refused":
        monkeypatch.setattr("os.posix_fadvise", refuse)
    else:
        monkeypatch.delattr("os.posix_fadvise")
    refs = written(tmp_path)
    with LogReader(tmp_path) as reader:
        assert [reader.read(ref).payload for ref in refs] == PAYLOADS


def test_a_file_that_was_cut_under_its_readers_is_an_error_and_no_signal(tmp_path: Path) -> None:
    refs = written(tmp_path)
    log = JobLog(tmp_path, 1 << 30)
    list(log.recover())
    with LogReader(tmp_path) as reader:
        reader.read(refs[0])
        os.truncate(log_file(tmp_path, 0), refs[1].offset + 100)
        for read in (log.read, reader.read):
            assert read(refs[0]).payload == PAYLOADS[0]
            with pytest.raises(StorageFailure, match="damaged at byte"):
                read(refs[1])
    log.close()
