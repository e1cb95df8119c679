"""Keys, salts, packed fields and rows of many jobs: compiled, by hashlib, and field by field in plain Python."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from meridian.errors import InvalidInput
from meridian.measure import row
from meridian.measure.row import BatchSeeds
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.strings import byte_matrix, text_buffers
from meridian.primitives import hashing
from meridian.primitives.sumtree import LaneKind

SCHEMA = NetworkSchema(
    id=9,
    name="mixed",
    evaluation_fields=(Field.integer("size"), Field.decimal("took", 3, nullable=True)),
    additional_fields=(
        Field.boolean("hit", required=False, nullable=True),
        Field.string("client", 64, required=False, nullable=True),
        Field.string("tiny", 5, required=False, nullable=True),
    ),
    lanes=Lanes(LaneKind.U128, ("size",)),
)
NAMES = (*hashing.KERNELS, hashing.HASHLIB)


@pytest.fixture(autouse=True, params=NAMES)
def kernel(request):
    before = (hashing._state.forced, hashing._state.bulk, hashing._state.is_settled)
    hashing.force(request.param)
    assert hashing.prepare() == request.param
    yield request.param
    hashing._state.forced, hashing._state.bulk, hashing._state.is_settled = before


def jobs(count=230):
    rng = np.random.default_rng(count)

    def some(values):
        return [value if rng.random() < 0.8 else None for value in values]

    lengths = rng.integers(0, 65, count).tolist()
    return pa.table(
        {
            "job_id": [
                "ä" * int(rng.integers(0, 9)) + f"job-{at}" * int(rng.integers(1, 12))
                for at in range(count)
            ],
            "flags": pa.array(rng.integers(0, 2, count), pa.uint16()),
            "started_us": pa.array(rng.integers(0, 2**53, count), pa.int64()),
            "ended_us": pa.array(rng.integers(0, 2**53, count), pa.int64()),
            "size": pa.array(rng.integers(0, 2**62, count), pa.int64()),
            "took": pa.array(some(rng.integers(-(2**62), 2**62, count).tolist()), pa.int64()),
            "hit": pa.array(some((rng.random(count) < 0.5).tolist()), pa.bool_()),
            "client": pa.array(some("x" * n for n in lengths), pa.string()),
            "tiny": pa.array(some("ab" * (n % 3) for n in lengths), pa.string()),
        }
    )


def packed(job):
    """The packing as `measure.packing` describes it, one job at a time."""
    out = b""
    for name, width in (("size", 8), ("took", 8), ("hit", 1), ("client", 66), ("tiny", 7)):
        value = job[name]
        if value is None:
            out += bytes(1 + width)
        elif isinstance(value, str):
            out += (
                b"\x01"
                + len(value.encode()).to_bytes(2, "big")
                + value.encode().ljust(width - 2, b"\0")
            )
        else:
            out += b"\x01" + int(value).to_bytes(width, "big", signed=name != "hit")
    return out


def expected_row(job, seed):
    salt = hashlib.sha256(b"\x11" + seed + job["job_id"].encode()).digest()
    private = hashlib.sha256(b"\x10" + salt + packed(job)).digest()
    return (
        (9).to_bytes(2, "big")
        + job["flags"].to_bytes(2, "big")
        + hashlib.sha256(job["job_id"].encode()).digest()
        + job["started_us"].to_bytes(8, "big")
        + job["ended_us"].to_bytes(8, "big")
        + job["size"].to_bytes(16, "big")
        + private
    )


@pytest.mark.parametrize("chunks", ["one", "three", "many"])
def test_rows_equal_those_of_plain_python(chunks, monkeypatch):
    monkeypatch.setattr(row, "SLICE_ROWS", 50)
    table = jobs()
    seeds = [bytes((at % 5,)) * 32 for at in range(table.num_rows)]
    bounds = {"one": [0], "three": [0, 7, 100], "many": [*range(table.num_rows)]}[chunks]
    pieces = [
        table.slice(a, b - a) for a, b in zip(bounds, [*bounds[1:], table.num_rows], strict=True)
    ]
    table = pa.concat_tables(pieces)
    expected = [expected_row(job, seed) for job, seed in zip(table.to_pylist(), seeds, strict=True)]
    column = pa.chunked_array(
        [pa.array(seeds[a:], pa.binary(32)).slice(0, b) for a, b in ((0, 90), (90, 140))]
    )
    for given in (
        seeds,
        BatchSeeds.each(seeds),
        BatchSeeds.column(column),
        BatchSeeds.column(column.dictionary_encode()),
    ):
        keys, private = (
            row.job_keys(table.column("job_id")),
            row.private_commitments(SCHEMA, table, given),
        )
        assert [r.tobytes() for r in row.job_rows(SCHEMA, table, keys, private)] == expected
    rows = row.rebuild_rows(SCHEMA, table.append_column("batch_seed", column))
    assert [leaf.tobytes() for leaf in row.job_leaves(rows)] == [
        row.job_leaf(item) for item in expected
    ]


def test_one_seed_for_all_and_no_jobs_at_all():
    table = jobs(9)
    found = row.private_commitments(SCHEMA, table, BatchSeeds.one(b"s" * 32, 9))
    assert (found == row.private_commitments(SCHEMA, table, [b"s" * 32] * 9)).all()
    runs = BatchSeeds.runs([b"s" * 32, b"t" * 32], np.array([4, 5]))
    each = [b"s" * 32] * 4 + [b"t" * 32] * 5
    found = row.private_commitments(SCHEMA, table, runs)
    assert (found == row.private_commitments(SCHEMA, table, each)).all()
    assert row.private_commitments(SCHEMA, table.slice(0, 0), []).shape == (0, 32)
    assert row.job_keys(table.column("job_id").slice(0, 0)).shape == (0, 32)


def test_texts_longer_than_the_kernels_take_are_hashed_all_the_same():
    texts = ["", "a" * 1_024, "b" * 1_025, "c" * 5_000, "d", "e"]
    found = row.job_keys(pa.chunked_array([texts]))
    assert [r.tobytes() for r in found] == [hashlib.sha256(t.encode()).digest() for t in texts]


def test_offsets_outside_the_bytes_are_refused_not_followed(kernel):
    if kernel == hashing.HASHLIB:
        pytest.skip("only compiled code could read outside")
    bulk, out = hashing.bulk(4), np.zeros((4, 32), dtype=np.uint8)
    data = np.zeros(40, dtype=np.uint8)
    for offsets in ([0, 10, 20, 30, 41], [-1, 0, 0, 0, 0], [0, 10, 5, 30, 40], [0, 50, 50, 40, 40]):
        bad = np.array(offsets, dtype=np.int32)
        with pytest.raises(InvalidInput):
            bulk.texts(data, bad, out)
        with pytest.raises(InvalidInput):
            bulk.put_texts(data, bad, out)
    good = np.array([0, 10, 20, 30, 40], dtype=np.int32)
    with pytest.raises(InvalidInput):
        bulk.texts(data, good, out, seeds=out[:2], seed_of=np.array([0, 1, 2, 0], dtype=np.int32))


@pytest.mark.parametrize("width", [1, 2, 5, 31, 32, 33, 64, 100])
def test_texts_are_cut_or_padded_wherever_the_column_is_sliced(width):
    texts = pa.array(["", "a", None, "bc" * 20, "d" * 32, "e" * 31, "ü" * 40, "f" * 99, "g"])
    for start in (0, 3, 8):
        part = texts.slice(start)
        expected = [(t or "").encode()[:width].ljust(width, b"\0") for t in part.to_pylist()]
        assert [r.tobytes() for r in byte_matrix(part, width)] == expected
    data, offsets = text_buffers(texts.slice(3, 2))
    assert data[offsets[0] : offsets[1]].tobytes() == b"bc" * 20
