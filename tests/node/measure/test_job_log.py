"""The job log: nothing that was synced is lost, whatever byte a crash cut; damage is never taken for a crash."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import Overloaded, StorageFailure
from meridian.node.measure.job_log import Frame, JobLog

PAYLOADS = [b"first", b"", b"x" * 300, b"MJL2" * 20, b"last"]
BIG = 1 << 30


def written(directory: Path, *, sync_each: bool = True) -> list[Frame]:
    """Write the payloads and return them as recovered."""
    log = JobLog(directory, BIG)
    assert list(log.recover()) == []
    for kind, payload in enumerate(PAYLOADS):
        log.append(kind, payload)
        if sync_each:
            log.sync()
    log.sync()
    log.close()
    return recovered(directory)


def recovered(directory: Path) -> list[Frame]:
    log = JobLog(directory, BIG)
    try:
        return list(log.recover())
    finally:
        log.close()


def test_what_is_appended_is_read_back_and_goes_on(tmp_path: Path) -> None:
    frames = written(tmp_path)
    assert [(frame.kind, frame.payload) for frame in frames] == list(enumerate(PAYLOADS))
    log = JobLog(tmp_path, BIG)
    assert list(log.recover()) == frames
    ref = log.append(9, b"more")
    log.sync()
    assert [log.read(frame.ref) for frame in frames] == frames
    assert log.read(ref).payload == b"more"
    log.close()
    assert len(recovered(tmp_path)) == len(PAYLOADS) + 1


def test_a_file_cut_at_any_byte_keeps_all_whole_frames_and_accepts_more(tmp_path: Path) -> None:
    frames = written(tmp_path / "whole")
    data = (tmp_path / "whole" / "jobs-00000000.log").read_bytes()
    starts = [frame.ref.offset for frame in frames] + [len(data)]
    for size in range(len(data)):
        directory = tmp_path / str(size)
        directory.mkdir()
        (directory / "jobs-00000000.log").write_bytes(data[:size])
        kept = recovered(directory)
        assert kept == frames[: sum(start <= size for start in starts[1:])]
        log = JobLog(directory, BIG)
        list(log.recover())
        log.append(7, b"after the crash")
        log.sync()
        log.close()
        assert [frame.payload for frame in recovered(directory)] == [
            *(frame.payload for frame in kept),
            b"after the crash",
        ]


def test_a_flipped_bit_in_front_of_synced_frames_stops_the_start(tmp_path: Path) -> None:
    frames = written(tmp_path)
    path = tmp_path / "jobs-00000000.log"
    data = path.read_bytes()
    for at in range(frames[-1].ref.offset):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(StorageFailure, match="damaged"):
            recovered(tmp_path)


def test_frames_behind_a_torn_one_are_cut_too_if_no_sync_covered_it(tmp_path: Path) -> None:
    """One group: the kernel may have written the second frame and lost the first; neither was promised."""
    frames = written(tmp_path, sync_each=False)
    path = tmp_path / "jobs-00000000.log"
    data = bytearray(path.read_bytes())
    data[frames[2].ref.offset + 30] ^= 1
    path.write_bytes(bytes(data))
    assert recovered(tmp_path) == frames[:2]


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_garbage_behind_the_log_is_a_torn_tail(tail: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        frames = written(directory)
        with (directory / "jobs-00000000.log").open("ab") as file:
            file.write(tail)
        assert recovered(directory) == frames


def test_files_are_closed_when_long_and_a_closed_file_may_not_be_torn(tmp_path: Path) -> None:
    log = JobLog(tmp_path, BIG, file_bytes=100)
    list(log.recover())
    refs = []
    for at in range(10):
        if log.is_long:
            log.roll()
        refs.append(log.append(1, bytes([at]) * 60))
        log.sync()
    assert len(log.files) > 3
    assert [log.read(ref).payload[0] for ref in refs] == list(range(10))
    log.drop(log.files[0])
    log.close()
    left = recovered(tmp_path)
    assert [frame.payload[0] for frame in left] == list(range(10))[10 - len(left) :]
    closed = min(tmp_path.glob("jobs-*.log"))
    closed.write_bytes(closed.read_bytes()[:-1])
    with pytest.raises(StorageFailure, match="damaged"):
        recovered(tmp_path)


def test_the_log_has_a_bound(tmp_path: Path) -> None:
    log = JobLog(tmp_path, 1000, file_bytes=300)
    list(log.recover())
    with pytest.raises(Overloaded):
        for _ in range(100):
            log.append(1, b"x" * 100)
            if log.is_long:
                log.roll()
    log.drop(log.files[0])
    log.append(1, b"x" * 100)
    log.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    log = JobLog(tmp_path, BIG)
    with pytest.raises(StorageFailure, match="another process"):
        JobLog(tmp_path, BIG)
    log.close()
    JobLog(tmp_path, BIG).close()


def test_after_a_failed_write_nothing_is_written_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = JobLog(tmp_path, BIG)
    list(log.recover())
    log.append(1, b"kept")
    log.sync()

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    log.append(1, b"not promised")
    monkeypatch.setattr("os.fdatasync", refuse)
    with pytest.raises(StorageFailure, match="No space"):
        log.sync()
    monkeypatch.undo()
    for call in (log.sync, lambda: log.append(1, b"more")):
        with pytest.raises(StorageFailure, match="No space"):
            call()
    log.close()
