"""The ten frauds that are played in every model, by name.

Each is played for real in the smallest world where it could pay; where nobody is in the place to do it, the outcome is
``impossible``, with the reason.
"""

from typing import Final

from meridian.errors import NotFound

FRAUDS: Final = {
    "double-report": "a node reports one of its jobs twice",
    "invented-jobs": "a node reports jobs that never happened",
    "impossible-times": "a node reports a job that ends before it starts",
    "stolen-job": "a node reports another node's job as its own",
    "censored-node": "whoever collects the jobs leaves one node's out",
    "friend-jobs": "whoever collects the jobs adds some for a friend",
    "wrong-weights": "whoever computes the weights reports wrong ones",
    "withheld-data": "jobs are committed to, and not handed out",
    "inflated-summary": "a sum over a node's jobs is larger than the jobs give",
    "stolen-claim": "somebody else takes a node's reward",
}
"""Name -> what the cheat does."""


def check_fraud(name: str) -> None:
    """Refuse a name that is none of `FRAUDS`.

    Raises:
        NotFound: Naming those that there are.
    """
    if name not in FRAUDS:
        raise NotFound(f"no fraud {name!r}; there are {', '.join(FRAUDS)}")
