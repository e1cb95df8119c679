"""Rows, verdict trees, the inputs root and the parameters artefact: canonical bytes, and nothing else is read."""

import dataclasses
import hashlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluate.epoch_builder import input_of_jobs
from meridian.errors import InvalidInput
from meridian.evaluate.functions import count
from meridian.evaluate.inputs import INPUTS_MAX, inputs_root, inputs_root_of
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader, check_row_header, row_root
from meridian.evaluate.verdicts import (
    verdict_leaf,
    verdict_leaves,
    verdict_path,
    verdict_root,
    verdicts_by_node,
    verify_verdict,
)
from meridian.primitives import dagcbor
from meridian.primitives.ids import node_key


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


HEADER = RowHeader(
    network=word(1),
    epoch=7,
    commitment=word(2),
    function=word(3),
    parameters=word(4),
    inputs_root=word(5),
)
ROW = Row(HEADER, word(6), (word(10), word(20), word(30)), (5, None, (1 << 128) - 1))

rows = st.builds(
    lambda keys, pool: Row(
        HEADER, word(6), tuple(sorted(keys)), tuple(pool[index] for index in range(len(keys)))
    ),
    st.sets(st.binary(min_size=32, max_size=32), max_size=6),
    st.lists(st.one_of(st.none(), st.integers(0, (1 << 128) - 1)), min_size=6, max_size=6),
)


@settings(deadline=None)
@given(rows)
def test_a_row_is_read_as_it_was_written(row: Row) -> None:
    assert Row.decode(row.encode()) == row


def test_the_layout_of_a_row_is_the_documented_one() -> None:
    body = ROW.encode()
    expected = (
        b"\x00\x01" + word(1) + (7).to_bytes(8, "big") + b"".join(word(i) for i in range(2, 7))
    )
    expected += (3).to_bytes(4, "big") + word(10) + word(20) + word(30) + b"\x01\x00\x01"
    expected += (5).to_bytes(16, "big") + bytes(16) + b"\xff" * 16
    assert body == expected
    assert row_root(body) == hashlib.sha256(b"\x0e" + body).digest()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_accepted_body_is_the_one_encoding_of_its_row(data: st.DataObject) -> None:
    """A changed body is either refused, or another row that encodes to exactly these bytes."""
    body = bytearray(ROW.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] ^= data.draw(st.integers(1, 255))
    length = data.draw(st.integers(len(body) - 2, len(body)))
    try:
        row = Row.decode(bytes(body[:length]))
    except InvalidInput:
        return
    assert row.encode() == bytes(body[:length])


@pytest.mark.parametrize(
    "change",
    [
        {"node_keys": (word(20), word(10), word(30))},
        {"node_keys": (word(10), word(10), word(30))},
        {"node_keys": (word(10), word(20), b"short")},
        {"weights": (1, 2)},
        {"weights": (1, 2, 1 << 128)},
        {"weights": (1, 2, -1)},
        {"verdict_root": b""},
    ],
)
def test_a_malformed_row_cannot_be_written(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        dataclasses.replace(ROW, **change).encode()  # type: ignore[arg-type]


def test_a_huge_count_is_refused_before_anything_is_allocated() -> None:
    body = bytearray(ROW.encode())
    at = 2 + 32 + 8 + 5 * 32
    body[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(InvalidInput, match="nodes"):
        Row.decode(bytes(body))
    body[at : at + 4] = b"\x00\xff\xff\xff"
    with pytest.raises(InvalidInput):
        Row.decode(bytes(body))


def test_a_row_of_this_evaluation_passes_and_any_other_is_named() -> None:
    body = ROW.encode()
    assert check_row_header(body, HEADER) is None
    for name in ("network", "commitment", "function", "parameters", "inputs_root"):
        reason = check_row_header(body, dataclasses.replace(HEADER, **{name: word(99)}))
        assert reason is not None
        assert reason.startswith(name)
    assert (check_row_header(body, dataclasses.replace(HEADER, epoch=8)) or "").startswith("epoch")


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_a_reason_and_not_a_crash(body: bytes) -> None:
    assert isinstance(check_row_header(body, HEADER), str)


def test_equal_evaluations_have_equal_rows() -> None:
    jobs = [{"node_id": f"n{index % 3}", "job_id": str(index)} for index in range(10)]
    epoch = input_of_jobs(jobs, {})
    bodies = {
        Row.of(HEADER, epoch, count.evaluate(epoch, {}, threads=t)).encode() for t in (1, 2, 3)
    }
    assert len(bodies) == 1
    row = Row.decode(bodies.pop())
    weights = dict(zip(row.node_keys, row.weights, strict=True))
    assert weights == {node_key("n0"): 4, node_key("n1"): 3, node_key("n2"): 3}


# --- verdicts


def test_the_verdict_tree_is_the_documented_one() -> None:
    codes = [b"\x00\x01", b"", b"\x02"]
    leaves = [verdict_leaf(word(index), part) for index, part in enumerate(codes)]

    def digest(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    assert leaves[0] == digest(b"\x08", word(0), (2).to_bytes(8, "big"), digest(codes[0]))
    assert verdict_root(leaves) == digest(b"\x09", digest(b"\x09", leaves[0], leaves[1]), leaves[2])
    assert verdict_root([]) == digest()
    assert verdict_root(leaves[:1]) == leaves[0]


@pytest.mark.parametrize("size", range(1, 20))
def test_every_leaf_has_a_path_and_only_at_its_place(size: int) -> None:
    leaves = [verdict_leaf(word(index), bytes(index)) for index in range(size)]
    root = verdict_root(leaves)
    for index, leaf in enumerate(leaves):
        path = verdict_path(leaves, index)
        assert verify_verdict(leaf, index, size, path, root)
        assert not verify_verdict(leaf, index, size, [*path, bytes(32)], root)
        assert not verify_verdict(leaf, index, size, path[:-1], root) or not path
        assert not verify_verdict(word(77), index, size, path, root)
        assert not verify_verdict(leaf, index, index, path, root)
    with pytest.raises(InvalidInput):
        verdict_path(leaves, size)


def test_verdicts_are_cut_by_node_and_a_node_without_jobs_has_an_empty_part() -> None:
    jobs = [{"node_id": name, "job_id": job} for name, job in (("a", "1"), ("b", "1"), ("b", "2"))]
    epoch = input_of_jobs(jobs, {})
    more = dataclasses.replace(
        epoch,
        node_ids=(*epoch.node_ids, "z"),
        node_keys=(*epoch.node_keys, b"\xff" * 32),
        payees=(*epoch.payees, epoch.payees[0]),
    )
    sizes = dict(zip(more.node_ids, map(len, verdicts_by_node(more, b"\x00\x01\x02")), strict=True))
    assert sizes == {"a": 1, "b": 2, "z": 0}
    assert len(verdict_leaves(more, b"\x00\x01\x02")) == 3


def test_an_unsorted_table_has_no_verdict_tree() -> None:
    epoch = input_of_jobs([{"node_id": name, "job_id": "1"} for name in "ab"], {})
    wrong = dataclasses.replace(epoch, jobs=epoch.jobs.take(pa.array([1, 0])))
    with pytest.raises(InvalidInput, match="sorted"):
        verdict_leaves(wrong, b"\x00\x00")
    with pytest.raises(InvalidInput):
        verdict_leaves(epoch, b"\x00")


# --- inputs and parameters


def test_the_inputs_root_is_the_documented_one() -> None:
    root = hashlib.sha256(
        b"\x0f" + b"\x00\x00\x00\x01a" + word(1) + b"\x00\x00\x00\x02bb" + word(2)
    ).digest()
    assert inputs_root({"bb": word(2), "a": word(1)}) == root
    assert inputs_root({}) == hashlib.sha256(b"\x0f").digest()
    assert inputs_root_of({"x": b"data"}) == inputs_root({"x": hashlib.sha256(b"data").digest()})


@pytest.mark.parametrize(
    "digests",
    [
        {"": word(1)},
        {"x" * 65: word(1)},
        {"x": b"short"},
        {str(i): word(i) for i in range(INPUTS_MAX + 1)},
    ],
)
def test_inputs_outside_their_bounds_are_refused(digests: dict[str, bytes]) -> None:
    with pytest.raises(InvalidInput):
        inputs_root(digests)


def test_parameters_are_read_as_they_were_written() -> None:
    parameters = EvaluationParameters({"b": [1, "x"], "a": True}, "mean", "floor")
    assert EvaluationParameters.decode(parameters.encode()) == parameters
    assert parameters.digest == hashlib.sha256(parameters.encode()).digest()
    assert EvaluationParameters().digest != parameters.digest


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"function": {}, "aggregate": "mean", "allocation": "floor"},
        {"function": [], "aggregate": "mean", "allocation": "floor", "schema": bytes(32)},
        {"function": {}, "aggregate": "average", "allocation": "floor", "schema": bytes(32)},
        {"function": {}, "aggregate": "mean", "allocation": "all", "schema": bytes(32)},
        {"function": {}, "aggregate": "mean", "allocation": "floor", "schema": bytes(31)},
        {
            "function": {},
            "aggregate": "mean",
            "allocation": "floor",
            "schema": bytes(32),
            "more": 1,
        },
    ],
)
def test_other_artefacts_are_not_parameters(value: object) -> None:
    with pytest.raises(InvalidInput):
        EvaluationParameters.decode(dagcbor.encode(value))
