"""Verdicts of the original as one code a measurement.

The original keeps two: *tasking* says whether the measurement may count at all, *consensus* what its committee thought
of it. Only a measurement whose tasking is ``OK`` has the second, so one byte holds both.
"""

from typing import Final

REWARDED: Final = 0
"""Tasking ``OK`` and consensus ``MAJORITY_RESULT``: what counts."""
TASK_NOT_IN_ROUND: Final = 1
TASK_WRONG_NODE: Final = 2
DUP_INET_GROUP: Final = 3
TOO_MANY_TASKS: Final = 4
COMMITTEE_TOO_SMALL: Final = 5
MAJORITY_NOT_FOUND: Final = 6
MINORITY_RESULT: Final = 7
REFUSED: Final = 8
"""No verdict: the record cannot be evaluated at all, and its round is evaluated without it."""

PAIRS: Final[tuple[tuple[str | None, str | None], ...]] = (
    ("OK", "MAJORITY_RESULT"),
    ("TASK_NOT_IN_ROUND", None),
    ("TASK_WRONG_NODE", None),
    ("DUP_INET_GROUP", None),
    ("TOO_MANY_TASKS", None),
    ("OK", "COMMITTEE_TOO_SMALL"),
    ("OK", "MAJORITY_NOT_FOUND"),
    ("OK", "MINORITY_RESULT"),
    (None, None),
)
"""Code -> (tasking, consensus)."""

LABELS: Final = tuple(consensus or tasking or "REFUSED" for tasking, consensus in PAIRS)
"""Code -> the one word that says most: the consensus where there is one."""
