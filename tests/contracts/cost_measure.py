"""What an epoch costs, in the models that the design compares; `python tests/contracts/cost_measure.py` renews the files.

Everything here is sent as signed transactions to the embedded chain (prague rules) and read from receipts. Per item: two
batches of different size, and the difference. The main contracts' figures come from their own snapshot, gas.json.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from summary_world import TERMS

from meridian.contracts.artefact import load
from meridian.contracts.calldata import NodeRegistration
from meridian.contracts.statements import RegisterNode
from meridian.measure.row import JobRow
from meridian.models.summary import SignedSummary, Terms
from meridian.models.summary_tree import NodeJobs
from meridian.node.chain.contract import Contract, creation_code
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.signing import Call, Fees, sign_transaction
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import ByteMatrix, sha256
from meridian.primitives.ids import Address, node_key, parse_address
from meridian.primitives.keys import PrivateKey

HERE = Path(__file__).parent
SNAPSHOT, MAIN = HERE / "gas_costs.json", HERE / "gas.json"
PAGE = HERE.parents[1] / "docs" / "costs.md"
CHAIN_ID = 31337
BLOCK_GAS = 60_000_000
GENESIS_S = 1_800_000_000
EPOCH_S = 600
NAIVE_TERMS = (GENESIS_S, EPOCH_S, 0, 0, 7)
SMALL, LARGE = 100, 300
JOBS_PER_NODE = 10
NODES = (1_000, 100_000, 10_000_000)
ETHER = 10**18
POINTS = 10
NETWORK, FAR = TERMS.network, 2**64 - 1
MAX_SCORE = 10**15


@dataclass
class Desk:
    """One rich account, its chain, and the gas of what it sends."""

    now_s: int = GENESIS_S
    nonce: int = 0

    def __post_init__(self) -> None:
        self.key = PrivateKey(sha256(b"cost of an epoch"))
        alloc = {self.key.address: 10**30}
        self.chain = EmbeddedChain(None, CHAIN_ID, alloc, clock=lambda: self.now_s)

    def send(self, to: Address | None, data: bytes, value: int = 0) -> dict[str, Any]:
        raw = sign_transaction(
            self.key,
            Call(to, data, value),
            chain_id=CHAIN_ID,
            nonce=self.nonce,
            gas=BLOCK_GAS,
            fees=Fees(10**10, 0),
        )[1]
        self.nonce += 1
        tx_hash = self.chain.call("eth_sendRawTransaction", "0x" + raw.hex())
        receipt = self.chain.call("eth_getTransactionReceipt", tx_hash)
        assert receipt["status"] == "0x1", "a measured transaction failed"
        return receipt

    def deploy(self, name: str, *args: Any) -> "Measured":
        receipt = self.send(None, creation_code(load(name), args))
        address = parse_address(receipt["contractAddress"])
        return Measured(
            self, Contract(self.chain, address, load(name)), int(receipt["gasUsed"], 16)
        )


@dataclass
class Measured:
    desk: Desk
    contract: Contract
    deploy_gas: int

    def gas(self, function: str, *args: Any, value: int = 0) -> int:
        data = self.contract.encode(function, *args)
        return int(self.desk.send(self.contract.address, data, value)["gasUsed"], 16)


def people(first: int, n: int) -> list[Address]:
    return [Address(sha256(b"payee", i.to_bytes(8, "big"))[:20]) for i in range(first, first + n)]


def jobs(first: int, n: int, epoch: int = 0) -> list[tuple[bytes, int, int, int]]:
    start = GENESIS_S + epoch * EPOCH_S
    numbers = range(first, first + n)
    return [(sha256(b"job", i.to_bytes(8, "big")), start, start + 9, 7) for i in numbers]


def per_item(small: int, large: int) -> int:
    return (large - small) // (LARGE - SMALL)


def measure_naive() -> dict[str, int]:
    desk = Desk()
    naive = desk.deploy("Naive", *NAIVE_TERMS)
    rows = {"deploy Naive": naive.deploy_gas}
    naive.gas("submit", jobs(0, 1)[0])
    rows["naive: submit one job"] = naive.gas("submit", jobs(1, 1)[0])
    rows[f"naive: submit {JOBS_PER_NODE} jobs"] = naive.gas("submit_many", jobs(10, JOBS_PER_NODE))
    small = naive.gas("submit_many", jobs(1_000, SMALL))
    rows["naive: submit, per job in a batch"] = per_item(
        small, naive.gas("submit_many", jobs(2_000, LARGE))
    )
    desk.now_s += EPOCH_S
    rows["naive: close an epoch"] = naive.gas("close_epoch")
    naive.gas("evaluate", 0, 1)
    small = naive.gas("evaluate", 0, SMALL)
    rows["naive: evaluate, per job of a node seen before"] = per_item(
        small, naive.gas("evaluate", 0, LARGE)
    )
    return rows | measure_naive_nodes(desk, naive)


def measure_naive_nodes(desk: Desk, naive: Measured) -> dict[str, int]:
    """Evaluation and payment per node, for 40 nodes of one job each."""
    nodes = [PrivateKey(sha256(b"node", bytes([i]))) for i in range(40)]
    naive.gas("fund", 1, value=ETHER)
    for node in nodes:
        desk.send(node.address, b"", ETHER)
    own, nonce = desk.key, desk.nonce
    for i, node in enumerate(nodes):
        desk.key, desk.nonce = node, 0
        naive.gas("submit", jobs(5_000 + i, 1, epoch=1)[0])
    desk.key, desk.nonce = own, nonce
    desk.now_s += EPOCH_S
    naive.gas("close_epoch")
    evaluated = [naive.gas("evaluate", 1, n) for n in (10, 30)]
    paid = [naive.gas("pay", 1, n) for n in (10, 30)]
    return {
        "naive: evaluate, per first job of a node": (evaluated[1] - evaluated[0]) // 20,
        "naive: pay, per node": (paid[1] - paid[0]) // 20,
    }


def measure_push() -> dict[str, int]:
    desk = Desk()
    naive = desk.deploy("Naive", *NAIVE_TERMS)
    rows = {}
    for name in ("new account", "existing account"):
        costs = [
            naive.gas("push", people(first, n), [ETHER] * n, value=n * ETHER)
            for first, n in ((0, SMALL), (SMALL, LARGE))
        ]
        rows[f"push: per payee, {name}"] = per_item(*costs)
    return rows


def measure_scores() -> dict[str, int]:
    desk = Desk()
    impact = desk.deploy("ImpactEvaluator", desk.key.address)
    rows = {"deploy ImpactEvaluator": impact.deploy_gas}
    desk.send(impact.contract.address, b"", 10**24)
    for _ in range(3):
        impact.gas("adminAdvanceRound")
    cid = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    impact.gas("addMeasurements", cid)
    rows["addMeasurements"] = impact.gas("addMeasurements", cid)
    index = impact.contract.read("previousRoundIndex")
    impact.gas("setMinBalanceForTransfer", 0)
    for name in ("first", "repeated"):
        costs = [
            impact.gas("setScores", index, people(first, n), [MAX_SCORE // 1000] * n)
            for first, n in ((0, SMALL), (SMALL, LARGE))
        ]
        rows[f"setScores: per participant, {name}"] = per_item(*costs)
    rows["releaseRewards"] = impact.gas("releaseRewards")
    impact.gas("setMaxTransfersPerTx", 1)
    impact.gas("tick")
    paid = []
    for n in (SMALL, SMALL + 100):
        impact.gas("setMaxTransfersPerTx", n)
        paid.append(impact.gas("tick"))
    rows["tick: per payment to a new account"] = (paid[1] - paid[0]) // 100
    return rows


def measure_summaries() -> dict[str, int]:
    """The summary model: 100 nodes of one job, and one of a thousand that is asked for ten points."""
    desk = Desk()
    terms = replace(
        TERMS, genesis_s=desk.now_s - EPOCH_S, first_epoch=0, stake_min_atto=1, samples=POINTS,
        commit_seconds=600, challenge_seconds=600, answer_seconds=600, exit_seconds=1_800,
    )  # fmt: skip
    contract = desk.deploy("Summaries", *terms.arguments)
    domain = Domain(CHAIN_ID, contract.contract.address)
    jobs_of_one = NodeJobs(summary_rows(terms, 1))
    jobs_of_many = NodeJobs(summary_rows(terms, 1_000))
    nodes = [node_key(f"n{number}") for number in range(64)]
    says = [
        RegisterNode(NETWORK, node, desk.key.address, desk.key.address, 0, FAR) for node in nodes
    ]
    entries = [NodeRegistration(one, desk.key.sign(one.digest(domain))).arguments for one in says]
    joined = [
        contract.gas("register_nodes", group, value=len(group))
        for group in (entries[:20], entries[20:])
    ]
    contract.gas("fund", 0, value=ETHER)

    def signed(group: list[Any]) -> list[Any]:
        own = jobs_of_one.summary
        return [SignedSummary.sign(desk.key, domain, NETWORK, 0, node, own).words for node in group]

    contract.gas("commit", 0, nodes[0], jobs_of_many.summary.words)
    alone = contract.gas("commit", 0, nodes[1], jobs_of_one.summary.words)
    batched = [contract.gas("commit_many", 0, signed(nodes[2:12]))]
    batched.append(contract.gas("commit_many", 0, signed(nodes[12:52])))
    desk.now_s += terms.commit_seconds + 100
    many = (nodes[0], jobs_of_many.summary.words)
    rows = {
        "deploy Summaries": contract.deploy_gas,
        "summary: register, per node in a batch": (joined[1] - joined[0]) // 24,
        "summary: commit, alone": alone,
        "summary: commit, per node in a batch": (batched[1] - batched[0]) // 30,
        "summary: challenge": contract.gas("challenge", 0, *many, value=terms.bond_atto),
        "summary: draw": contract.gas("draw", 0, nodes[0], desk.key.address),
    }
    seed = contract.contract.read("challenge_state", 0, nodes[0], desk.key.address)[3]
    shown = [gap.words for gap in jobs_of_many.answer(seed, POINTS)]
    answer = (0, nodes[0], desk.key.address, jobs_of_many.summary.words, shown)
    rows[f"summary: answer, {POINTS} points of 1,000 jobs"] = contract.gas("answer", *answer)
    desk.now_s += terms.challenge_seconds
    own = jobs_of_one.summary.words
    rows["summary: claim, alone"] = contract.gas("claim", 0, nodes[1], own)
    claimed = [contract.gas("claim_many", 0, [(node, own) for node in nodes[2:12]])]
    claimed.append(contract.gas("claim_many", 0, [(node, own) for node in nodes[12:52]]))
    return rows | {"summary: claim, per node in a batch": (claimed[1] - claimed[0]) // 30}


def summary_rows(terms: Terms, count: int) -> ByteMatrix:
    """A node's jobs, each of weight 1, in the order of their keys."""
    start_us = terms.genesis_s * 10**6
    made = [
        JobRow(
            1, 0, sha256(b"job", i.to_bytes(4, "big")), start_us, start_us + 1,
            (1).to_bytes(16, "big"), sha256(b"private", i.to_bytes(4, "big")),
        )
        for i in range(count)
    ]  # fmt: skip
    encoded = b"".join(row.encode() for row in sorted(made, key=lambda row: row.job_key))
    return np.frombuffer(encoded, dtype=np.uint8).reshape(count, -1)


def measure() -> dict[str, int]:
    """Gas by what is measured."""
    return measure_naive() | measure_summaries() | measure_push() | measure_scores()


def snapshot_text(gas: dict[str, int]) -> str:
    return json.dumps(gas, indent=1) + "\n"


def epochs(gas: dict[str, int], main: dict[str, dict[str, int]]) -> dict[str, list[int]]:
    """Gas of one epoch by model, for each number of nodes."""
    ours = sum(
        main[name]["prague"]
        for name in (
            "open_epochs, 1 epoch, members as before",
            "commit",
            "report, 31 signatures",
            "settle, 1 epoch, budget as before",
        )
    )
    job = gas["naive: evaluate, per job of a node seen before"]
    node = gas["naive: evaluate, per first job of a node"] + gas["naive: pay, per node"]
    rest = node + job * (JOBS_PER_NODE - 1)
    single = gas["naive: submit one job"] * JOBS_PER_NODE + rest
    batched = gas[f"naive: submit {JOBS_PER_NODE} jobs"] + rest
    score = gas["setScores: per participant, repeated"]
    push = gas["push: per payee, existing account"]
    first = gas["setScores: per participant, first"]
    return {
        "Meridian": [ours for _ in NODES],
        "naive, a transaction for each job": [n * single for n in NODES],
        f"naive, each node's {JOBS_PER_NODE} jobs in one transaction": [n * batched for n in NODES],
        "summary, each node by itself": [n * gas["summary: commit, alone"] for n in NODES],
        "summary, relayed in batches": [
            n * gas["summary: commit, per node in a batch"] for n in NODES
        ],
        "push payments alone": [n * push for n in NODES],
        "`setScores`, participants known": [n * score for n in NODES],
        "`setScores`, participants new": [n * first for n in NODES],
    }


def page_text(gas: dict[str, int], main: dict[str, dict[str, int]]) -> str:
    """The whole of docs/costs.md."""
    lines = [
        "# What an epoch costs",
        "",
        "Written by `python tests/contracts/cost_measure.py`; a test compares it with what it measures.",
        "Gas under prague rules. One block of the embedded chain has 60,000,000.",
        "",
        f"| model | {' | '.join(f'{n:,} nodes' for n in NODES)} | blocks at {NODES[-1]:,} |",
        "|---|---:|---:|---:|---:|",
    ]
    for model, row in epochs(gas, main).items():
        blocks = -(-row[-1] // BLOCK_GAS)
        lines.append(f"| {model} | {' | '.join(f'{cost:,}' for cost in row)} | {blocks:,} |")
    challenged = sum(
        gas[f"summary: {name}"]
        for name in ("challenge", "draw", f"answer, {POINTS} points of 1,000 jobs")
    )
    depths = {"10": NODES[0], "20": 2**20}
    lines += [
        "",
        "## What stands behind a row",
        "",
        "- Meridian: opening the epoch, one commitment, one report with 31 signatures, settling the budget.",
        "  None of these sees a node. The report settles the epoch too; the row counts it again, against us.",
        "- What a node takes out later, at its own time and cost, is not in the row: a claim costs "
        + ", ".join(
            f"{main[f'claim, depth {d}, later']['prague']:,} in a tree of {n:,}"
            if d == "20"
            else f"{main[f'claim, depth {d}, later']['prague']:,} at {n:,} nodes"
            for d, n in depths.items()
        )
        + " leaves.",
        "  One claim takes the amounts of all epochs before it.",
        f"- naive: {JOBS_PER_NODE} jobs a node; each is stored, evaluated, and the node's share is pushed.",
        "  What one more job costs is below, for other numbers of jobs.",
        "- summary: one summary a node, whatever the number of its jobs. Challenges are not in the row: one that is answered",
        f"  costs {challenged:,} at {POINTS} points of 1,000 jobs; nor are claims.",
        "- push payments: sending amounts in large batches, and nothing else; the payees' accounts exist.",
        "- `setScores`: this project's ImpactEvaluator, in large calls; the payments that follow are not in the row.",
        "",
        f"Measured: each single transaction, and batches of {SMALL} and {LARGE} items (10 and 30 for naive nodes,",
        "10 and 40 for summaries and their claims, 20 and 44 for their nodes, 100 and 200 for payments), which fit in a block.",
        "The cost of an item is the difference of two batches over the difference of their sizes, so a batch's fixed",
        "part is left out, in favour of the other models. The columns are that cost times the number of nodes: they are",
        "extrapolated, nobody has sent ten million of them. The row of Meridian is a sum of measured transactions.",
        "",
        "| measured | gas |",
        "|---|---:|",
    ]
    lines += [f"| {name} | {cost:,} |" for name, cost in gas.items()]
    lines += [
        "",
        "A first `setScores` entry is one that also joins the list of those who are ready, as with a minimum of zero.",
        "Measured for the earlier contract itself (its Solidity code on py-evm, in an earlier study): 24,000 for a first",
        "entry that stays below the minimum, 6,900 to 7,400 for a repeated one.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    measured = measure()
    SNAPSHOT.write_text(snapshot_text(measured))
    PAGE.write_text(page_text(measured, json.loads(MAIN.read_text())))
    print(PAGE.read_text())
