"""What a sender may send, and how much may be in work."""

import pytest

from meridian.errors import Overloaded
from meridian.node.measure import limits
from meridian.node.measure.limits import BURST_S, Rates, SenderLimits, TokenBucket, Work


def test_a_bucket_fills_at_its_rate_and_a_debt_must_be_paid_first() -> None:
    bucket = TokenBucket(10, 0.0)
    assert bucket.wait_s(0.0) == 0
    bucket.take(10 * BURST_S + 30)
    assert bucket.wait_s(0.0) == pytest.approx(3)
    assert bucket.wait_s(2.0) == pytest.approx(1)
    assert bucket.wait_s(3.0) == pytest.approx(0)
    assert bucket.wait_s(1000.0) == 0
    bucket.take(10 * BURST_S + 1)
    assert bucket.wait_s(1000.0) > 0  # it never holds more than its burst


def test_each_sender_has_its_own_rate_for_requests_and_for_bytes() -> None:
    senders, rates = SenderLimits(), Rates(requests_per_s=2, bytes_per_s=100)
    for _ in range(int(2 * BURST_S) + 1):
        size = senders.take_request("a", rates, 0.0)
    with pytest.raises(Overloaded):
        senders.take_request("a", rates, 0.0)
    size = senders.take_request("b", rates, 0.0)
    size.take(1200)
    with pytest.raises(Overloaded) as refusal:
        senders.take_request("b", rates, 0.0)
    assert refusal.value.retry_after_s == pytest.approx(10)
    senders.take_request("b", rates, 10.1)


def test_the_number_of_senders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SENDERS_MAX", 3)
    senders, rates = SenderLimits(), Rates(1, 1)
    for number in range(100):
        senders.take_request(str(number), rates, 0.0)
    assert len(senders._buckets) == 3


def test_work_is_bounded_in_requests_and_bytes_and_given_back() -> None:
    work = Work(requests_max=2, bytes_max=100)
    with work.request() as first, work.request() as second:
        first.grow_to(60)
        second.grow_to(30)
        first.grow_to(50)
        with pytest.raises(Overloaded):
            second.grow_to(41)
        second.grow_to(40)
        with pytest.raises(Overloaded), work.request():
            pass
    with work.request() as share:
        share.grow_to(100)
