# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Rounds of summaries: commitments, challenges and shares of nodes that keep their jobs
@custom:contract-name summary_rounds
@license Apache-2.0
@notice For each epoch a node commits to its own jobs: a root, their
        number, and their weight, its summary. The weights are added up as they come, so a node's
        share of the epoch's money is its weight over that sum, without a loop over nodes. Then
        anyone with a bond may challenge a node; whoever inherits this module says how a node
        answers (`_begin_answer`, `_point`, `_end_answer`). A node that does not answer loses its
        stake, and its summary does not count. When no challenge is open any more, shares are paid.
@dev An epoch is opened by its first summary, which may come when the epoch is over. It is closed
     after `commit_seconds`, or when all nodes that were registered at its opening have committed
     (others may not: their number could close it before one of these). Then challenges may be
     opened for `challenge_seconds`.

     What a node has to show is drawn from the hash of the block in which the challenge stands:
     nobody who commits or challenges knows it then, but whoever makes that block. The hash must be
     fetched within 256 blocks (`draw`, by anyone); after that the draw starts again at a later one.

     Nothing here is changed by anybody later; there is no owner.

     Packed words:
       clock       opened_at 64 | closed_at 64 (0 = not yet by number) | summaries 64 |
                   open challenges 64
       pot         weight of all standing summaries 128 | money 128
       challenge   block 64 | deadline 64; closed: the top bit alone
"""

import summary_nodes

uses: summary_nodes


struct Summary:
    root: bytes32
    jobs: uint64
    weight: uint128

struct Signed:
    node_key: bytes32
    summary: Summary
    r: uint256
    vs: uint256

struct Claim:
    node_key: bytes32
    summary: Summary


event Funded:
    epoch: indexed(uint64)
    amount: uint256

event Summarised:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    root: bytes32
    jobs: uint64
    weight: uint128

event Challenged:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    challenger: indexed(address)
    deadline: uint64

event Drawn:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    challenger: indexed(address)
    seed: bytes32

event Answered:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    challenger: indexed(address)

event Voided:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    challenger: indexed(address)
    weight: uint128
    stake: uint256

event Paid:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    payee: indexed(address)
    amount: uint256


SAMPLES_MAX: constant(uint256) = 48
JOBS_MAX: constant(uint64) = 2**32
BLOCKS_KEPT: constant(uint256) = 256
U64_MASK: constant(uint256) = 2**64 - 1
U128_MASK: constant(uint256) = 2**128 - 1
ONE_SUMMARY: constant(uint256) = 2**128
ONE_CHALLENGE: constant(uint256) = 2**192
OVER: constant(uint256) = 2**255
# What a record becomes; no Keccak-256 that anybody can find is one of these.
VOIDED: constant(bytes32) = 0x0000000000000000000000000000000000000000000000000000000000000001
PAID: constant(bytes32) = 0x0000000000000000000000000000000000000000000000000000000000000002

SUMMARY_TYPEHASH: constant(bytes32) = keccak256(
    "Summary(bytes32 network,uint64 epoch,bytes32 nodeKey,bytes32 root,uint64 jobs,uint128 weight)"
)

genesis: public(immutable(uint64))
epoch_seconds: public(immutable(uint64))
first_epoch: public(immutable(uint64))
commit_seconds: public(immutable(uint64))
challenge_seconds: public(immutable(uint64))
answer_seconds: public(immutable(uint64))
bond: public(immutable(uint256))
# How many points of a summary a challenge asks for.
samples: public(immutable(uint256))
# The most that one job may weigh.
value_max: public(immutable(uint64))

clocks: HashMap[uint64, uint256]
pots: HashMap[uint64, uint256]
# The nodes' counts when an epoch was opened.
members: HashMap[uint64, uint256]
record: public(HashMap[uint64, HashMap[bytes32, bytes32]])
challenges: HashMap[bytes32, uint256]
seeds: HashMap[bytes32, bytes32]


@deploy
def __init__(
    genesis_: uint64,
    epoch_seconds_: uint64,
    first_epoch_: uint64,
    windows: uint64[3],
    bond_: uint256,
    samples_: uint256,
    value_max_: uint64,
):
    """
    @notice Pins the network's clock and the rules of its rounds for good.
    @param windows Seconds to commit, to challenge and to answer; together not longer than the nodes'
           exit time, so that who leaves can still be challenged.
    @param bond_ What a challenger puts down; the challenged node gets it if it answers.
    @param samples_ How many points a challenge asks for.
    @param value_max_ The most that one job may weigh.
    """
    assert epoch_seconds_ != 0, "summaries: epoch seconds"
    for seconds: uint64 in windows:
        assert seconds != 0 and seconds <= summary_nodes.DELAY_MAX, "summaries: windows"
    assert (
        summary_nodes.exit_seconds >= windows[0] + windows[1] + windows[2]
    ), "summaries: windows"
    assert samples_ != 0 and samples_ <= SAMPLES_MAX, "summaries: samples"
    assert value_max_ != 0, "summaries: value max"
    genesis = genesis_
    epoch_seconds = epoch_seconds_
    first_epoch = first_epoch_
    commit_seconds = windows[0]
    challenge_seconds = windows[1]
    answer_seconds = windows[2]
    bond = bond_
    samples = samples_
    value_max = value_max_


# ------------------------------------------------------------------------------------ summaries


@external
@payable
def fund(epoch: uint64):
    """
    @notice Adds to what an epoch pays, until its summaries are closed.
    """
    assert epoch >= first_epoch, "summaries: epoch"
    assert not self._is_closed(self.clocks[epoch]), "summaries: closed"
    self._add_money(epoch, msg.value)


@external
def roll(epoch: uint64, to: uint64):
    """
    @notice Gives the money of a settled epoch in which no summary stands to one not closed yet.
    """
    self._check_settled(epoch)
    pot: uint256 = self.pots[epoch]
    assert pot & U128_MASK == 0 and pot != 0, "summaries: nothing"
    assert not self._is_closed(self.clocks[to]), "summaries: closed"
    self.pots[epoch] = 0
    self._add_money(to, pot >> 128)


@internal
def _add_money(epoch: uint64, amount: uint256):
    pot: uint256 = self.pots[epoch]
    assert (pot >> 128) + amount <= U128_MASK, "summaries: amount"
    self.pots[epoch] = pot + (amount << 128)
    log Funded(epoch=epoch, amount=amount)


@external
def commit(epoch: uint64, node_key: bytes32, summary: Summary):
    """
    @notice Commits a node to its jobs of an epoch, once. By its operator. Who has none says so:
            then the epoch need not wait for it.
    """
    identity: uint256 = summary_nodes._active(node_key)
    assert summary_nodes._operator(identity) == msg.sender, "summaries: operator"
    assert self.record[epoch][node_key] == empty(bytes32), "summaries: committed"
    clock: uint256 = 0
    members: uint256 = 0
    clock, members = self._open(epoch)
    self._record(epoch, node_key, summary, identity, members)
    self._count(epoch, clock, members, 1, convert(summary.weight, uint256))


@external
def commit_many(epoch: uint64, entries: DynArray[Signed, summary_nodes.PER_CALL]):
    """
    @notice The same for many nodes, each signed for by its operator. Anyone may relay.
    @dev A node that has committed already is passed over, so that it cannot stop the others.
    """
    clock: uint256 = 0
    members: uint256 = 0
    clock, members = self._open(epoch)
    n: uint256 = 0
    weight: uint256 = 0
    for entry: Signed in entries:
        if self.record[epoch][entry.node_key] != empty(bytes32):
            continue
        identity: uint256 = summary_nodes._active(entry.node_key)
        struct_hash: bytes32 = keccak256(
            abi_encode(SUMMARY_TYPEHASH, summary_nodes.network, epoch, entry.node_key, entry.summary)
        )
        summary_nodes._check_signer(
            summary_nodes._operator(identity), struct_hash, entry.r, entry.vs
        )
        self._record(epoch, entry.node_key, entry.summary, identity, members)
        n += 1
        weight += convert(entry.summary.weight, uint256)
    assert n != 0, "summaries: nothing"
    self._count(epoch, clock, members, n, weight)


@internal
def _open(epoch: uint64) -> (uint256, uint256):
    """
    @notice The clock and the counts of an epoch that takes summaries, which the first one opens.
    """
    clock: uint256 = self.clocks[epoch]
    if clock == 0:
        assert block.timestamp >= self._start(epoch) + convert(
            epoch_seconds, uint256
        ), "summaries: early"
        counts: uint256 = summary_nodes.counts
        self.members[epoch] = counts
        return block.timestamp, counts
    assert not self._is_closed(clock), "summaries: closed"
    return clock, self.members[epoch]


@internal
def _record(
    epoch: uint64, node_key: bytes32, summary: Summary, identity: uint256, members: uint256
):
    assert summary_nodes._number(identity) < members >> 64, "summaries: new"
    assert summary.jobs <= JOBS_MAX, "summaries: jobs"
    assert convert(summary.weight, uint256) <= convert(summary.jobs, uint256) * convert(
        value_max, uint256
    ), "summaries: weight"
    self.record[epoch][node_key] = keccak256(abi_encode(summary))
    log Summarised(
        epoch=epoch,
        node_key=node_key,
        root=summary.root,
        jobs=summary.jobs,
        weight=summary.weight,
    )


@internal
def _count(epoch: uint64, clock_: uint256, members: uint256, n: uint256, weight: uint256):
    """
    @notice Adds summaries to the epoch's sum, and closes it when all its nodes have committed.
    @dev The sum keeps within its 128 bits: 2**32 jobs of 2**64 and fewer than 2**32 nodes.
    """
    clock: uint256 = clock_ + n * ONE_SUMMARY
    if (clock >> 128) & U64_MASK == members & U64_MASK:
        clock |= block.timestamp << 64
    self.clocks[epoch] = clock
    self.pots[epoch] += weight


@internal
@view
def _start(epoch: uint64) -> uint256:
    """
    @notice When an epoch starts, in seconds since the Unix epoch.
    """
    assert epoch >= first_epoch, "summaries: epoch"
    return convert(genesis, uint256) + convert(epoch - first_epoch, uint256) * convert(
        epoch_seconds, uint256
    )


@internal
@view
def _closed_at(clock: uint256) -> uint256:
    """
    @notice From when on an epoch that has been opened takes no summaries.
    """
    by_number: uint256 = (clock >> 64) & U64_MASK
    if by_number != 0:
        return by_number
    return (clock & U64_MASK) + convert(commit_seconds, uint256)


@internal
@view
def _is_closed(clock: uint256) -> bool:
    return clock != 0 and block.timestamp >= self._closed_at(clock)


@internal
@view
def _check_record(epoch: uint64, node_key: bytes32, summary: Summary):
    assert self.record[epoch][node_key] == keccak256(abi_encode(summary)), "summaries: record"


# ----------------------------------------------------------------------------------- challenges


@external
@payable
def challenge(epoch: uint64, node_key: bytes32, summary: Summary):
    """
    @notice Asks a node for points of its summary, once for each challenger; the value is the bond.
    """
    assert msg.value == bond, "summaries: bond"
    clock: uint256 = self.clocks[epoch]
    assert self._is_closed(clock), "summaries: early"
    assert block.timestamp < self._closed_at(clock) + convert(
        challenge_seconds, uint256
    ), "summaries: late"
    assert summary.weight != 0, "summaries: nothing"
    self._check_record(epoch, node_key, summary)
    id: bytes32 = self._id(epoch, node_key, msg.sender)
    assert self.challenges[id] == 0, "summaries: challenged"
    deadline: uint256 = block.timestamp + convert(answer_seconds, uint256)
    self.challenges[id] = block.number | (deadline << 64)
    self.clocks[epoch] = clock + ONE_CHALLENGE
    log Challenged(
        epoch=epoch,
        node_key=node_key,
        challenger=msg.sender,
        deadline=convert(deadline, uint64),
    )


@external
def draw(epoch: uint64, node_key: bytes32, challenger: address):
    """
    @notice Keeps the hash of the challenge's block, from which the points follow. Anyone may call,
            in one of the 256 blocks behind it; later this block takes that one's place, which is
            logged as a draw of nothing.
    """
    id: bytes32 = self._id(epoch, node_key, challenger)
    word: uint256 = self.challenges[id]
    self._check_open(word)
    assert self.seeds[id] == empty(bytes32), "summaries: drawn"
    if block.number > (word & U64_MASK) + BLOCKS_KEPT:
        self.challenges[id] = (word & ~U64_MASK) | block.number
        log Drawn(epoch=epoch, node_key=node_key, challenger=challenger, seed=empty(bytes32))
        return
    self._draw(epoch, node_key, challenger, id, word)


@internal
def _draw(
    epoch: uint64, node_key: bytes32, challenger: address, id: bytes32, word: uint256
) -> bytes32:
    at: uint256 = word & U64_MASK
    assert block.number > at and block.number <= at + BLOCKS_KEPT, "summaries: draw"
    seed: bytes32 = keccak256(concat(blockhash(at), id))
    self.seeds[id] = seed
    log Drawn(epoch=epoch, node_key=node_key, challenger=challenger, seed=seed)
    return seed


@internal
def _begin_answer(
    epoch: uint64, node_key: bytes32, challenger: address, summary: Summary
) -> bytes32:
    """
    @notice Requires a challenge to wait for an answer about this summary.
    @return The seed of its points.
    """
    id: bytes32 = self._id(epoch, node_key, challenger)
    word: uint256 = self.challenges[id]
    self._check_open(word)
    assert block.timestamp <= word >> 64, "summaries: late"
    self._check_record(epoch, node_key, summary)
    seed: bytes32 = self.seeds[id]
    if seed == empty(bytes32):
        seed = self._draw(epoch, node_key, challenger, id, word)
    return seed


@internal
@view
def _point(seed: bytes32, number: uint256, weight: uint128) -> uint256:
    """
    @notice The point of a summary, from 0 and below its weight, that must be shown as `number`.
    @dev The weight is cut into as many equal parts as there are points, and one is drawn in each: so
         points ascend, and missing weight is found at least as often as by independent draws.
    """
    whole: uint256 = convert(weight, uint256)
    low: uint256 = whole * number // samples
    width: uint256 = max(whole * (number + 1) // samples - low, 1)
    return low + convert(keccak256(concat(seed, convert(number, bytes32))), uint256) % width


@internal
def _end_answer(epoch: uint64, node_key: bytes32, challenger: address):
    """
    @notice Closes a challenge that was answered: the node's operator gets the bond.
    """
    self._close(epoch, self._id(epoch, node_key, challenger))
    operator: address = summary_nodes._operator(summary_nodes.identities[node_key])
    summary_nodes.credit[operator] += bond
    log Answered(epoch=epoch, node_key=node_key, challenger=challenger)


@external
def expire(epoch: uint64, node_key: bytes32, challenger: address, summary: Summary):
    """
    @notice Closes a challenge that was not answered in time. The summary is void, the stake lost,
            and the node barred. If the summary is void already, the challenger gets its bond back.
    """
    id: bytes32 = self._id(epoch, node_key, challenger)
    word: uint256 = self.challenges[id]
    self._check_open(word)
    self._close(epoch, id)
    summary_nodes.credit[challenger] += bond
    if self.record[epoch][node_key] == VOIDED:
        return
    assert block.timestamp > word >> 64, "summaries: early"
    self._check_record(epoch, node_key, summary)
    self.record[epoch][node_key] = VOIDED
    self.pots[epoch] -= convert(summary.weight, uint256)
    stake: uint256 = summary_nodes._slash(node_key, challenger)
    log Voided(
        epoch=epoch,
        node_key=node_key,
        challenger=challenger,
        weight=summary.weight,
        stake=stake,
    )


@internal
@pure
def _id(epoch: uint64, node_key: bytes32, challenger: address) -> bytes32:
    return keccak256(abi_encode(epoch, node_key, challenger))


@internal
@pure
def _check_open(word: uint256):
    assert word != 0 and word != OVER, "summaries: no challenge"


@internal
def _close(epoch: uint64, id: bytes32):
    self.challenges[id] = OVER
    self.clocks[epoch] -= ONE_CHALLENGE


# --------------------------------------------------------------------------------------- shares


@external
def claim(epoch: uint64, node_key: bytes32, summary: Summary):
    """
    @notice Pays a node's share of a settled epoch to its payee, once. Anyone may call.
    """
    self._check_settled(epoch)
    self._claim(epoch, node_key, summary, self.pots[epoch])


@external
def claim_many(epoch: uint64, claims: DynArray[Claim, summary_nodes.PER_CALL]):
    """
    @notice The same for many nodes; all or nothing.
    """
    self._check_settled(epoch)
    pot: uint256 = self.pots[epoch]
    for one: Claim in claims:
        self._claim(epoch, one.node_key, one.summary, pot)


@internal
@view
def _check_settled(epoch: uint64):
    clock: uint256 = self.clocks[epoch]
    assert clock != 0 and block.timestamp >= self._closed_at(clock) + convert(
        challenge_seconds, uint256
    ), "summaries: early"
    assert clock >> 192 == 0, "summaries: challenged"


@internal
def _claim(epoch: uint64, node_key: bytes32, summary: Summary, pot: uint256):
    """
    @dev The shares of all standing summaries, each rounded down, add up to no more than the money.
    """
    assert summary.weight != 0, "summaries: nothing"
    self._check_record(epoch, node_key, summary)
    self.record[epoch][node_key] = PAID
    amount: uint256 = (pot >> 128) * convert(summary.weight, uint256) // (pot & U128_MASK)
    payee: address = convert(
        summary_nodes.moneys[node_key] & summary_nodes.ADDRESS_MASK, address
    )
    log Paid(epoch=epoch, node_key=node_key, payee=payee, amount=amount)
    summary_nodes._pay(payee, amount)


# ---------------------------------------------------------------------------------------- views


@external
@view
def epoch_state(epoch: uint64) -> (uint64, uint64, uint64, uint64, uint128, uint128):
    """
    @notice When an epoch was opened and when it closes for summaries (0 = not opened), how many
            summaries came, how many challenges are open, the standing weight, and the money.
    """
    clock: uint256 = self.clocks[epoch]
    pot: uint256 = self.pots[epoch]
    closed_at: uint256 = 0
    if clock != 0:
        closed_at = self._closed_at(clock)
    return (
        convert(clock & U64_MASK, uint64),
        convert(closed_at, uint64),
        convert((clock >> 128) & U64_MASK, uint64),
        convert(clock >> 192, uint64),
        convert(pot & U128_MASK, uint128),
        convert(pot >> 128, uint128),
    )


@external
@view
def challenge_state(
    epoch: uint64, node_key: bytes32, challenger: address
) -> (bool, uint64, uint64, bytes32):
    """
    @notice Whether a challenge is over, its block, its deadline (zeros if over, or never made), and
            the seed that was drawn.
    """
    id: bytes32 = self._id(epoch, node_key, challenger)
    word: uint256 = self.challenges[id]
    if word == OVER:
        return True, 0, 0, self.seeds[id]
    return False, convert(word & U64_MASK, uint64), convert(word >> 64, uint64), self.seeds[id]
