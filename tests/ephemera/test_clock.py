"""The clock of a host may jump: the epoch goes on."""

import pytest
from cluster import filled

HOUR_MS = 3_600_000


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS])
def test_a_member_whose_clock_jumps_still_has_something_due_soon(by_ms):
    """Seeds 10, 18, 20 of four members: set back by an hour, a member neither resent nor left a view."""
    cluster = filled(4)
    member = next(i for i in range(4) if i != cluster.context.leader(0))
    replica = cluster.replicas[member]
    replica.tick(by_ms)
    due_ms = replica.next_deadline_ms()
    assert due_ms is not None
    assert due_ms - by_ms <= cluster.timing.resend_ms
    assert replica.tick(due_ms)
