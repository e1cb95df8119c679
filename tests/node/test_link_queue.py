"""The queue of frames keeps its bounds, its order and its slots; the bucket lets its rate through and no more."""

from hypothesis import given
from hypothesis import strategies as st

from meridian.node.link_queue import FrameQueue, QueueLimits, TokenBucket

LIMITS = QueueLimits(frames_max=4, bytes_max=20)

PUTS = st.tuples(st.binary(max_size=25), st.none() | st.sampled_from([b"a", b"b"]))
ACTIONS = st.lists(PUTS | st.just("take"), max_size=40)


@given(ACTIONS)
def test_the_queue_does_what_a_plain_list_does(
    actions: list[tuple[bytes, bytes | None] | str],
) -> None:
    """The model: a list of [slot, frame]; a full list forgets from its front."""
    queue = FrameQueue(LIMITS)
    model: list[list[bytes | None]] = []
    dropped = replaced = 0
    for action in actions:
        if isinstance(action, str):
            expected = model.pop(0)[1] if model else None
            assert queue.take() == expected
        else:
            frame, slot = action
            queue.put(frame, slot)
            same = next((entry for entry in model if slot is not None and entry[0] == slot), None)
            if same is None:
                model.append([slot, frame])
            else:
                same[1] = frame
                replaced += 1
            while len(model) > 4 or sum(len(entry[1] or b"") for entry in model) > 20:
                model.pop(0)
                dropped += 1
        assert len(queue) == len(model)
        assert queue.waiting_bytes == sum(len(entry[1] or b"") for entry in model)
        assert (queue.dropped, queue.replaced) == (dropped, replaced)


def test_the_bucket_passes_its_burst_at_once_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=10, burst=5, now_s=0.0)
    assert [bucket.delay_s(1, 0.0) for _ in range(5)] == [0.0] * 5
    assert bucket.delay_s(1, 0.0) == 0.1
    assert bucket.delay_s(1, 0.2) == 0.0
    assert bucket.delay_s(1, 100.0) == 0.0  # A long rest fills it to the burst, not beyond.
    assert [bucket.delay_s(1, 100.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.1]


def test_one_message_larger_than_the_burst_passes_and_is_paid_for() -> None:
    bucket = TokenBucket(rate=10, burst=5, now_s=0.0)
    assert bucket.delay_s(25, 0.0) == 2.0
    assert bucket.delay_s(0, 2.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 9)), min_size=1, max_size=50))
def test_whoever_waits_as_told_never_gets_more_than_burst_and_rate(
    steps: list[tuple[float, int]],
) -> None:
    bucket = TokenBucket(rate=10, burst=5, now_s=0.0)
    now_s, spent = 0.0, 0
    for pause_s, units in steps:
        now_s += pause_s
        now_s += bucket.delay_s(units, now_s)
        spent += units
        assert spent <= 5 + 10 * now_s + 1e-6
