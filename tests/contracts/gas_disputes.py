"""The gas of accusations: whole transactions, with verdict and payments unless the row says else."""

from accusation_cases import (
    attempted_twice,
    claims_out_of_order,
    false_total,
    forgotten_vote,
    reported_twice,
    too_much,
    took_back,
)
from contract_world import FIRST, NETWORK, Outcome, account, key
from deep_trees import commit, deep, omitted
from disputes_world import BOND, CALENDAR, REFEREES, RESPONSE_S, DisputesWorld, jobs_of
from published_epochs import from_rows, inflated_node_tree

from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import challenge_node, find_faults
from meridian.disputes.double_statements import from_evidence
from meridian.disputes.promises import SortedEpoch, double_receipt, duplicates
from meridian.disputes.ways import node_row_tree, path_words
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.evidence import double
from meridian.primitives.hashing import sha256

NODES, JOBS = 17, 10
"""2^17 nodes of 2^10 jobs: 2^27 jobs."""


def measure_judges() -> dict[str, Outcome]:
    """Deployments and accusations."""
    world = DisputesWorld()
    names = ("Disputes", "CommitmentProofs", "ReportProofs", "Referees")
    rows = {f"deploy {name}": world.deploy_gas[name] for name in names}
    for part in (
        _omissions,
        _sums_and_order,
        _promises,
        _statements,
        _reports,
        _challenges,
        _cases,
    ):
        rows |= part()
    return rows


def _split(world: DisputesWorld, fault: Accusation) -> tuple[Outcome, Outcome]:
    """An accusation's whole transaction, and the same less what Disputes and all behind it use."""
    contract = world.by_name[fault.contract]
    data = contract.encode(fault.function, *fault.arguments)
    run = world.execute(contract.address, data, world.hunter, 0, None)
    calls = [call for call in run.children if bytes(call.msg.to) == world.disputes.address]
    verdict = sum(call.get_gas_used() for call in calls)
    whole = Outcome(None, (), data, run.get_gas_used(), run.get_gas_refund())
    return whole, Outcome(None, (), data, run.get_gas_used() - verdict, 0)


def _omissions() -> dict[str, Outcome]:
    rows = {}
    for batch, name in ((0, "batch of 1"), (10, "batch of 1,024")):
        world = DisputesWorld()
        world.give(account("p"), 1)
        entry = world.node_registration(key("operator"), "n", account("p"))
        world.registry.send("register_nodes", [entry.arguments], value=10)
        made = deep(FIRST, world.aggregators[0], NODES, JOBS)
        commit(world, made)
        whole, proof = _split(world, omitted(world, made, batch))
        rows[f"omission, 2^27 jobs, {name}, proof alone"] = proof
        rows[f"omission, 2^27 jobs, {name}, with the verdict"] = whole
    return rows


def _sums_and_order() -> dict[str, Outcome]:
    rows = {}
    world = DisputesWorld()
    lie, hashed = inflated_node_tree(world.published(FIRST, jobs_of(FIRST, 1000)), 1, 7, 5)
    world.publish(lie, hashed)
    (fault,) = find_faults(lie)
    rows["bad sum, 1,000 nodes"] = world.accuse(fault)
    world = DisputesWorld()
    honest = world.published(FIRST, jobs_of(FIRST, 1000))
    order = [*range(500), 501, 500, *range(502, 1000)]
    tables = tuple(honest.job_rows[at] for at in order)
    lie = from_rows(FIRST, honest.node_rows[order], tables, world.aggregators[0])
    world.publish(lie)
    (fault,) = find_faults(lie)
    rows["disorder, 1,000 nodes"] = world.accuse(fault)
    return rows


def _promises() -> dict[str, Outcome]:
    world, rows = DisputesWorld(), {}
    row = jobs_of(FIRST, 3)["n2"][0]
    one = SortedEpoch(world.publish(world.published(FIRST, jobs_of(FIRST, 1000))))
    two = SortedEpoch(world.publish(world.published(FIRST + 1, {"n2": [row]})))
    (fault,) = duplicates(one, two, CALENDAR)
    rows["duplicate, 1,000 nodes"] = world.accuse(fault)
    world = DisputesWorld()
    receipts = [world.promise(jobs_of(FIRST, n), FIRST, 5).receipt for n in (1, 2)]
    fault = double_receipt(*receipts)
    assert fault is not None
    rows["double receipt"] = world.accuse(fault)
    return rows


def _statements() -> dict[str, Outcome]:
    world = DisputesWorld()
    world.open(FIRST)
    members = tuple(member.address for member in world.members)
    context = Context(world.evaluations.domain, NETWORK, FIRST, members)
    pair = []
    for digest in (sha256(b"a"), sha256(b"b")):
        signed = world.members[0].sign(context.statement(Kind.VOTE, 3, digest))
        pair.append((digest, signed))
    fault = from_evidence(context, double(context, 0, Kind.VOTE, 3, *pair))
    return {"double statement": world.accuse(fault)}


def _reports() -> dict[str, Outcome]:
    """Small ones: four members, four nodes; three signers lose their stakes, or one does."""
    made = {
        "wrong reward, 4 nodes, 3 signers": too_much,
        "decreased, 4 nodes, 3 signers": took_back,
        "bad claims, 4 nodes, 3 signers": false_total,
        "disordered claims, 4 nodes, 3 signers": claims_out_of_order,
        "double attempt": attempted_twice,
        "amnesia": forgotten_vote,
        "double report": reported_twice,
    }
    rows = {}
    for name, case in made.items():
        world, fault = case()
        rows[name] = world.accuse(fault)
    return rows


def _challenges() -> dict[str, Outcome]:
    rows = {}
    world = DisputesWorld()
    epoch = world.publish(world.published(FIRST, jobs_of(FIRST, 1000)))
    nodes = node_row_tree(epoch.node_rows, epoch.lanes)
    rows["challenge"] = world.accuse(challenge_node(epoch.commitment, 300))
    shown = (epoch.commitment.words, 300, nodes.rows[300], path_words(nodes.tree.path(300)))
    rows["answer, 1,000 nodes"] = world.disputes.send("answer", *shown, 0, b"", [])
    world.accuse(challenge_node(epoch.commitment, 301))
    world.now_s += RESPONSE_S + 1
    silent = (epoch.commitment.words, 301, 0, False)
    rows["resolve"] = world.disputes.send("resolve", *silent)
    return rows


def _cases() -> dict[str, Outcome]:
    rows = {}
    world = DisputesWorld()
    epoch = world.publish(world.published(FIRST, jobs_of(FIRST, 3)))
    world.open(FIRST)
    rows["escalate"] = world.disputes.send(
        "escalate", FIRST, sha256(b"text"), "ipfs://text", sender=world.hunter, value=BOND
    )
    case, wrong = rows["escalate"].value, [epoch.commitment.words]
    votes = world.ruling_signatures(case, (), wrong, True, REFEREES[:3])
    rows["decide, 3 referees, 1 aggregator"] = world.referees.send(
        "decide", case, [], wrong, True, votes, sender=world.hunter
    )
    return rows
