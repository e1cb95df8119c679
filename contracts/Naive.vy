# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Naive: every job on chain, for comparison
@custom:contract-name Naive
@license Apache-2.0
@notice The model that Meridian's design starts from, as plain as it is described there: each node
        submits each job; the contract adds up each node's values of an epoch, and pays each node
        its share of the epoch's money. Nobody checks that a job happened; do not use it for money.
@dev Written in favour of the model, to compare with: nodes need not register, jobs are stored and
     summed as `job_sums` says, and the share's rounding stays in the contract.
"""

import job_sums

initializes: job_sums

exports: job_sums.__interface__


event Paid:
    epoch: indexed(uint64)
    node: indexed(address)
    amount: uint256

event Refused:
    epoch: indexed(uint64)
    node: indexed(address)
    amount: uint256


funds: public(HashMap[uint64, uint256])
# What a node refused when it was pushed; it may collect it.
owed: public(HashMap[address, uint256])
paid_nodes: public(HashMap[uint64, uint256])


@deploy
def __init__(
    genesis_: uint256,
    epoch_seconds_: uint256,
    first_epoch_: uint64,
    grace_seconds_: uint256,
    value_max_: uint32,
):
    """
    @notice Fixes the clock and what a job may be worth, as `job_sums` says.
    """
    job_sums.__init__(genesis_, epoch_seconds_, first_epoch_, grace_seconds_, value_max_)


@external
@payable
def fund(epoch: uint64):
    """
    @notice Adds to what an epoch pays that has paid nobody yet.
    """
    assert self.paid_nodes[epoch] == 0, "naive: paid"
    self.funds[epoch] += msg.value


@external
def pay(epoch: uint64, n: uint256):
    """
    @notice Pushes the next `n` nodes' shares of an evaluated epoch. Anyone may call.
    """
    total: uint256 = job_sums._total(epoch)
    paid: uint256 = self.paid_nodes[epoch]
    assert n != 0 and paid + n <= job_sums.node_counts[epoch], "naive: nodes"
    self.paid_nodes[epoch] = paid + n
    for i: uint256 in range(n, bound=job_sums.PER_CALL):
        node: address = job_sums.nodes[epoch][paid + i]
        amount: uint256 = self.funds[epoch] * job_sums.weights[epoch][node] // total
        if raw_call(node, b"", value=amount, gas=0, revert_on_failure=False):
            log Paid(epoch=epoch, node=node, amount=amount)
        else:
            self.owed[node] += amount
            log Refused(epoch=epoch, node=node, amount=amount)


@external
def collect():
    """
    @notice Pays the caller what it refused before.
    """
    amount: uint256 = self.owed[msg.sender]
    assert amount != 0, "naive: nothing"
    self.owed[msg.sender] = 0
    sent: bool = raw_call(msg.sender, b"", value=amount, revert_on_failure=False)
    assert sent, "naive: payment"


@external
@payable
def push(payees: DynArray[address, job_sums.PER_CALL], amounts: DynArray[uint256, job_sums.PER_CALL]):
    """
    @notice Sends amounts that come with the call to many at once: what pushing alone costs.
    @dev Each payee must accept, or nobody is paid.
    """
    assert len(payees) == len(amounts), "naive: lengths"
    left: uint256 = msg.value
    for i: uint256 in range(len(payees), bound=job_sums.PER_CALL):
        assert amounts[i] <= left, "naive: value"
        left -= amounts[i]
        sent: bool = raw_call(
            payees[i], b"", value=amounts[i], gas=0, revert_on_failure=False
        )
        assert sent, "naive: payment"
    assert left == 0, "naive: value"
