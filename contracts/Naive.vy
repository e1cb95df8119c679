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
@dev Written in favour of the model, to compare with: a job takes two storage words, nodes need not
     register, evaluation is a plain sum, and the share's rounding stays in the contract.

     Packed words:
       job      node 160 | started_at 32 | ended_at 32 | value 32
       progress jobs evaluated 128 | total weight 128
"""


struct Job:
    job_id: bytes32
    started_at: uint32
    ended_at: uint32
    value: uint32


event Paid:
    epoch: indexed(uint64)
    node: indexed(address)
    amount: uint256

event Refused:
    epoch: indexed(uint64)
    node: indexed(address)
    amount: uint256


PER_CALL: constant(uint256) = 1024
U128_MASK: constant(uint256) = 2**128 - 1

genesis: public(immutable(uint256))
epoch_seconds: public(immutable(uint256))

funds: public(HashMap[uint64, uint256])
# What a node refused when it was pushed; it may collect it.
owed: public(HashMap[address, uint256])
weights: public(HashMap[uint64, HashMap[address, uint256]])
job_ids: HashMap[uint64, HashMap[uint256, bytes32]]
job_words: HashMap[uint64, HashMap[uint256, uint256]]
job_counts: HashMap[uint64, uint256]
nodes: HashMap[uint64, HashMap[uint256, address]]
node_counts: HashMap[uint64, uint256]
progress: HashMap[uint64, uint256]
paid_nodes: HashMap[uint64, uint256]


@deploy
def __init__(genesis_: uint256, epoch_seconds_: uint256):
    """
    @notice Fixes when epoch 0 starts and how long epochs are.
    """
    assert epoch_seconds_ != 0, "naive: epoch seconds"
    genesis = genesis_
    epoch_seconds = epoch_seconds_


@external
@payable
def fund(epoch: uint64):
    """
    @notice Adds to what an epoch pays that has paid nobody yet.
    """
    assert self.paid_nodes[epoch] == 0, "naive: paid"
    self.funds[epoch] += msg.value


@external
def submit(job: Job):
    """
    @notice Stores one job of the calling node in the running epoch.
    """
    epoch: uint64 = self._running()
    count: uint256 = self.job_counts[epoch]
    self._store(epoch, count, job)
    self.job_counts[epoch] = count + 1


@external
def submit_many(jobs: DynArray[Job, PER_CALL]):
    """
    @notice The same for many.
    """
    epoch: uint64 = self._running()
    count: uint256 = self.job_counts[epoch]
    for job: Job in jobs:
        self._store(epoch, count, job)
        count += 1
    self.job_counts[epoch] = count


@internal
def _store(epoch: uint64, place: uint256, job: Job):
    assert job.started_at <= job.ended_at, "naive: times"
    self.job_ids[epoch][place] = job.job_id
    self.job_words[epoch][place] = (
        (convert(msg.sender, uint256) << 96)
        | (convert(job.started_at, uint256) << 64)
        | (convert(job.ended_at, uint256) << 32)
        | convert(job.value, uint256)
    )


@external
def evaluate(epoch: uint64, n: uint256):
    """
    @notice Adds the next `n` jobs of an ended epoch to their nodes' weights. Anyone may call.
    """
    assert epoch < self._running(), "naive: early"
    word: uint256 = self.progress[epoch]
    done: uint256 = word >> 128
    total: uint256 = word & U128_MASK
    assert n != 0 and done + n <= self.job_counts[epoch], "naive: jobs"
    for i: uint256 in range(n, bound=PER_CALL):
        job: uint256 = self.job_words[epoch][done + i]
        node: address = convert(job >> 96, address)
        value: uint256 = job & (2**32 - 1)
        before: uint256 = self.weights[epoch][node]
        if before == 0 and value != 0:
            count: uint256 = self.node_counts[epoch]
            self.nodes[epoch][count] = node
            self.node_counts[epoch] = count + 1
        self.weights[epoch][node] = before + value
        total += value
    self.progress[epoch] = ((done + n) << 128) | total


@external
def pay(epoch: uint64, n: uint256):
    """
    @notice Pushes the next `n` nodes' shares of an evaluated epoch. Anyone may call.
    """
    word: uint256 = self.progress[epoch]
    count: uint256 = self.job_counts[epoch]
    assert count != 0 and word >> 128 == count and epoch < self._running(), "naive: not evaluated"
    paid: uint256 = self.paid_nodes[epoch]
    assert n != 0 and paid + n <= self.node_counts[epoch], "naive: nodes"
    self.paid_nodes[epoch] = paid + n
    for i: uint256 in range(n, bound=PER_CALL):
        node: address = self.nodes[epoch][paid + i]
        amount: uint256 = self.funds[epoch] * self.weights[epoch][node] // (word & U128_MASK)
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
def push(payees: DynArray[address, PER_CALL], amounts: DynArray[uint256, PER_CALL]):
    """
    @notice Sends amounts that come with the call to many at once: what pushing alone costs.
    @dev Each payee must accept, or nobody is paid.
    """
    assert len(payees) == len(amounts), "naive: lengths"
    left: uint256 = msg.value
    for i: uint256 in range(len(payees), bound=PER_CALL):
        assert amounts[i] <= left, "naive: value"
        left -= amounts[i]
        sent: bool = raw_call(
            payees[i], b"", value=amounts[i], gas=0, revert_on_failure=False
        )
        assert sent, "naive: payment"
    assert left == 0, "naive: value"


@internal
@view
def _running() -> uint64:
    assert block.timestamp >= genesis, "naive: early"
    return convert((block.timestamp - genesis) // epoch_seconds, uint64)
