"""Who takes part in an example."""

from contract_world import key
from hypothesis import strategies as st

MEMBERS = [f"member {i}" for i in range(6)]
OPERATORS = [f"operator {i}" for i in range(2)]
NODES = [f"node {i}" for i in range(5)]
PAYEES = [f"payee {i}" for i in range(5)]
AGGREGATORS = [f"aggregator {i}" for i in range(4)]
SPONSORS = ["sponsor 0", "sponsor 1"]
REFEREES = sorted((f"referee {i}" for i in range(4)), key=lambda name: key(name).address)
OTHERS = ["someone", "owner", "watcher"]

ACTORS = [*MEMBERS, *OPERATORS, *PAYEES, *AGGREGATORS, *SPONSORS, *REFEREES, *OTHERS]
KEYS = {name: key(name) for name in ACTORS}
NAME_OF = {KEYS[name].address: name for name in KEYS}
MEMBER_KEYS = {KEYS[name].address: KEYS[name] for name in MEMBERS}

member = st.sampled_from(MEMBERS)
operator = st.sampled_from(OPERATORS)
node = st.sampled_from(NODES)
anybody = st.sampled_from(ACTORS)
near = st.integers(-1, 3)
"""An epoch as its distance from another one."""


def mostly(good: str, *flaws: str) -> st.SearchStrategy[str]:
    """The good way in two of three draws, otherwise one of the flaws."""
    return st.sampled_from([good] * (2 * len(flaws)) + list(flaws))
