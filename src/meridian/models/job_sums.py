"""How an outsider recomputes what a contract with `job_sums` did with an epoch's jobs.

Everything is read from one chain: the transactions that brought jobs, the words that the contract stores, and its sums.
The law: a job is counted once for its node, its word says what its transaction said, and a node's weight is the sum of
the values of its words.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from meridian.audit.evidence import Broken, Finding, require
from meridian.contracts.artefact import load
from meridian.models.plain_sums import is_plain_sum
from meridian.primitives.ids import Address, address_text

_U32: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Job:
    """One job as a transaction brought it, or as the contract keeps it."""

    node: Address
    """The account that sent it."""
    started_s: int
    ended_s: int
    value: int
    job_id: bytes = b""
    """32 bytes; a stored word does not have it."""

    @property
    def word(self) -> int:
        """The word under which the contract keeps it."""
        times = self.started_s << 64 | self.ended_s << 32
        return int.from_bytes(self.node, "big") << 96 | times | self.value


def stored_job(word: int) -> Job:
    """Return the job that a word stands for."""
    node = Address((word >> 96).to_bytes(20, "big"))
    return Job(node, word >> 64 & _U32, word >> 32 & _U32, word & _U32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What such a contract is deployed with."""

    genesis_s: int
    epoch_seconds: int
    first_epoch: int
    grace_seconds: int
    value_max: int

    def start_s(self, epoch: int) -> int:
        """Return when an epoch starts, Unix seconds."""
        return self.genesis_s + (epoch - self.first_epoch) * self.epoch_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSums:
    """What a chain shows of one epoch's jobs."""

    contract: str
    """Name of the artefact that should be there."""
    epoch: int
    function_digest: bytes
    """Of the network's function, as the run's file says."""
    expected: Terms
    """As the run's file says."""
    code: bytes
    """What is there; empty where nothing is."""
    terms: Terms | None = None
    """What it was deployed with; None where it is not the contract."""
    closed: bool = False
    jobs: int = 0
    evaluated: int = 0
    total: int = 0
    words: Sequence[int] = ()
    """In the order in which they were stored."""
    sent: Sequence[Job] = ()
    """Those of the successful transactions to the contract while the epoch was open, in chain order."""
    weights: Mapping[Address, int] | None = None
    """The contract's sums, of every node that has a word."""
    wallets: AbstractSet[Address] = frozenset()
    """Those of the nodes that are contracts themselves."""

    def node_sums(self) -> dict[Address, int]:
        """Return each node's sum of values, in the order of their first words."""
        sums: dict[int, int] = {}
        for word in self.words:
            node = word >> 96
            sums[node] = sums.get(node, 0) + (word & _U32)
        return {Address(node.to_bytes(20, "big")): total for node, total in sums.items()}


def check_contract(sums: EpochSums) -> Finding:
    """Check the contract's code and its terms.

    Raises:
        Broken: Naming each difference.
    """
    if not sums.code:
        raise Broken(f"there is no contract {sums.contract} at its address")
    if not sums.code.startswith(load(sums.contract).runtime):
        raise Broken(f"{sums.contract} is not the code that this installation ships")
    if sums.terms != sums.expected:
        raise Broken(f"{sums.contract} has {sums.terms}, the run's file says {sums.expected}")
    return Finding(f"{sums.contract} carries the shipped code and the terms of the run's file")


def check_closed(sums: EpochSums) -> Finding:
    """Check that the epoch takes no more jobs.

    Raises:
        Broken: If it still does, or was never open.
    """
    if not sums.closed:
        raise Broken(f"epoch {sums.epoch} is not closed on chain: its jobs may still change")
    return Finding(f"epoch {sums.epoch} was closed with {sums.jobs} jobs, all in storage")


def check_jobs(sums: EpochSums) -> Finding:
    """Check the stored jobs against the transactions that brought them.

    The jobs of a node that is a contract come by its own calls, which no transaction shows; their words count all the
    same. Every other node's must stand in its transactions.

    Raises:
        Broken: Naming jobs that are not as they were sent.
    """
    if len(sums.words) != sums.jobs:
        raise Broken(f"{len(sums.words)} words are stored for {sums.jobs} jobs")
    start = sums.expected.start_s(sums.epoch)
    end = start + sums.expected.epoch_seconds
    problems = []
    at, seen = 0, set()
    for place, word in enumerate(sums.words):
        node = stored_job(word).node
        if at < len(sums.sent) and sums.sent[at].word == word:
            one = sums.sent[at]
            at += 1
            if (node, one.job_id) in seen:
                problems.append(f"job {place}: {address_text(node)} reported its id before")
            seen.add((node, one.job_id))
        elif node not in sums.wallets:
            problems.append(f"job {place}: no transaction of {address_text(node)} brought it")
        ended = word >> 32 & _U32
        if not start <= ended < end or word >> 64 & _U32 > ended:
            problems.append(f"job {place}: its times are none of this epoch")
    if at < len(sums.sent):
        one = sums.sent[at]
        problems.append(
            f"0x{one.job_id.hex()} of {address_text(one.node)} is not stored as it was sent"
        )
    require(problems, "the stored jobs are not those that the transactions brought")
    hidden = sums.jobs - at
    notes = (f"{hidden} jobs came by calls of nodes that are contracts",) if hidden else ()
    return Finding(f"{at} jobs stand in storage as their nodes' transactions brought them", notes)


def check_function(sums: EpochSums) -> Finding:
    """Check that the contract's sum is the network's function.

    Raises:
        Broken: If it is not.
    """
    if not is_plain_sum(sums.function_digest):
        raise Broken(
            f"the network's function {sums.function_digest.hex()} is no plain sum of values"
        )
    if too_much := sum(1 for word in sums.words if word & _U32 > sums.expected.value_max):
        raise Broken(f"{too_much} jobs are worth more than {sums.expected.value_max}")
    return Finding(
        "a node's weight is the sum of its jobs' values; whether a job counts, its node says"
    )


def check_evaluation(sums: EpochSums) -> Finding:
    """Check the contract's sums.

    Raises:
        Broken: Naming each node whose weight is another.
    """
    if sums.evaluated != sums.jobs:
        raise Broken(f"the contract has added up {sums.evaluated} of {sums.jobs} jobs")
    own, found = sums.node_sums(), sums.weights or {}
    problems = [
        f"{address_text(node)}: {weight}, the contract says {found.get(node)}"
        for node, weight in own.items()
        if found.get(node) != weight
    ]
    if sum(own.values()) != sums.total:
        problems.append(f"total: {sum(own.values())}, the contract says {sums.total}")
    require(problems, "the contract's weights are not the sums of its jobs")
    return Finding(
        f"the weights of {len(own)} nodes, {sums.total} in all, are the sums of their jobs"
    )
