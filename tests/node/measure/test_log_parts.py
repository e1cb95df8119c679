"""A frame in many parts is the frame that its parts make together."""

from pathlib import Path

import pyarrow as pa

from meridian.measure.columns import DIGEST_TYPE
from meridian.node.measure.frames import BatchEntry, GroupFrame, Kind
from meridian.node.measure.job_log import JobLog


def test_more_parts_than_one_call_takes_are_written_whole_and_in_order(tmp_path: Path) -> None:
    log = JobLog(tmp_path, 1 << 20)
    assert list(log.recover()) == []
    parts = [bytes([number % 251]) * (number % 4) for number in range(5_000)]
    ref = log.append(Kind.CLOCK, *parts)
    log.sync()
    assert bytes(log.read(ref).payload) == b"".join(parts)
    log.close()


def test_parts_of_a_group_are_arrows_own_stream_also_of_slices_and_chunks() -> None:
    texts = pa.array(["a", "bc", None, "ü" * 40, ""] * 50)
    keys = pa.array([bytes([number]) * 32 for number in range(250)], DIGEST_TYPE)
    whole = pa.table({"text": texts, "key": keys, "number": pa.array(range(250), pa.int64())})
    entry = BatchEntry(b"b" * 32, b"s" * 32, 0, 1, b"{}", ((1, 1),), ())
    for table in (whole, whole.slice(7, 101), pa.concat_tables([whole, whole.slice(3)])):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        payload = b"".join(GroupFrame((entry,), table).encode())
        assert payload.endswith(sink.getvalue().to_pybytes())
        assert GroupFrame.decode(memoryview(payload)).jobs.equals(table)
