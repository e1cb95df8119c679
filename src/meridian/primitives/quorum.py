"""Thresholds of Byzantine agreement among n registered members; n never follows connectivity.

Source: Bracha 1987; Castro and Liskov 1999; the quorum size is the one of libocr's ``byzquorum``.
"""

from meridian.errors import InvalidInput


def faults_max(members: int) -> int:
    """Return f, the greatest number of Byzantine members that is tolerated: n >= 3f + 1."""
    if members < 1:
        raise InvalidInput("members", f"a committee of {members} cannot decide")
    return (members - 1) // 3


def quorum(members: int) -> int:
    """Return q: two sets of q members always share at least f + 1, so at least one correct member."""
    return (members + faults_max(members)) // 2 + 1


def amplify(members: int) -> int:
    """Return f + 1: a set of this size holds at least one correct member."""
    return faults_max(members) + 1


def deliver(members: int) -> int:
    """Return 2f + 1: a set of this size holds at least f + 1 correct members."""
    return 2 * faults_max(members) + 1
