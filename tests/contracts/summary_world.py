"""The contract Summaries with nodes whose jobs are made up, for its tests."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from alone_world import AloneWorld
from contract_world import ETHER, GENESIS_S, NETWORK, RICH, Outcome, account, key

from meridian.contracts.calldata import NodeRegistration
from meridian.contracts.statements import RegisterNode
from meridian.disputes.ways import Gap
from meridian.measure.epoch import Calendar
from meridian.measure.row import JobRow
from meridian.models.summary import SignedSummary, Summary, Terms
from meridian.models.summary_tree import NodeJobs
from meridian.primitives.hashing import ByteMatrix, sha256
from meridian.primitives.ids import node_key
from meridian.primitives.keys import PrivateKey

FIRST, EPOCH_S = 3, 600
EPOCH = 5
START_S = GENESIS_S + (EPOCH - FIRST) * EPOCH_S
END_S = START_S + EPOCH_S
STAKE, BOND = 10 * ETHER, ETHER // 100
NEVER = 2**64 - 1

TERMS = Terms(
    network=NETWORK,
    genesis_s=GENESIS_S,
    epoch_seconds=EPOCH_S,
    first_epoch=FIRST,
    commit_seconds=60,
    challenge_seconds=30,
    answer_seconds=40,
    exit_seconds=200,
    stake_min_atto=STAKE,
    bond_atto=BOND,
    samples=4,
    value_max=3,
)
CALENDAR = Calendar(GENESIS_S, EPOCH_S, FIRST)


def job_row(job_id: str, value: int, **changes: int) -> bytes:
    row = JobRow(
        schema=1,
        flags=0,
        job_key=sha256(job_id.encode()),
        started_us=START_S * 10**6,
        ended_us=START_S * 10**6 + 5,
        lanes=value.to_bytes(16, "big"),
        private=sha256(b"private", job_id.encode()),
    )
    return replace(row, **changes).encode()


def matrix(rows: list[bytes]) -> ByteMatrix:
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1)


def jobs_of(name: str, values: list[int]) -> NodeJobs:
    """A node's jobs with these values, in the order of their keys."""
    ids = sorted(
        (f"{name}/{number}" for number in range(len(values))), key=lambda one: sha256(one.encode())
    )
    rows = [job_row(job_id, value) for job_id, value in zip(ids, values, strict=True)]
    return NodeJobs(matrix(rows))


@dataclass
class SummaryNode:
    name: str
    jobs: NodeJobs

    @property
    def operator(self) -> PrivateKey:
        return key(f"operator of {self.name}")

    @property
    def payee(self):
        return account(f"payee of {self.name}")

    @property
    def key(self):
        return node_key(self.name)

    @property
    def summary(self) -> Summary:
        return self.jobs.summary


class SummaryWorld(AloneWorld):
    """A contract and a clock that stands in the epoch before the one that is summed up."""

    def __init__(self, terms: Terms = TERMS, name: str = "Summaries") -> None:
        super().__init__()
        self.terms = terms
        self.now_s = GENESIS_S
        self.challenger, self.other = account("challenger"), account("other challenger")
        for one in (self.challenger, self.other):
            self.give(one, RICH)
        self.contract_ = self.contract(name, *terms.arguments)

    def send(self, function: str, *args: Any, **options: Any) -> Outcome:
        return self.contract_.send(function, *args, **options)

    def read(self, function: str, *args: Any) -> Any:
        return self.contract_.read(function, *args)

    def registration(self, node: SummaryNode, **changes: Any) -> tuple[Any, ...]:
        says = RegisterNode(NETWORK, node.key, node.operator.address, node.payee, 0, NEVER)
        says = replace(says, **changes)
        return NodeRegistration(
            says, node.operator.sign(says.digest(self.contract_.domain))
        ).arguments

    def register(self, *nodes: SummaryNode) -> Outcome:
        entries = [self.registration(node) for node in nodes]
        return self.send("register_nodes", entries, value=STAKE * len(nodes))

    def signed(self, node: SummaryNode, epoch: int = EPOCH, **changes: Any) -> SignedSummary:
        summary = replace(node.summary, **changes)
        return SignedSummary.sign(
            node.operator, self.contract_.domain, NETWORK, epoch, node.key, summary
        )

    def commit(self, *nodes: SummaryNode) -> Outcome:
        self.now_s = max(self.now_s, END_S)
        return self.send("commit_many", EPOCH, [self.signed(node).words for node in nodes])

    def challenge(self, node: SummaryNode, by: Any = None, **options: Any) -> Outcome:
        options = {"value": BOND, **options}
        return self.send(
            "challenge", EPOCH, node.key, node.summary.words,
            sender=by or self.challenger, **options,
        )  # fmt: skip

    def next_block(self, count: int = 1) -> None:
        """Blocks in which nothing of ours happens."""
        for _ in range(count):
            self.env.evm.patch.block_number = self.block + 1

    def seed(self, node: SummaryNode, by: Any = None) -> bytes:
        return self.read("challenge_state", EPOCH, node.key, by or self.challenger)[3]

    def draw(self, node: SummaryNode, by: Any = None) -> bytes:
        self.next_block()
        self.send("draw", EPOCH, node.key, by or self.challenger)
        return self.seed(node, by)

    def answer(self, node: SummaryNode, shown: list[Gap] | None = None, by: Any = None) -> Outcome:
        if shown is None:
            shown = node.jobs.answer(self.seed(node, by), self.terms.samples)
        return self.send(
            "answer", EPOCH, node.key, by or self.challenger, node.summary.words,
            [gap.words for gap in shown],
        )  # fmt: skip

    def expire(self, node: SummaryNode, by: Any = None) -> Outcome:
        return self.send("expire", EPOCH, node.key, by or self.challenger, node.summary.words)

    def claim(self, node: SummaryNode) -> Outcome:
        return self.send("claim", EPOCH, node.key, node.summary.words)

    def settle(self) -> None:
        """Go behind the challenge window."""
        closed_at = self.read("epoch_state", EPOCH)[1]
        self.now_s = max(self.now_s, closed_at + self.terms.challenge_seconds)
