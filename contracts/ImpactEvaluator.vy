# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title ImpactEvaluator: the interface of the earlier Meridian contract
@custom:contract-name ImpactEvaluator
@license Apache-2.0
@notice Anyone may add measurements; evaluators score rounds; admins release payments.
        `impact_rounds` says what differs from the earlier contract.
"""

import access_control
import impact_rounds

initializes: access_control
initializes: impact_rounds[access_control := access_control]

exports: (access_control.__interface__, impact_rounds.__interface__)


@deploy
def __init__(admin: address):
    """
    @param admin Becomes admin and evaluator.
    """
    access_control.__init__()
    impact_rounds.__init__(admin)


@external
@payable
def __default__():
    """
    @notice Takes money for rounds to come.
    """
    assert len(msg.data) == 0, "Unknown function"


@external
def addMeasurements(cid: String[impact_rounds.CID_BYTES]) -> uint256:
    """
    @notice Says where measurements of the current round are.
    @return The round they belong to.
    """
    return impact_rounds._add_measurements(cid)
