# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Evaluations: one accepted report for each epoch
@custom:contract-name Evaluations
@license Apache-2.0
@notice Accepts an epoch's report if a quorum of the epoch's members signed it, if it is about
        exactly the committed jobs and the scheduled function, and if it pays no more than the
        epoch's budget. The first valid report wins; its transmitter is stored as the winner.
@dev Reports form one chain: each names its predecessor's hash, and totals are cumulative. Epochs
     may be reported late and out of order, so "predecessor" means accepted before, not a smaller
     epoch number. The owner can only extend the schedule, for epochs that are neither funded nor
     open; it has no way to touch money or reports.

     A verdict of Disputes voids a report that is not unlocked yet, and with it all that were
     accepted after it, because their totals build on it. Their epochs can be reported again. A
     void of many reports takes several transactions; until it is through, Rewards pays no claim
     and no report is accepted, so that nobody can escape by piling up reports. `term` counts voids
     and renewals: the evaluators' agreement starts anew with each.

     Who was slashed has nothing more to lose, but stays a member of epochs that are open already.
     So an epoch that is older than the last verdict is reported only while a quorum of its members
     stands; otherwise its members are chosen anew first.

     Reward roots and totals are kept by Rewards, which holds the money: a claim then reads one
     contract. Here stand the reports' hashes.

     Packed words:
       state    epoch of the report accepted last 48 | number of reports 48 | term 32 |
                newest version 16 | its first epoch 48 |
                time of the last void, renewal or slashing 40 | a void is under way 1
       terms    first epoch 48 | rule 8 | evaluators_ppm 32 | aggregators_ppm 32 |
                committee_size 16 | committee_stake_min 96
"""

import eip712

interface Registry:
    def network() -> bytes32: view
    def genesis() -> uint64: view
    def epoch_seconds() -> uint64: view
    def first_epoch() -> uint64: view
    def evaluations() -> address: view
    def disputes() -> address: view
    def epoch_set(epoch: uint64) -> uint64: view
    def committee(epoch: uint64) -> DynArray[address, MEMBERS_MAX]: view
    def standing(epoch: uint64) -> uint64: view
    def renew(epoch: uint64) -> uint64: nonpayable

interface Commitments:
    def registry() -> address: view
    def disputes() -> address: view
    def sealing_seconds() -> uint64: view
    def standing_digest(epoch: uint64) -> bytes32: view

interface Rewards:
    def funded_through() -> uint64: view
    def last_total() -> uint128: view
    def allotment(epoch: uint64) -> (bytes32, uint128, uint64, uint16): view
    def previous_epoch(epoch: uint64) -> uint64: view
    def accept(
        epoch: uint64,
        reward_root: bytes32,
        total: uint128,
        unlock_at: uint64,
        winner: uint16,
        previous_epoch: uint64,
    ) -> uint64: nonpayable
    def forget(epoch: uint64, more: bool) -> uint64: nonpayable
    def roll(epoch: uint64) -> (uint128, uint64): nonpayable


struct Report:
    network: bytes32
    epoch: uint64
    commitment: bytes32
    function_digest: bytes32
    parameters_digest: bytes32
    inputs_root: bytes32
    block_hash: bytes32
    verdict_root: bytes32
    reward_root: bytes32
    total: uint128
    previous: bytes32

struct Terms:
    rule: uint8
    evaluators_ppm: uint32
    aggregators_ppm: uint32
    committee_size: uint16
    committee_stake_min: uint96

struct Version:
    terms: uint256
    digests: bytes32
    function_digest: bytes32
    parameters_digest: bytes32


event Scheduled:
    version: indexed(uint64)
    first_epoch: uint64
    function_digest: bytes32
    parameters_digest: bytes32
    rule: uint8
    evaluators_ppm: uint32
    aggregators_ppm: uint32
    committee_size: uint16
    committee_stake_min: uint96

event Reported:
    epoch: indexed(uint64)
    report_hash: bytes32
    transmitter: indexed(address)
    reward_root: bytes32
    total: uint128
    unlock_at: uint64
    previous: bytes32

event ReportVoided:
    epoch: indexed(uint64)
    report_hash: bytes32

event Renewed:
    epoch: indexed(uint64)
    set_id: uint64
    term: uint64

event Abandoned:
    epoch: indexed(uint64)
    atto: uint128
    to_epoch: uint64


MEMBERS_MAX: constant(uint256) = 128
DELAY_MAX: constant(uint64) = 2**32
# How many reports one transaction of a void walks back over.
VOIDS_PER_CALL: constant(uint256) = 256
EPOCH_MAX: constant(uint64) = 2**48 - 1
VERSIONS_MAX: constant(uint64) = 2**16 - 1
# Rules by which a contract can recompute a node's weight: 0 none, 1 the number of jobs, 2 and 3 the
# first and second sum of the annotation, 4 its one sum of 128 bits.
RULE_MAX: constant(uint8) = 4
PPM: constant(uint64) = 10**6

U96_MASK: constant(uint256) = 2**96 - 1
U48_MASK: constant(uint256) = 2**48 - 1
U40_MASK: constant(uint256) = 2**40 - 1
U32_MASK: constant(uint256) = 2**32 - 1
U16_MASK: constant(uint256) = 2**16 - 1
COUNT_SHIFT: constant(uint256) = 48
TERM_SHIFT: constant(uint256) = 96
VERSION_SHIFT: constant(uint256) = 128
NEWEST_SHIFT: constant(uint256) = 144
CHANGED_SHIFT: constant(uint256) = 192
VOIDING: constant(uint256) = 2**232

# The hash of an epoch that is closed for reports for good.
ABANDONED: constant(bytes32) = 0x0000000000000000000000000000000000000000000000000000000000000001

REPORT_TYPEHASH: constant(bytes32) = keccak256(
    "Report(bytes32 network,uint64 epoch,bytes32 commitment,bytes32 functionDigest,bytes32 parametersDigest,bytes32 inputsRoot,bytes32 blockHash,bytes32 verdictRoot,bytes32 rewardRoot,uint128 total,bytes32 previous)"
)
TRANSMISSION_TYPEHASH: constant(bytes32) = keccak256(
    "Transmission(bytes32 network,uint64 epoch,bytes32 reportHash)"
)
UNAVAILABLE_TYPEHASH: constant(bytes32) = keccak256(
    "Unavailable(bytes32 network,uint64 epoch,bytes32 commitment)"
)

registry: public(immutable(address))
commitments: public(immutable(address))
rewards: public(immutable(address))
disputes: public(immutable(address))
owner: public(immutable(address))
challenge_seconds: public(immutable(uint64))
report_seconds: public(immutable(uint64))
NETWORK: immutable(bytes32)
FIRST_EPOCH: immutable(uint64)
EPOCH_SECONDS: immutable(uint256)
# The second before which the first epoch cannot be reported.
FIRST_READY: immutable(uint256)
SEALING_SECONDS: immutable(uint256)

hashes: HashMap[uint64, bytes32]
state: uint256
versions: HashMap[uint64, Version]
void_target: uint64


@deploy
def __init__(
    registry_: address,
    commitments_: address,
    rewards_: address,
    disputes_: address,
    owner_: address,
    challenge_seconds_: uint64,
    report_seconds_: uint64,
    function_digest: bytes32,
    parameters_digest: bytes32,
    terms_: Terms,
):
    """
    @notice Pins the other contracts and schedules version 1 from the first epoch on.
    @param registry_ The network's Registry.
    @param commitments_ Its Commitments.
    @param rewards_ The address that Rewards will be deployed at; Rewards checks it.
    @param disputes_ The address that Disputes will be deployed at; the zero address: no disputes.
    @param owner_ The only account that may extend the schedule; the zero address: nobody.
    @param challenge_seconds_ Seconds from a report's acceptance to the first claim.
    @param report_seconds_ Seconds from an epoch's end (or a later void, renewal or slashing) until
           anybody may have it abandoned.
    @param function_digest The content address of version 1's evaluation function.
    @param parameters_digest The content address of its parameters.
    @param terms_ Its terms.
    """
    assert challenge_seconds_ <= DELAY_MAX and report_seconds_ <= DELAY_MAX, "evaluations: delay"
    assert staticcall Commitments(commitments_).registry() == registry_, "evaluations: wiring"
    assert staticcall Commitments(commitments_).disputes() == disputes_, "evaluations: wiring"
    assert staticcall Registry(registry_).evaluations() == self, "evaluations: wiring"
    assert staticcall Registry(registry_).disputes() == disputes_, "evaluations: wiring"
    assert rewards_ != empty(address), "evaluations: wiring"
    registry = registry_
    commitments = commitments_
    rewards = rewards_
    disputes = disputes_
    owner = owner_
    challenge_seconds = challenge_seconds_
    report_seconds = report_seconds_
    NETWORK = staticcall Registry(registry_).network()
    FIRST_EPOCH = staticcall Registry(registry_).first_epoch()
    EPOCH_SECONDS = convert(staticcall Registry(registry_).epoch_seconds(), uint256)
    SEALING_SECONDS = convert(staticcall Commitments(commitments_).sealing_seconds(), uint256)
    FIRST_READY = (
        convert(staticcall Registry(registry_).genesis(), uint256) + EPOCH_SECONDS + SEALING_SECONDS
    )
    assert report_seconds_ >= convert(SEALING_SECONDS, uint64), "evaluations: delay"
    self._add_version(FIRST_EPOCH, function_digest, parameters_digest, terms_)


# ------------------------------------------------------------------------------------- schedule


@external
def set_schedule(
    first_epoch: uint64, function_digest: bytes32, parameters_digest: bytes32, terms_: Terms
):
    """
    @notice Schedules another function, parameters or terms from an epoch on. By the owner.
    @dev Refused for epochs that somebody has funded, that are open, or that an earlier call covers:
         money and work are always under the version that they were given for.
    """
    assert msg.sender == owner, "evaluations: owner"
    assert first_epoch > staticcall Rewards(rewards).funded_through(), "evaluations: funded"
    assert first_epoch > self._newest_first(self.state), "evaluations: order"
    assert first_epoch <= EPOCH_MAX, "evaluations: epoch"
    assert staticcall Registry(registry).epoch_set(first_epoch) == 0, "evaluations: open"
    self._add_version(first_epoch, function_digest, parameters_digest, terms_)


@internal
def _add_version(
    first_epoch: uint64, function_digest: bytes32, parameters_digest: bytes32, given: Terms
):
    assert given.rule <= RULE_MAX, "evaluations: rule"
    assert (
        convert(given.evaluators_ppm, uint64) + convert(given.aggregators_ppm, uint64) <= PPM
    ), "evaluations: shares"
    assert convert(given.committee_size, uint256) <= MEMBERS_MAX, "evaluations: committee"
    state: uint256 = self.state
    version: uint64 = self._newest(state) + 1
    assert version <= VERSIONS_MAX, "evaluations: versions"
    self.state = (
        (state & ~((U16_MASK << VERSION_SHIFT) | (U48_MASK << NEWEST_SHIFT)))
        | (convert(version, uint256) << VERSION_SHIFT)
        | (convert(first_epoch, uint256) << NEWEST_SHIFT)
    )
    self.versions[version] = Version(
        terms=convert(first_epoch, uint256)
        | (convert(given.rule, uint256) << 48)
        | (convert(given.evaluators_ppm, uint256) << 56)
        | (convert(given.aggregators_ppm, uint256) << 88)
        | (convert(given.committee_size, uint256) << 120)
        | (convert(given.committee_stake_min, uint256) << 136),
        digests=keccak256(concat(function_digest, parameters_digest)),
        function_digest=function_digest,
        parameters_digest=parameters_digest,
    )
    log Scheduled(
        version=version,
        first_epoch=first_epoch,
        function_digest=function_digest,
        parameters_digest=parameters_digest,
        rule=given.rule,
        evaluators_ppm=given.evaluators_ppm,
        aggregators_ppm=given.aggregators_ppm,
        committee_size=given.committee_size,
        committee_stake_min=given.committee_stake_min,
    )


@internal
@pure
def _newest(state: uint256) -> uint64:
    return convert((state >> VERSION_SHIFT) & U16_MASK, uint64)


@internal
@pure
def _newest_first(state: uint256) -> uint64:
    return convert((state >> NEWEST_SHIFT) & U48_MASK, uint64)


@internal
@view
def _version(epoch: uint64, state: uint256) -> uint64:
    """
    @notice The number of the version that rules an epoch: the last one that starts at or before it.
    """
    high: uint64 = self._newest(state)
    if self._newest_first(state) <= epoch:
        return high
    low: uint64 = 1
    assert epoch >= FIRST_EPOCH, "evaluations: epoch"
    # Invariant: `low` starts at or before the epoch, `high` after it.
    for _: uint256 in range(16):
        if high - low <= 1:
            break
        middle: uint64 = low + (high - low) // 2
        if self.versions[middle].terms & U48_MASK <= convert(epoch, uint256):
            low = middle
        else:
            high = middle
    return low


# --------------------------------------------------------------------------------------- report


@external
def submit(
    report: Report,
    transmission: eip712.Sig,
    signatures: DynArray[eip712.Sig, MEMBERS_MAX],
):
    """
    @notice Accepts an epoch's report. Anyone may send it; the winner is who signed `transmission`.
    @param report The report; its hash is its EIP-712 digest, which the members signed.
    @param transmission A member's signature of Transmission(network, epoch, report hash).
    @param signatures At least a quorum of members' signatures, ascending by signer.
    """
    epoch: uint64 = report.epoch
    assert report.network == NETWORK, "evaluations: network"
    self._check_unreported(epoch)
    members: DynArray[address, MEMBERS_MAX] = staticcall Registry(registry).committee(epoch)
    assert len(members) != 0, "evaluations: not open"
    state: uint256 = self.state
    assert state & VOIDING == 0, "evaluations: voiding"
    self._check_standing(epoch, len(members), state)
    assert report.previous == self._last_report(state), "evaluations: previous"
    digest: bytes32 = staticcall Commitments(commitments).standing_digest(epoch)
    assert digest != empty(bytes32), "evaluations: uncommitted"
    assert report.commitment == digest, "evaluations: commitment"
    assert block.timestamp >= self._ready_at(epoch), "evaluations: early"
    self._check_function(
        self._version(epoch, state), report.function_digest, report.parameters_digest
    )

    report_hash: bytes32 = eip712._digest(keccak256(abi_encode(REPORT_TYPEHASH, report)))
    self._check_quorum(report_hash, members, signatures)
    place: uint256 = self._place_of_transmitter(epoch, report_hash, members, transmission)

    # Time never runs backwards and the delay is fixed, so unlock times rise along the chain of
    # reports: nothing unlocks before its predecessor. Rewards sees to it for held ones.
    previous_epoch: uint64 = epoch
    if (state >> COUNT_SHIFT) & U48_MASK != 0:
        previous_epoch = convert(state & U48_MASK, uint64)
    self.hashes[epoch] = report_hash
    self.state = (state & ~U48_MASK) + convert(epoch, uint256) + (1 << COUNT_SHIFT)
    unlock_at: uint64 = extcall Rewards(rewards).accept(
        epoch,
        report.reward_root,
        report.total,
        convert(block.timestamp, uint64) + challenge_seconds,
        convert(place, uint16),
        previous_epoch,
    )
    log Reported(
        epoch=epoch,
        report_hash=report_hash,
        transmitter=members[place],
        reward_root=report.reward_root,
        total=report.total,
        unlock_at=unlock_at,
        previous=report.previous,
    )


@internal
@view
def _check_unreported(epoch: uint64):
    known: bytes32 = self.hashes[epoch]
    if known != empty(bytes32):
        assert known != ABANDONED, "evaluations: abandoned"
        raise "evaluations: reported"


@internal
@view
def _check_function(version: uint64, function_digest: bytes32, parameters_digest: bytes32):
    """
    @notice Requires the scheduled function and parameters: one word read if they are.
    """
    if self.versions[version].digests != keccak256(concat(function_digest, parameters_digest)):
        assert (
            self.versions[version].function_digest == function_digest
        ), "evaluations: function"
        raise "evaluations: parameters"


@internal
@view
def _ready_at(epoch: uint64) -> uint256:
    """
    @notice From when on an epoch can be reported: its end and the time for self-commitments.
    """
    assert epoch >= FIRST_EPOCH, "evaluations: epoch"
    return FIRST_READY + convert(epoch - FIRST_EPOCH, uint256) * EPOCH_SECONDS


@internal
@view
def _check_standing(epoch: uint64, n: uint256, state: uint256):
    """
    @notice Requires a quorum of the epoch's members to stand. Members of epochs that started after
            the last slashing were chosen after it, so they all stand.
    """
    start: uint256 = self._ready_at(epoch) - SEALING_SECONDS - EPOCH_SECONDS
    if start <= (state >> CHANGED_SHIFT) & U40_MASK:
        standing: uint256 = convert(staticcall Registry(registry).standing(epoch), uint256)
        assert standing >= self._quorum(n), "evaluations: renew"


@internal
@view
def _check_quorum(
    digest: bytes32,
    members: DynArray[address, MEMBERS_MAX],
    signatures: DynArray[eip712.Sig, MEMBERS_MAX],
):
    """
    @notice Requires a quorum of members' signatures, strictly ascending by signer.
    @dev Signers and members both ascend, so one pass over the members finds all signers.
    """
    assert len(signatures) >= self._quorum(len(members)), "evaluations: quorum"
    n: uint256 = len(members)
    at: uint256 = 0
    last: address = empty(address)
    for signature: eip712.Sig in signatures:
        signer: address = eip712._signer(digest, signature.r, signature.vs)
        assert signer != empty(address), "evaluations: signature"
        assert convert(signer, uint256) > convert(last, uint256), "evaluations: order"
        last = signer
        for _: uint256 in range(MEMBERS_MAX):
            assert at < n, "evaluations: signer"
            if members[at] == signer:
                break
            at += 1
        at += 1


@internal
@view
def _place_of_transmitter(
    epoch: uint64,
    report_hash: bytes32,
    members: DynArray[address, MEMBERS_MAX],
    transmission: eip712.Sig,
) -> uint256:
    """
    @notice The place in the committee of the member who signed the transmission.
    """
    struct_hash: bytes32 = keccak256(
        abi_encode(TRANSMISSION_TYPEHASH, NETWORK, epoch, report_hash)
    )
    transmitter: address = eip712._signer(
        eip712._digest(struct_hash), transmission.r, transmission.vs
    )
    place: uint256 = 0
    for member: address in members:
        if member == transmitter:
            return place
        place += 1
    raise "evaluations: transmitter"


@internal
@view
def _last_report(state: uint256) -> bytes32:
    if (state >> COUNT_SHIFT) & U48_MASK == 0:
        return empty(bytes32)
    return self.hashes[convert(state & U48_MASK, uint64)]


@internal
@pure
def _quorum(n: uint256) -> uint256:
    """
    @notice q = (n + f) / 2 + 1 with f = (n - 1) / 3: two quorums share a correct member.
    """
    return (n + (n - 1) // 3) // 2 + 1


# ------------------------------------------------------------------------------ void and renewal


@external
def void(epoch: uint64):
    """
    @notice Starts a new term, and voids the epoch's report and all accepted after it, if it has
            one. Only Disputes may call, by a verdict.
    @dev At most 256 reports in one call; `continue_void` does the rest.
    """
    assert msg.sender == disputes, "evaluations: sender"
    state: uint256 = self._next_term(self.state)
    assert state & VOIDING == 0, "evaluations: voiding"
    report_hash: bytes32 = self.hashes[epoch]
    if report_hash != empty(bytes32) and report_hash != ABANDONED:
        assert block.timestamp < self._unlock_at(epoch), "evaluations: unlocked"
        state = self._walk_back(epoch, state)
    self.state = state


@external
def continue_void():
    """
    @notice Walks on with a void that one transaction could not finish. Anyone may call.
    """
    state: uint256 = self.state
    assert state & VOIDING != 0, "evaluations: no void"
    self.state = self._walk_back(self.void_target, state)


@internal
def _walk_back(target: uint64, state_: uint256) -> uint256:
    """
    @notice Forgets reports from the latest one back to that of `target`, as many as fit.
    @return The new state word, which the caller stores.
    """
    state: uint256 = state_
    for _: uint256 in range(VOIDS_PER_CALL):
        epoch: uint64 = convert(state & U48_MASK, uint64)
        previous: uint64 = extcall Rewards(rewards).forget(epoch, epoch != target)
        log ReportVoided(epoch=epoch, report_hash=self.hashes[epoch])
        self.hashes[epoch] = empty(bytes32)
        state = (state & ~U48_MASK) - (1 << COUNT_SHIFT)
        if previous != epoch:
            state += convert(previous, uint256)
        if epoch == target:
            return state & ~VOIDING
    self.void_target = target
    return state | VOIDING


@external
def note_slashing():
    """
    @notice Remembers that an evaluator was slashed now. Only Registry calls this.
    """
    assert msg.sender == registry, "evaluations: sender"
    self.state = (self.state & ~(U40_MASK << CHANGED_SHIFT)) | (block.timestamp << CHANGED_SHIFT)


@internal
@view
def _next_term(state: uint256) -> uint256:
    """
    @notice The state word with the next term and the present time.
    """
    return (
        (state & ~(U40_MASK << CHANGED_SHIFT)) | (block.timestamp << CHANGED_SHIFT)
    ) + (1 << TERM_SHIFT)


@external
def renew(epoch: uint64):
    """
    @notice Has an open, unreported epoch's members chosen anew, when verdicts left fewer than a
            quorum of them. Anyone may call. Starts a new term.
    """
    self._check_unreported(epoch)
    n: uint256 = len(staticcall Registry(registry).committee(epoch))
    assert n != 0, "evaluations: not open"
    standing: uint256 = convert(staticcall Registry(registry).standing(epoch), uint256)
    assert standing < self._quorum(n), "evaluations: standing"
    state: uint256 = self._next_term(self.state)
    self.state = state
    set_id: uint64 = extcall Registry(registry).renew(epoch)
    log Renewed(epoch=epoch, set_id=set_id, term=self._term(state))


# ---------------------------------------------------------------------------------- abandonment


@external
def declare_unavailable(epoch: uint64, signatures: DynArray[eip712.Sig, MEMBERS_MAX]):
    """
    @notice Closes an epoch for good whose published data cannot be had, so says a quorum of its
            members; its budget goes to the next epoch that can be funded. Anyone may send it.
    @param signatures Of Unavailable(network, epoch, epoch digest), ascending by signer.
    """
    self._check_unreported(epoch)
    members: DynArray[address, MEMBERS_MAX] = staticcall Registry(registry).committee(epoch)
    assert len(members) != 0, "evaluations: not open"
    self._check_standing(epoch, len(members), self.state)
    commitment: bytes32 = staticcall Commitments(commitments).standing_digest(epoch)
    assert commitment != empty(bytes32), "evaluations: uncommitted"
    assert block.timestamp >= self._ready_at(epoch), "evaluations: early"
    struct_hash: bytes32 = keccak256(
        abi_encode(UNAVAILABLE_TYPEHASH, NETWORK, epoch, commitment)
    )
    self._check_quorum(eip712._digest(struct_hash), members, signatures)
    self._abandon(epoch)


@external
def abandon(epoch: uint64):
    """
    @notice Closes an epoch for good that has had no report for `report_seconds`; its budget goes
            to the next epoch that can be funded. Anyone may call.
    """
    self._check_unreported(epoch)
    assert staticcall Registry(registry).epoch_set(epoch) != 0, "evaluations: not open"
    since: uint256 = max(
        self._ready_at(epoch) - SEALING_SECONDS, (self.state >> CHANGED_SHIFT) & U40_MASK
    )
    assert block.timestamp >= since + convert(report_seconds, uint256), "evaluations: early"
    self._abandon(epoch)


@internal
def _abandon(epoch: uint64):
    self.hashes[epoch] = ABANDONED
    atto: uint128 = 0
    to_epoch: uint64 = 0
    atto, to_epoch = extcall Rewards(rewards).roll(epoch)
    log Abandoned(epoch=epoch, atto=atto, to_epoch=to_epoch)


# ---------------------------------------------------------------------------------------- views


@internal
@view
def _unlock_at(epoch: uint64) -> uint256:
    return convert((staticcall Rewards(rewards).allotment(epoch))[2], uint256)


@internal
@pure
def _term(state: uint256) -> uint64:
    return convert((state >> TERM_SHIFT) & U32_MASK, uint64)


@internal
@view
def _report_hash(epoch: uint64) -> bytes32:
    known: bytes32 = self.hashes[epoch]
    if known == ABANDONED:
        return empty(bytes32)
    return known


@external
@view
def unlocked(epoch: uint64) -> bool:
    """
    @notice Whether claims of an epoch can be paid now.
    """
    if self._report_hash(epoch) == empty(bytes32) or self.state & VOIDING != 0:
        return False
    return block.timestamp >= self._unlock_at(epoch)


@external
@view
def report(epoch: uint64) -> (bytes32, bytes32, uint128, uint64, address):
    """
    @notice The accepted report's hash, reward root, cumulative total, unlock time and
            transmitter; zeros if the epoch has not been reported.
    """
    report_hash: bytes32 = self._report_hash(epoch)
    if report_hash == empty(bytes32):
        return empty(bytes32), empty(bytes32), 0, 0, empty(address)
    reward_root: bytes32 = empty(bytes32)
    total: uint128 = 0
    unlock_at: uint64 = 0
    winner: uint16 = 0
    reward_root, total, unlock_at, winner = staticcall Rewards(rewards).allotment(epoch)
    members: DynArray[address, MEMBERS_MAX] = staticcall Registry(registry).committee(epoch)
    return report_hash, reward_root, total, unlock_at, members[winner]


@external
@view
def report_hash(epoch: uint64) -> bytes32:
    """
    @notice The hash of an epoch's accepted report; zero if there is none.
    """
    return self._report_hash(epoch)


@external
@view
def previous_epoch(epoch: uint64) -> uint64:
    """
    @notice The epoch of the report that was accepted before that of `epoch`; `epoch` itself if
            there is none.
    """
    return staticcall Rewards(rewards).previous_epoch(epoch)


@external
@view
def unlock_at(epoch: uint64) -> uint64:
    """
    @notice From when on an epoch's claims are paid; 0 if the epoch has not been reported.
    """
    return convert(self._unlock_at(epoch), uint64)


@external
@view
def ready_at(epoch: uint64) -> uint64:
    """
    @notice From when on an epoch can be reported.
    """
    return convert(self._ready_at(epoch), uint64)


@external
@view
def is_abandoned(epoch: uint64) -> bool:
    """
    @notice Whether an epoch is closed for reports for good.
    """
    return self.hashes[epoch] == ABANDONED


@external
@view
def last_report() -> bytes32:
    """
    @notice The hash of the report accepted last, which the next one must name; zero at first.
    """
    return self._last_report(self.state)


@external
@view
def last_epoch() -> uint64:
    """
    @notice The epoch of the report accepted last; 0 at first.
    """
    return convert(self.state & U48_MASK, uint64)


@external
@view
def last_total() -> uint128:
    """
    @notice The cumulative total of the report accepted last.
    """
    return staticcall Rewards(rewards).last_total()


@external
@view
def report_count() -> uint64:
    """
    @notice The number of accepted reports.
    """
    return convert((self.state >> COUNT_SHIFT) & U48_MASK, uint64)


@external
@view
def term() -> uint64:
    """
    @notice How many times anything was voided or renewed.
    """
    return self._term(self.state)


@external
@view
def voiding() -> bool:
    """
    @notice Whether a void waits for `continue_void`.
    """
    return self.state & VOIDING != 0


@external
@view
def quorum(epoch: uint64) -> uint64:
    """
    @notice The number of signatures that a report of an open epoch needs.
    """
    n: uint256 = len(staticcall Registry(registry).committee(epoch))
    assert n != 0, "evaluations: not open"
    return convert(self._quorum(n), uint64)


@external
@view
def version_count() -> uint64:
    """
    @notice The number of versions of the schedule.
    """
    return self._newest(self.state)


@external
@view
def schedule(epoch: uint64) -> (uint64, bytes32, bytes32):
    """
    @notice The version, function and parameters that rule an epoch.
    """
    version: uint64 = self._version(epoch, self.state)
    return (
        version,
        self.versions[version].function_digest,
        self.versions[version].parameters_digest,
    )


@external
@view
def terms(epoch: uint64) -> Terms:
    """
    @notice The terms of the version that rules an epoch.
    """
    word: uint256 = self.versions[self._version(epoch, self.state)].terms
    return Terms(
        rule=convert((word >> 48) & 255, uint8),
        evaluators_ppm=convert((word >> 56) & U32_MASK, uint32),
        aggregators_ppm=convert((word >> 88) & U32_MASK, uint32),
        committee_size=convert((word >> 120) & U16_MASK, uint16),
        committee_stake_min=convert((word >> 136) & U96_MASK, uint96),
    )


@external
@view
def committee_rule(epoch: uint64) -> (uint16, uint96):
    """
    @notice The greatest number of an epoch's members (0 = no limit) and their least stake.
    """
    word: uint256 = self.versions[self._version(epoch, self.state)].terms
    return (
        convert((word >> 120) & U16_MASK, uint16),
        convert((word >> 136) & U96_MASK, uint96),
    )
