"""The terms of an agreement: after a void on chain the evaluators decide anew, and nothing of before counts.

Every protocol statement binds its context, and the context binds a network. So each term has a network of its own: what
a member signed in one term is no statement of another, neither as a vote nor as evidence against it.
"""

from meridian.errors import InvalidInput
from meridian.primitives.hashing import TERM_NETWORK, tagged


def term_network(network: bytes, term: int) -> bytes:
    """Return the 32 bytes that stand for the network in contexts, links and safety logs of a term.

    Args:
        network: The network's own 32 bytes; they are those of term 0, so that a network in which nothing was ever
            voided speaks as it always did.
        term: How many times anything was voided or renewed (`Evaluations.term`).

    Raises:
        InvalidInput: If the term is outside 64 bits.
    """
    if not 0 <= term < 1 << 64:
        raise InvalidInput("term", f"{term} is outside 64 bits")
    return network if term == 0 else tagged(TERM_NETWORK, network, term.to_bytes(8, "big"))
