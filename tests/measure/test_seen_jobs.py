"""The set of accepted jobs against plain Python sets, small and large, with and without compiled tables."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import Overloaded
from meridian.measure import seen_jobs
from meridian.measure.seen_jobs import SeenJobs
from meridian.primitives import hashing


@pytest.fixture(autouse=True)
def _leave_the_kernels_as_they_were():
    before = (hashing._state.forced, hashing._state.bulk, hashing._state.is_settled)
    yield
    hashing._state.forced, hashing._state.bulk, hashing._state.is_settled = before


KINDS = ("hashlib", "compiled", "compiled, every set large")


def use(kind, monkeypatch):
    hashing.force("hashlib" if kind == "hashlib" else None)
    hashing.prepare()
    if kind == "compiled, every set large":
        monkeypatch.setattr(seen_jobs, "SMALL", 0)
        monkeypatch.setattr(hashing._state, "bulk", hashing._state.bulk)
        monkeypatch.setattr(seen_jobs, "bulk", lambda _count: hashing._state.bulk)
        monkeypatch.setattr(seen_jobs, "_FIRST_SLOTS", 5)


def items(hashes):
    return [row.tobytes() for row in hashes]


def of_numbers(numbers, spread):
    """Hashes that are few, so that they repeat; without `spread` all fall into one table and one place of it."""
    low = np.array(numbers, dtype=np.uint64) + np.uint64(2)  # 0 and 1 share a slot, by design
    high = low * np.uint64(0x9E3779B97F4A7C15) if spread else np.zeros_like(low)
    return np.ascontiguousarray(np.stack([high, low], axis=1))


STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 60), max_size=25),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=12,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [True, False])
def test_the_same_jobs_are_new_as_with_plain_sets(kind, spread, monkeypatch):
    use(kind, monkeypatch)

    @given(STEPS)
    @settings(max_examples=60)
    def check(steps):
        seen, model = SeenJobs(bytes(32), 10**6), {}
        for numbers, epoch, forget in steps:
            hashes = of_numbers(numbers, spread)
            expected, earlier = [], set()
            for item in items(hashes):
                expected.append(item in earlier or any(item in known for known in model.values()))
                earlier.add(item)
            marks = seen.repeated(hashes)
            assert marks.tolist() == expected
            new = np.ascontiguousarray(hashes[~marks])
            epochs = epoch + (np.arange(len(new)) % 2)  # two epochs in a batch
            seen.add(epochs, new)
            for number, item in zip(epochs.tolist(), items(new), strict=True):
                model.setdefault(number, set()).add(item)
            if forget:
                seen.forget_before(epoch)
                model = {number: known for number, known in model.items() if number >= epoch}
            assert len(seen) == sum(map(len, model.values()))
            assert sorted(seen.epochs()) == sorted(model)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_that_grows_forgets_nothing_and_takes_nothing_twice(kind, monkeypatch):
    use(kind, monkeypatch)
    monkeypatch.setattr(seen_jobs, "SMALL", min(seen_jobs.SMALL, 20_000))
    seen, rng = SeenJobs(bytes(32), 10**6), np.random.default_rng(3)
    batches = [
        rng.integers(0, 2**64 - 1, (10_000, 2), dtype=np.uint64, endpoint=True) for _ in range(8)
    ]
    for batch in batches:
        assert not seen.repeated(batch).any()
        seen.add(np.full(len(batch), 7), batch)
        seen.add(np.full(5, 7), batch[:5])  # again: nothing changes
    assert len(seen) == 80_000
    for batch in batches:
        mixed = np.concatenate([batch[:50], batch[:50] ^ np.uint64(1)])
        assert seen.repeated(mixed).tolist() == [True] * 50 + [False] * 50
    if kind == "compiled, every set large":
        assert 16 * 80_000 < seen.table_bytes < 40 * 80_000


@pytest.mark.parametrize("remembered", [2, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_epochs_come_and_go_in_any_number(kind, remembered, monkeypatch):
    """Tags are given again when nothing stands under them; with more epochs than tags, nothing is forgotten too early."""
    use(kind, monkeypatch)
    seen, rng = SeenJobs(bytes(32), 10**6), np.random.default_rng(4)
    batches = {}
    for epoch in range(700):
        batches[epoch] = rng.integers(0, 2**64 - 1, (20, 2), dtype=np.uint64)
        assert not seen.repeated(batches[epoch]).any()
        seen.add(np.full(20, epoch), batches[epoch])
        seen.forget_before(epoch - remembered)
        assert sorted(seen.epochs()) == list(range(max(0, epoch - remembered), epoch + 1))
        assert seen.repeated(batches[max(0, epoch - remembered)]).all()
        if epoch > remembered and remembered < 255:
            assert len(seen) == 20 * (remembered + 1)
            again = batches[epoch - remembered - 1]
            assert not seen.repeated(again).any()
    if kind == "compiled, every set large" and remembered == 2:
        assert seen.table_bytes < 256 * 16 * 100


@pytest.mark.parametrize("kind", KINDS)
def test_single_jobs_are_removed_and_may_come_again(kind, monkeypatch):
    use(kind, monkeypatch)
    seen, jobs = SeenJobs(bytes(32), 10**6), of_numbers(range(60), spread=False)
    seen.add(np.arange(50) % 3, jobs[:50])
    seen.remove(jobs[40:])  # ten of them never were there
    assert len(seen) == 40
    assert seen.repeated(jobs).tolist() == [True] * 40 + [False] * 20
    seen.add(np.full(20, 4), jobs[40:])
    assert (len(seen), seen.repeated(jobs).all()) == (60, True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_of_a_forgotten_epoch_may_come_again(kind, monkeypatch):
    use(kind, monkeypatch)
    seen, jobs = SeenJobs(bytes(32), 10**6), of_numbers(range(50), spread=True)
    for epoch in (1, 2, 9):
        assert not seen.repeated(jobs).any()
        seen.add(np.full(50, epoch), jobs)
        assert (len(seen), seen.repeated(jobs).all()) == (50, True)
        seen.forget_before(epoch + 1)
        assert (len(seen), list(seen.epochs())) == (0, [])


@pytest.mark.parametrize("kind", KINDS)
def test_the_hash_of_zeros_is_a_hash_like_others(kind, monkeypatch):
    use(kind, monkeypatch)
    seen, zero = SeenJobs(bytes(32), 10), np.zeros((1, 2), dtype=np.uint64)
    assert seen.repeated(np.concatenate([zero, zero, zero, zero])).tolist() == [False] + [True] * 3
    seen.add(np.array([1]), zero)
    assert seen.repeated(zero).tolist() == [True]
    assert seen.repeated(np.zeros((0, 2), dtype=np.uint64)).tolist() == []


def test_a_job_of_one_node_is_not_another_nodes_and_another_secret_gives_other_hashes():
    names = pa.chunked_array([["a", "b"], ["a"]])
    keys = np.frombuffer(bytes(range(32)) * 3, dtype=np.uint8).reshape(3, 32)
    first = SeenJobs(bytes(32), 9).hashes(names, keys)
    second = SeenJobs(b"x" * 32, 9).hashes(names, keys)
    assert first.shape == (3, 2)
    assert first[0].tolist() == first[2].tolist()
    assert len({*items(first), *items(second)}) == 4
    assert SeenJobs(bytes(32), 9).hashes(names.slice(0, 0), keys[:0]).shape == (0, 2)


def test_more_jobs_than_the_limit_are_refused():
    seen = SeenJobs(bytes(32), 3)
    seen.add(np.array([1, 1]), of_numbers([1, 2], spread=True))
    seen.require_room(1)
    with pytest.raises(Overloaded):
        seen.require_room(2)
