"""The order of jobs against sorting in Python, with keys that agree in their first bytes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.measure.order import check_job_order, node_runs, order_in_groups, sort_order
from meridian.primitives.ids import node_key

KEYS = st.builds(
    lambda head, tail: bytes((head,)) * 8 + bytes(22) + bytes((tail // 256, tail % 256)),
    st.sampled_from([0, 1, 255]),
    st.integers(0, 300),
) | st.binary(min_size=32, max_size=32)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "node"]), KEYS), max_size=60))
def test_jobs_are_sorted_by_node_key_then_job_key_and_equal_ones_keep_their_order(jobs):
    keys = np.frombuffer(b"".join(key for _, key in jobs), dtype=np.uint8).reshape(-1, 32)
    ids = pa.chunked_array([[name for name, _ in jobs]], pa.string())
    expected = sorted(range(len(jobs)), key=lambda at: (node_key(jobs[at][0]), jobs[at][1]))
    assert sort_order(ids, keys).tolist() == expected
    rows = np.zeros((len(jobs), 100), dtype=np.uint8)
    rows[:, 4:36] = keys[expected]
    names, sizes = node_runs(ids.take(pa.array(expected, pa.int64())))
    assert names == list(dict.fromkeys(jobs[at][0] for at in expected))
    repeated = [at for at in range(1, len(jobs)) if jobs[expected[at]] == jobs[expected[at - 1]]]
    if repeated:
        with pytest.raises(InvalidInput, match=f"row {repeated[0]} "):
            check_job_order(rows, sizes)
    else:
        check_job_order(rows, sizes)


def test_the_first_pair_out_of_order_is_named():
    rows = np.zeros((6, 100), dtype=np.uint8)
    rows[:, 35] = [1, 2, 4, 3, 9, 9]
    with pytest.raises(InvalidInput, match="row 3 "):
        check_job_order(rows, np.array([6]))
    check_job_order(rows, np.array([3, 2, 1]))
    with pytest.raises(InvalidInput, match="row 5 "):
        check_job_order(rows, np.array([3, 3]))


def test_a_group_of_one_and_none_at_all():
    keys = np.arange(64, dtype=np.uint8)[::-1].reshape(2, 32)
    assert order_in_groups(np.array([0, 0]), np.ascontiguousarray(keys)).tolist() == [1, 0]
    assert order_in_groups(np.zeros(0, dtype=np.int64), keys[:0]).tolist() == []
