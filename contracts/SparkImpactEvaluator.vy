# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title SparkImpactEvaluator: ImpactEvaluator with Spark's parameters and known sensors
@custom:contract-name SparkImpactEvaluator
@license Apache-2.0
@notice As ImpactEvaluator, but only holders of MEASURE_ROLE add measurements.
"""

import access_control
import impact_rounds

initializes: access_control
initializes: impact_rounds[access_control := access_control]

exports: (access_control.__interface__, impact_rounds.__interface__)

MEASURE_ROLE: public(constant(bytes32)) = keccak256("MEASURE_ROLE")


@deploy
def __init__(admin: address):
    """
    @notice Rounds of 20 minutes at 30 seconds a block, and 1,000 FIL for a month of 2,190 of them.
            Round 0, which starts here, has the length and reward of ImpactEvaluator's.
    @param admin Becomes admin and evaluator.
    """
    access_control.__init__()
    impact_rounds.__init__(admin)
    impact_rounds.nextRoundLength = 40
    impact_rounds.roundReward = 456621004566210045


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
    @notice Says where measurements of the current round are. Only sensors.
    @return The round they belong to.
    """
    assert impact_rounds.access_control.hasRole[MEASURE_ROLE][msg.sender], "Not a sensor"
    return impact_rounds._add_measurements(cid)
