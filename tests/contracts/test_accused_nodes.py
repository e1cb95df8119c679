"""Which nodes' complaints an upheld accusation proves, told from its call data: one case of every accusation."""

import accusation_cases
import pytest
from accusation_cases import CASES
from contract_world import FIRST
from disputes_world import DisputesWorld, jobs_of

from meridian.contracts.artefact import load
from meridian.disputes.commitment_faults import challenge_job, challenge_node
from meridian.disputes.ways import node_row_tree
from meridian.node.chain.contract import Contract
from meridian.node.web.proven import Proven, proven_by
from meridian.primitives.ids import ZERO_ADDRESS, node_key

WHOLE = {(FIRST, None)}
PROVEN = {
    accusation_cases.made_up_sum: WHOLE,  # an inner node of the tree of nodes: the sum of all is wrong
    accusation_cases.made_up_job_sum: {(FIRST, "n4")},
    accusation_cases.out_of_order: {(FIRST, "n1"), (FIRST, "n5")},
    accusation_cases.counted_twice: {(FIRST + 1, "n2")},
    accusation_cases.dropped_job: {(FIRST, "n4"), (FIRST + 1, "n4")},
    accusation_cases.too_much: {(FIRST + 1, "n1")},
    accusation_cases.took_back: {(FIRST + 1, "n1")},
    accusation_cases.false_total: {(FIRST, "n2")},
    accusation_cases.claims_out_of_order: {(FIRST, "n0"), (FIRST, "n1")},
}  # fmt: skip
"""Equivocation, all the other cases, says nothing of what was measured."""


def proven(fault):
    """Decode the call as a server that reads the chain does."""
    judge = Contract(None, ZERO_ADDRESS, load(fault.contract))
    function, arguments = judge.decode_call(judge.encode(fault.function, *fault.arguments))
    return proven_by(function, arguments, fault.epoch)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_an_accusation_proves_what_it_names(case):
    _, fault = case()
    wanted = {
        Proven(epoch, None if name is None else node_key(name))
        for epoch, name in PROVEN.get(case, ())
    }
    assert proven(fault) == wanted


def test_a_challenge_names_a_node_only_where_it_shows_its_row():
    world = DisputesWorld()
    epoch = world.publish(world.published(FIRST, jobs_of(FIRST, 5)))
    shown = bytes(epoch.node_rows[3])[8:40]
    rows = node_row_tree(epoch.node_rows, epoch.lanes)
    assert proven(challenge_job(epoch.commitment, rows, 3, 0)) == {Proven(FIRST, shown)}
    assert proven(challenge_node(epoch.commitment, 3)) == set()
