# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Jobs in storage, and their sums
@custom:contract-name job_sums
@license Apache-2.0
@notice Each node submits each job; when an epoch is closed, anyone has its jobs added up.
        Nobody checks that a job happened.
@dev A library with state. One epoch is open at a time; it takes the jobs that ended in it. Anyone
     closes it when it and the grace are over, and that opens the next one. Jobs are numbered
     through all epochs. A job takes two storage words, and evaluation is a plain sum.

     Packed words:
       job      node 160 | started_at 32 | ended_at 32 | value 32
       intake   open epoch 128 | number of jobs so far 128
       progress jobs evaluated 128 | total weight 128
"""


struct Job:
    job_id: bytes32
    started_at: uint32
    ended_at: uint32
    value: uint32


event Closed:
    epoch: indexed(uint64)
    first_job: uint256
    jobs: uint256


PER_CALL: constant(uint256) = 1024
U128_MASK: constant(uint256) = 2**128 - 1

genesis: public(immutable(uint256))
epoch_seconds: public(immutable(uint256))
first_epoch: public(immutable(uint64))
grace_seconds: public(immutable(uint256))
value_max: public(immutable(uint32))

weights: public(HashMap[uint64, HashMap[address, uint256]])
# A job's number + 1 by its node and id.
places: public(HashMap[address, HashMap[bytes32, uint256]])
job_words: HashMap[uint256, uint256]
intake: uint256
ends: HashMap[uint64, uint256]
nodes: HashMap[uint64, HashMap[uint256, address]]
node_counts: HashMap[uint64, uint256]
progress: HashMap[uint64, uint256]


@deploy
def __init__(
    genesis_: uint256,
    epoch_seconds_: uint256,
    first_epoch_: uint64,
    grace_seconds_: uint256,
    value_max_: uint32,
):
    """
    @notice Fixes the clock, and what a job may be worth.
    @param genesis_ When the first epoch starts, in seconds since the Unix epoch.
    @param epoch_seconds_ The length of every epoch.
    @param first_epoch_ The number of the first epoch.
    @param grace_seconds_ How long after its end an epoch's jobs are certainly still taken.
    @param value_max_ The greatest value of a job; 1 where jobs are counted.
    """
    assert epoch_seconds_ != 0, "jobs: epoch seconds"
    genesis = genesis_
    epoch_seconds = epoch_seconds_
    first_epoch = first_epoch_
    grace_seconds = grace_seconds_
    value_max = value_max_
    self.intake = convert(first_epoch_, uint256) << 128


@external
def submit(job: Job):
    """
    @notice Stores one job of the calling node, in the open epoch.
    """
    word: uint256 = self.intake
    start: uint256 = self._start(word >> 128)
    self._store(word & U128_MASK, job, start, start + epoch_seconds)
    self.intake = word + 1


@external
def submit_many(jobs: DynArray[Job, PER_CALL]):
    """
    @notice The same for many: all of them, or none.
    """
    word: uint256 = self.intake
    start: uint256 = self._start(word >> 128)
    end: uint256 = start + epoch_seconds
    for job: Job in jobs:
        self._store(word & U128_MASK, job, start, end)
        word += 1
    self.intake = word


@internal
def _store(place: uint256, job: Job, start: uint256, end: uint256):
    ended_at: uint256 = convert(job.ended_at, uint256)
    assert job.started_at <= job.ended_at, "jobs: times"
    assert start <= ended_at and ended_at < end, "jobs: epoch"
    assert job.value <= value_max, "jobs: value"
    assert self.places[msg.sender][job.job_id] == 0, "jobs: known"
    self.places[msg.sender][job.job_id] = place + 1
    self.job_words[place] = (
        (convert(msg.sender, uint256) << 96)
        | (convert(job.started_at, uint256) << 64)
        | (ended_at << 32)
        | convert(job.value, uint256)
    )


@external
def close_epoch():
    """
    @notice Closes the open epoch once it and the grace are over, and opens the next. By anyone.
    """
    word: uint256 = self.intake
    number: uint256 = word >> 128
    assert (
        block.timestamp >= self._start(number) + epoch_seconds + grace_seconds
    ), "jobs: early"
    epoch: uint64 = convert(number, uint64)
    self.ends[epoch] = word & U128_MASK
    self.intake = word + 2**128
    first_job: uint256 = self._first_job(epoch)
    log Closed(epoch=epoch, first_job=first_job, jobs=(word & U128_MASK) - first_job)


@external
def evaluate(epoch: uint64, n: uint256):
    """
    @notice Adds the next `n` jobs of a closed epoch to their nodes' weights. Anyone may call.
    """
    word: uint256 = self.progress[epoch]
    next: uint256 = self._first_job(epoch) + (word >> 128)
    total: uint256 = word & U128_MASK
    assert self._is_closed(epoch), "jobs: early"
    assert n != 0 and next + n <= self.ends[epoch], "jobs: number"
    for i: uint256 in range(n, bound=PER_CALL):
        job: uint256 = self.job_words[next + i]
        node: address = convert(job >> 96, address)
        value: uint256 = job & (2**32 - 1)
        before: uint256 = self.weights[epoch][node]
        if before == 0 and value != 0:
            count: uint256 = self.node_counts[epoch]
            self.nodes[epoch][count] = node
            self.node_counts[epoch] = count + 1
        self.weights[epoch][node] = before + value
        total += value
    self.progress[epoch] = (((word >> 128) + n) << 128) | total


@internal
@view
def _start(epoch: uint256) -> uint256:
    return genesis + (epoch - convert(first_epoch, uint256)) * epoch_seconds


@internal
@view
def _is_closed(epoch: uint64) -> bool:
    return epoch >= first_epoch and convert(epoch, uint256) < self.intake >> 128


@internal
@view
def _first_job(epoch: uint64) -> uint256:
    if epoch <= first_epoch:
        return 0
    return self.ends[epoch - 1]


@external
@view
def open_epoch() -> uint64:
    """
    @notice The epoch that takes jobs.
    """
    return convert(self.intake >> 128, uint64)


@internal
@view
def _total(epoch: uint64) -> uint256:
    """
    @notice The total weight of an epoch that is closed and has all its jobs evaluated.
    """
    word: uint256 = self.progress[epoch]
    jobs: uint256 = self.ends[epoch] - self._first_job(epoch)
    assert self._is_closed(epoch) and word >> 128 == jobs, "jobs: not evaluated"
    return word & U128_MASK


@external
@view
def state_of(epoch: uint64) -> (uint256, uint256, uint256, uint256, uint256):
    """
    @notice An epoch's first job, number of jobs (up to now, if it is open), jobs evaluated, total
            weight, and nodes with a weight; zeros if it has not been opened.
    """
    word: uint256 = self.progress[epoch]
    first: uint256 = 0
    jobs: uint256 = 0
    if self._is_closed(epoch):
        first = self._first_job(epoch)
        jobs = self.ends[epoch] - first
    elif convert(epoch, uint256) == self.intake >> 128:
        first = self._first_job(epoch)
        jobs = (self.intake & U128_MASK) - first
    return first, jobs, word >> 128, word & U128_MASK, self.node_counts[epoch]


@external
@view
def job_range(first: uint256, n: uint256) -> DynArray[uint256, PER_CALL]:
    """
    @notice The packed words of `n` jobs from number `first` on.
    """
    assert first + n <= self.intake & U128_MASK, "jobs: number"
    words: DynArray[uint256, PER_CALL] = []
    for i: uint256 in range(n, bound=PER_CALL):
        words.append(self.job_words[first + i])
    return words
