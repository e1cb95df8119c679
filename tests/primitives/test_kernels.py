"""The compiled kernels against hashlib, eth-hash and plain Python."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.primitives import hashing, sumtree
from meridian.primitives.eip712 import Domain, StructType, digest, digests, keccak
from meridian.primitives.sumtree import NODE_BYTES, LaneKind

NAMES = (*hashing.KERNELS, hashing.HASHLIB)


@pytest.fixture(autouse=True)
def _leave_the_kernels_as_they_were():
    before = (hashing._state.forced, hashing._state.bulk, hashing._state.is_settled)
    yield
    hashing._state.forced, hashing._state.bulk, hashing._state.is_settled = before


def use(name):
    hashing.force(name)
    assert hashing.prepare() == name


def random_bytes(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_every_width_around_the_ends_of_blocks_equal_hashlib(name):
    use(name)
    for width in (0, 1, 2, 31, 32, 53, 54, 55, 56, 57, 63, 64, 65, 100, 118, 119, 120, 128, 287):
        for count in (0, 1, 3, 4, 5, 15, 16, 17, 40):
            rows = random_bytes(width, count, width)
            for tag in (None, 0, 0x2D):
                prefix = b"" if tag is None else bytes((tag,))
                expected = [hashlib.sha256(prefix + row.tobytes()).digest() for row in rows]
                assert [d.tobytes() for d in hashing.sha256_rows(rows, tag)] == expected


@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_rows_up_to_5000_equals_hashlib(name):
    use(name)
    for seed, count in enumerate(np.random.default_rng(7).integers(0, 5_000, 4).tolist()):
        rows = random_bytes(seed, count, 113)
        expected = [hashlib.sha256(row.tobytes()).digest() for row in rows]
        assert [d.tobytes() for d in hashing.sha256_rows(rows)] == expected


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_do_not_lie_side_by_side_are_hashed_as_they_read(name):
    use(name)
    whole = random_bytes(1, 40, 100)
    views = [
        whole[:, 4:36],
        whole[::3],
        whole[::-1],
        whole[:, ::2],
        np.broadcast_to(whole[:1], (40, 100)),
        np.asfortranarray(whole),
    ]
    for view in views:
        expected = [hashlib.sha256(b"\x05" + row.tobytes()).digest() for row in view]
        assert [d.tobytes() for d in hashing.sha256_rows(view, 5)] == expected


@pytest.mark.parametrize("name", NAMES)
def test_digests_go_where_they_are_asked_to_and_nowhere_else(name):
    use(name)
    rows = random_bytes(1, 37, 60)
    out = np.full((37, 80), 7, dtype=np.uint8)
    hashing.sha256_rows(rows, None, out[:, 16:])
    assert (out[:, :16] == 7).all()
    assert (out[:, 48:] == 7).all()
    assert out[36, 16:48].tobytes() == hashlib.sha256(rows[36].tobytes()).digest()


def recursive_root(nodes, tag, kind):
    """The definition of RFC 9162 section 2.1.1."""
    if len(nodes) == 1:
        return nodes[0]
    middle = 1 << ((len(nodes) - 1).bit_length() - 1)
    halves = (recursive_root(part, tag, kind) for part in (nodes[:middle], nodes[middle:]))
    return sumtree.combine(tag, *halves, kind)


def random_leaves(seed, count):
    leaves = random_bytes(seed, count, NODE_BYTES)
    leaves[:, [32, 40, 48]] = 0  # leaves room for the sums
    return leaves


@pytest.mark.parametrize("kind", list(LaneKind))
@pytest.mark.parametrize("name", NAMES)
def test_levels_of_many_trees_equal_recursion(name, kind):
    use(name)
    sizes = np.array([1, 2, 3, 1, 17, 64, 5, 1, 33, 100])
    level = random_leaves(3, int(sizes.sum()))
    nodes = [row.tobytes() for row in level]
    starts = np.cumsum(sizes) - sizes
    expected = [
        recursive_root(nodes[a : a + n], 3, kind) for a, n in zip(starts, sizes, strict=True)
    ]
    while len(level) > len(sizes):
        level = sumtree.parent_levels(level, sizes, 3, kind)
        sizes = (sizes + 1) >> 1
    assert [row.tobytes() for row in level] == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", list(LaneKind))
@given(data=st.data())
@settings(max_examples=40)
def test_a_sum_overflows_exactly_when_it_does_in_integers(name, kind, data):
    use(name)
    widths = (64, 64, 64) if kind is LaneKind.PAIR_U64 else (64, 128)
    edges = [
        st.sampled_from([0, 1, (1 << 63), (1 << 64) - 1, (1 << 64), (1 << w) - 1])
        | st.integers(0, (1 << w) - 1)
        for w in widths
    ]
    leaves = []
    for _ in range(6):
        values = [data.draw(edge) % (1 << w) for edge, w in zip(edges, widths, strict=True)]
        parts = [v.to_bytes(w // 8, "big") for v, w in zip(values, widths, strict=True)]
        leaves.append(bytes(32) + b"".join(parts))
    level = np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(6, NODE_BYTES)
    try:
        expected = [sumtree.combine(3, *leaves[at : at + 2], kind) for at in (0, 2, 4)]
    except InvalidInput:
        with pytest.raises(InvalidInput):
            sumtree.parent_level(level, 3, kind)
    else:
        assert [row.tobytes() for row in sumtree.parent_level(level, 3, kind)] == expected


def test_a_kernel_that_errs_is_warned_of_and_not_used(monkeypatch):
    from meridian.primitives.kernels.bulk import Bulk

    honest = Bulk.rows

    def wrong(self, rows, tag, out):
        honest(self, rows, tag, out)
        out[-1:, 0] ^= 1

    monkeypatch.setattr(Bulk, "rows", wrong)
    hashing.force(None)
    with pytest.warns(RuntimeWarning, match="does not agree with hashlib"):
        assert hashing.prepare() == hashing.HASHLIB
    assert hashing.prepare() == hashing.HASHLIB  # warned of once
    rows = random_bytes(1, 20, 10)
    assert hashing.sha256_rows(rows)[19].tobytes() == hashlib.sha256(rows[19].tobytes()).digest()


def test_without_numba_hashlib_does_the_work_and_says_so(monkeypatch):
    for module in [m for m in sys.modules if m.startswith("meridian.primitives.kernels.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "numba", None)
    hashing.force(None)
    with pytest.warns(RuntimeWarning, match="numba"):
        assert hashing.prepare() == hashing.HASHLIB


def test_an_unknown_kernel_is_refused():
    with pytest.raises(InvalidInput):
        hashing.force("lanes-3")


def test_a_small_process_imports_no_compiler():
    code = (
        "import sys, numpy as np\n"
        "from meridian.measure import commitment, receipt, admission\n"
        "from meridian.primitives import hashing\n"
        "hashing.sha256_rows(np.zeros((99, 10), dtype=np.uint8))\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('numba', 'llvmlite')])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_keccak_of_rows_equals_eth_hash():
    use("lanes-4")
    for width in (0, 1, 7, 8, 66, 135, 136, 137, 224, 271, 272, 273):
        for count in (0, 1, 7, 8, 9, 40):
            rows = random_bytes(width, count, width)
            expected = [keccak(row.tobytes()) for row in rows]
            assert [d.tobytes() for d in hashing.bulk(99).keccak(rows)] == expected


@pytest.mark.parametrize("name", ["lanes-4", hashing.HASHLIB])
def test_digests_of_structs_together_are_those_of_each(name):
    use(name)
    kind = StructType("Pair", (("who", "address"), ("text", "string"), ("many", "uint64")))
    domain = Domain(1, bytes(20))
    for count in (0, 1, 7, 8, 30):
        values = [(bytes([at]) * 20, "x" * at, at << 50) for at in range(count)]
        expected = [digest(domain, kind.hash(*one)) for one in values]
        assert digests(domain, [kind.encode(*one) for one in values]) == expected
