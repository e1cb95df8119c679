"""Bodies of batches as they are sent: forms, compressions, and what a sender cannot make the service spend."""

import gzip
import mmap
import tracemalloc
import zlib
from pathlib import Path

import pyarrow as pa
import pytest

from meridian.errors import InvalidInput
from meridian.measure.batch_decode import BodyKind
from meridian.node.measure import bodies
from meridian.node.measure.bodies import (
    BodyTooLarge,
    BodyUnsupported,
    read_body,
)

TEXT = b"a line of a body\n" * 3_000
NDJSON = "application/x-ndjson"


def zstd(data: bytes, level: int = 1) -> bytes:
    return bytes(pa.Codec("zstd", level).compress(data, asbytes=True))


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/x-ndjson", BodyKind.NDJSON),
        ("application/ndjson; charset=utf-8", BodyKind.NDJSON),
        ("Application/JSON", BodyKind.JSON),
        ("application/vnd.apache.arrow.stream", BodyKind.ARROW),
        ("application/vnd.apache.parquet", BodyKind.PARQUET),
    ],
)
def test_the_content_type_names_the_form(content_type: str, kind: BodyKind) -> None:
    assert read_body(TEXT, content_type, None) == bodies.Body(kind, TEXT)
    assert read_body(TEXT, content_type, "identity").data is TEXT


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("GZIP", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("zstd", zstd(TEXT)),
        ("zstd", zstd(TEXT[:100]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd(TEXT[100:], 19)),
    ],
)
def test_compressed_bodies_of_one_or_several_members(encoding: str, sent: bytes) -> None:
    assert read_body(sent, NDJSON, encoding).data == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_what_is_cut_or_goes_on_is_refused(encoding: str) -> None:
    sent = gzip.compress(TEXT) if encoding == "gzip" else zstd(TEXT)
    broken = [sent[:end] for end in (1, 3, 4, 5, 6, 9, len(sent) // 2, len(sent) - 1)]
    broken += [sent + b"garbage", sent + bytes(8), sent + sent[:-1], TEXT, b"\0" + sent]
    for body in broken:
        with pytest.raises(InvalidInput, match=f"it is not {encoding}"):
            read_body(body, NDJSON, encoding)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "zstd, zstd", "*"])
def test_other_encodings_are_named_as_not_accepted(encoding: str) -> None:
    with pytest.raises(BodyUnsupported, match="gzip, x-gzip, zstd"):
        read_body(TEXT, NDJSON, encoding)
    with pytest.raises(BodyUnsupported, match="application/x-ndjson"):
        read_body(TEXT, "text/csv", None)


def test_a_bomb_costs_the_limit_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_BYTES_MAX", 4 << 20)
    deflated = zlib.compressobj(wbits=31)
    gzip_bomb = deflated.compress(bytes(64 << 20)) + deflated.flush()
    for encoding, bomb in (("gzip", gzip_bomb), ("zstd", zstd(bytes(64 << 20)))):
        tracemalloc.start()
        with pytest.raises(BodyTooLarge, match="4194304 bytes, decompressed"):
            read_body(bomb, NDJSON, encoding)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10 << 20
    assert len(read_body(zstd(bytes(4 << 20)), NDJSON, "zstd").data) == 4 << 20


def test_a_sent_body_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SENT_BYTES_MAX", 10)
    with pytest.raises(BodyTooLarge, match="11 bytes pass 10"):
        read_body(b"x" * 11, NDJSON, None)


def frame(window: bytes, *, single: bool = False, size: bytes = b"") -> bytes:
    """A zstd frame with one raw block of a byte, and this window descriptor or content size."""
    flag = {0: 0, 1: 0, 2: 1, 4: 2, 8: 3}[len(size)]
    descriptor = bytes([flag << 6 | single << 5])
    return b"\x28\xb5\x2f\xfd" + descriptor + window + size + b"\x09\0\0x"


def test_windows_that_need_much_memory_are_refused_in_every_frame() -> None:
    assert read_body(frame(b"\x68"), NDJSON, "zstd").data == b"x"  # 8 MiB
    assert read_body(frame(b"", single=True, size=b"\x01"), NDJSON, "zstd").data == b"x"
    huge = [
        frame(b"\x69"),
        frame(b"\xff"),
        frame(b"", single=True, size=(9 << 20).to_bytes(4, "little")),
    ]
    for one in huge:
        for body in (one, zstd(TEXT) + one, frame(b"\x68") + b"\x5f\x2a\x4d\x18\0\0\0\0" + one):
            with pytest.raises(BodyTooLarge, match="a window of"):
                read_body(body, NDJSON, "zstd")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_refused_bodies_leave_no_memory_behind(encoding: str) -> None:
    """pyarrow's `read` loses its buffer on an error: found by fuzzing, 80 KB for each bad body."""

    def mapped_mib() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return pages * mmap.PAGESIZE >> 20

    def refuse() -> None:
        with pytest.raises(InvalidInput):
            read_body(b"no stream at all", "application/json", encoding)

    refuse()
    before = mapped_mib()
    for _ in range(200):
        refuse()
    assert mapped_mib() - before < 50
