"""Measures the gas of every transaction; `python tests/contracts/gas_measure.py` renews snapshot and table.

The numbers are whole transactions under cancun and prague rules (EIP-7623's calldata floor), with all accounts and slots
cold, as a node charges them.
"""

import json
from pathlib import Path

from contract_world import (
    CHALLENGE_S,
    DISPUTE_TERMS,
    ETHER,
    FAR_S,
    FIRST,
    NETWORK,
    NODE_STAKE,
    ClaimTree,
    Outcome,
    World,
    account,
    claim_leaf,
    key,
)
from gas_disputes import measure_judges

from meridian.contracts.calldata import Claim, signature_words
from meridian.contracts.deployment import Terms
from meridian.contracts.statements import RelayedClaim, SelfCommit
from meridian.primitives.hashing import CLAIM_NODE, REWARD_ROOT, sha256, tagged
from meridian.primitives.ids import Address, node_key
from meridian.primitives.quorum import quorum
from meridian.primitives.sumtree import LaneKind, annotation, combine, leaf_node

HERE = Path(__file__).parent
SNAPSHOT, TABLE = HERE / "gas.json", HERE / "gas.md"
EACH = ETHER // 1000


def deep_claim(
    epoch: int, depth: int, amount: int, payee: Address | None = None
) -> tuple[Claim, bytes, int]:
    """A claim in a full tree of 2^depth leaves of which only the path exists, its root and total."""
    node, payee = node_key("n"), payee or account("payee")
    root = claim_leaf(node, payee, amount)
    index = 0b1011_0010_1011_0010_1011 & ((1 << depth) - 1)
    path = []
    for level in range(depth):
        total = (1 << level) * EACH + 977 * level
        sibling = leaf_node(sha256(bytes([level])), 1 << level, total.to_bytes(16, "big"))
        pair = (sibling, root) if index >> level & 1 else (root, sibling)
        root = combine(CLAIM_NODE, *pair, LaneKind.U128)
        path.append(sibling)
    _, (total,) = annotation(root, LaneKind.U128)
    size = 1 << depth
    reward_root = tagged(REWARD_ROOT, size.to_bytes(8, "big"), root)
    return Claim(epoch, node, payee, amount, index, size, tuple(path)), reward_root, total


def members_for(signatures: int) -> int:
    """The smallest committee that needs so many signatures."""
    return next(n for n in range(1, 129) if quorum(n) == signatures)


def measure_deployment() -> dict[str, Outcome]:
    return {f"deploy {name}": outcome for name, outcome in World().deploy_gas.items()}


def measure_registry() -> dict[str, Outcome]:
    world, rows = World(), {}
    operator = key("operator")
    for n in (1, 64):
        nonce = world.registry.read("nonces", operator.address)
        entries = [
            world.node_registration(
                operator, f"{n} {i}", account("payee"), nonce=nonce + i
            ).arguments
            for i in range(n)
        ]
        rows[f"register_nodes, {n}"] = world.registry.send(
            "register_nodes", entries, value=n * NODE_STAKE
        )
    world.join(key("first"))
    rows["register_evaluator"] = world.join(key("second"))
    rows["leave_evaluator"] = world.registry.send("leave_evaluator", sender=key("second").address)
    for n in (7, 31, 128):
        world = World()
        world.join_members(n)
        rows[f"open_epochs, 1 epoch, {n} new members"] = world.open(FIRST)
    rows["open_epochs, 1 epoch, members as before"] = world.open(FIRST + 1)
    world = World(terms=Terms(committee_size=31))
    world.join_members(128)
    rows["open_epochs, 1 epoch, 31 new members of 128"] = world.open(FIRST)
    return rows


def measure_verdicts() -> dict[str, Outcome]:
    """What Disputes calls, and what anybody may after a verdict."""
    world, rows = World(disputes=DISPUTE_TERMS, report_seconds=0), {}
    world.join_members(7)
    world.fund(FIRST, 10, ETHER)
    tree = ClaimTree({"n": (account("payee"), EACH)})
    for epoch in range(FIRST, FIRST + 3):
        world.ready(epoch)
    for epoch in range(FIRST, FIRST + 3):
        world.submit(world.report(epoch, tree.root, tree.total))
    world.give(world.judge)
    evaluations, registry = world.evaluations, world.registry
    rows["void, 1 report"] = evaluations.send("void", FIRST + 2, sender=world.judge)
    rows["void, 2 reports"] = evaluations.send("void", FIRST, sender=world.judge)
    for member in world.members[:3]:
        rows["slash_evaluator"] = registry.send(
            "slash_evaluator", member.address, sender=world.judge
        )
    rows["renew, 4 new members of 7"] = evaluations.send("renew", FIRST)
    rows["abandon"] = evaluations.send("abandon", FIRST + 1)
    return rows


def measure_reports() -> dict[str, Outcome]:
    rows = {}
    for signatures in (5, 13, 31):
        world = World()
        world.join_members(members_for(signatures))
        world.fund(FIRST, 100, ETHER)
        tree = ClaimTree({f"n{i}": (account("payee"), EACH + i) for i in range(3)})
        for epoch in range(FIRST, FIRST + 3):
            world.open(epoch)
            rows["commit"] = world.commit(epoch)
            outcome = world.submit(world.report(epoch, tree.root, tree.total))
            if epoch == FIRST:
                rows[f"report, {signatures} signatures, the network's first"] = outcome
        rows[f"report, {signatures} signatures"] = outcome
    return rows


def measure_rewards() -> dict[str, Outcome]:
    rows = {}
    for depth in (10, 16, 20):
        world = World()
        world.join_members(4)
        world.fund(FIRST, 1, ETHER)
        rows["fund, 1 epoch"] = world.fund(FIRST + 2, 1, ETHER * 10**6)
        rows["fund, 1000 epochs"] = world.fund(FIRST + 4, 1000, ETHER * 10**6)
        payee = account("payee")
        world.give(payee, 1)  # an account that exists
        world.open(FIRST + 9)
        world.rewards.send("settle", FIRST + 3)
        rows["settle, 1 epoch, another budget"] = world.rewards.send("settle", FIRST + 4)
        rows["settle, 1 epoch, budget as before"] = world.rewards.send("settle", FIRST + 5)
        for round_, name in enumerate(("first", "later", "later, relayed")):
            epoch = FIRST + 6 + round_
            claim, root, total = deep_claim(epoch, depth, EACH * (round_ + 1))
            world.ready_through(epoch)
            world.submit(world.report(epoch, root, total))
            world.now_s += CHALLENGE_S
            sender = account("relayer") if "relayed" in name else payee
            rows[f"claim, depth {depth}, {name}"] = world.claim(claim, sender)
    rows |= measure_batch()
    rows["claim_relayed, depth 20, first"] = measure_relayed()
    return rows


def measure_relayed() -> Outcome:
    world, payee = World(), key("payee")
    world.join_members(4)
    world.fund(FIRST, 1, ETHER * 10**7)
    claim, root, total = deep_claim(FIRST, 20, EACH, payee.address)
    world.give(payee.address, 1)
    world.give(account("relayer"), 1)
    world.ready(FIRST)
    world.submit(world.report(FIRST, root, total))
    world.now_s += CHALLENGE_S
    says = RelayedClaim(NETWORK, claim.node_key, payee.address, EACH // 10, 0, FAR_S)
    words = signature_words(payee.sign(says.digest(world.rewards.domain)))
    arguments = (claim.arguments, EACH // 10, FAR_S, *words)
    return world.rewards.send("claim_relayed", *arguments, sender=account("relayer"))


def measure_commitments() -> dict[str, Outcome]:
    world, rows = World(sealing_seconds=90, disputes=DISPUTE_TERMS), {}
    operator = key("operator")
    entry = world.node_registration(operator, "n", account("payee")).arguments
    world.registry.send("register_nodes", [entry], value=NODE_STAKE)
    world.give(world.judge)
    world.commit(FIRST)
    says = SelfCommit(NETWORK, FIRST, node_key("n"), bytes(32), bytes(24), bytes(32), FAR_S)
    words = signature_words(operator.sign(says.digest(world.commitments.domain)))
    rows["self_commit"] = world.commitments.send("self_commit", *says.arguments, *words)
    return rows


def measure_batch() -> dict[str, Outcome]:
    world = World()
    world.join_members(4)
    world.fund(FIRST, 1, ETHER)
    tree = world.pay_epoch(FIRST, {f"n{i}": (account(f"p{i}"), EACH + i) for i in range(64)})
    for payee, _ in tree.amounts.values():
        world.give(payee, 1)
    claims = [tree.claim(FIRST, f"n{i}").arguments for i in range(32)]
    return {"claim_many, 32 first claims, depth 6": world.rewards.send("claim_many", claims)}


def measure() -> dict[str, dict[str, int]]:
    """Gas by transaction and rules, in the order of the table; instruction by instruction, as py-evm itself runs."""
    before, World.quick = World.quick, False
    try:
        return measure_parts()
    finally:
        World.quick = before


def measure_parts() -> dict[str, dict[str, int]]:
    rows: dict[str, Outcome] = {}
    for part in (
        measure_deployment,
        measure_registry,
        measure_reports,
        measure_commitments,
        measure_verdicts,
        measure_rewards,
        measure_judges,
    ):
        rows |= part()
    return {
        name: {rules: outcome.gas(rules) for rules in ("cancun", "prague")}
        for name, outcome in rows.items()
    }


def snapshot_text(gas: dict[str, dict[str, int]]) -> str:
    return json.dumps(gas, indent=1) + "\n"


def table_text(gas: dict[str, dict[str, int]]) -> str:
    lines = [
        "# Gas of every transaction",
        "",
        "Measured on py-evm by `tests/contracts/gas_measure.py`, which writes this file.",
        "",
        "| transaction | cancun | prague |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {row['cancun']:,} | {row['prague']:,} |" for name, row in gas.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    measured = measure()
    SNAPSHOT.write_text(snapshot_text(measured))
    TABLE.write_text(table_text(measured))
    print(TABLE.read_text())
