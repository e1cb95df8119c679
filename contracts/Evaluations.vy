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

     Reward roots and totals are kept by Rewards, which holds the money: a claim then reads one
     contract. Here stand the reports' hashes.

     Packed word:
       latest   epoch of the report accepted last 64 | number of reports 64
"""

import eip712

interface Registry:
    def network() -> bytes32: view
    def first_epoch() -> uint64: view
    def epoch_set(epoch: uint64) -> uint64: view
    def committee(epoch: uint64) -> DynArray[address, MEMBERS_MAX]: view

interface Commitments:
    def registry() -> address: view
    def epoch_digest(epoch: uint64) -> bytes32: view

interface Rewards:
    def funded_through() -> uint64: view
    def last_total() -> uint128: view
    def allotment(epoch: uint64) -> (bytes32, uint128, uint64, uint16): view
    def accept(
        epoch: uint64, reward_root: bytes32, total: uint128, unlock_at: uint64, winner: uint16
    ): nonpayable


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

struct Version:
    first_epoch: uint64
    function_digest: bytes32
    parameters_digest: bytes32


event Scheduled:
    version: indexed(uint64)
    first_epoch: uint64
    function_digest: bytes32
    parameters_digest: bytes32

event Reported:
    epoch: indexed(uint64)
    report_hash: bytes32
    transmitter: indexed(address)
    reward_root: bytes32
    total: uint128
    unlock_at: uint64
    previous: bytes32


MEMBERS_MAX: constant(uint256) = 128
DELAY_MAX: constant(uint64) = 2**32
U64_MASK: constant(uint256) = 2**64 - 1

REPORT_TYPEHASH: constant(bytes32) = keccak256(
    "Report(bytes32 network,uint64 epoch,bytes32 commitment,bytes32 functionDigest,bytes32 parametersDigest,bytes32 inputsRoot,bytes32 blockHash,bytes32 verdictRoot,bytes32 rewardRoot,uint128 total,bytes32 previous)"
)
TRANSMISSION_TYPEHASH: constant(bytes32) = keccak256(
    "Transmission(bytes32 network,uint64 epoch,bytes32 reportHash)"
)

registry: public(immutable(address))
commitments: public(immutable(address))
rewards: public(immutable(address))
owner: public(immutable(address))
challenge_seconds: public(immutable(uint64))
NETWORK: immutable(bytes32)

hashes: HashMap[uint64, bytes32]
latest: uint256
versions: HashMap[uint64, Version]
version_count: public(uint64)


@deploy
def __init__(
    registry_: address,
    commitments_: address,
    rewards_: address,
    owner_: address,
    challenge_seconds_: uint64,
    function_digest: bytes32,
    parameters_digest: bytes32,
):
    """
    @notice Pins the other contracts and schedules version 1 from the first epoch on.
    @param registry_ The network's Registry.
    @param commitments_ Its Commitments.
    @param rewards_ The address that Rewards will be deployed at; Rewards checks it.
    @param owner_ The only account that may extend the schedule; the zero address: nobody.
    @param challenge_seconds_ Seconds from a report's acceptance to the first claim.
    @param function_digest The content address of version 1's evaluation function.
    @param parameters_digest The content address of its parameters.
    """
    assert staticcall Commitments(commitments_).registry() == registry_, "evaluations: wiring"
    assert rewards_ != empty(address), "evaluations: wiring"
    assert challenge_seconds_ <= DELAY_MAX, "evaluations: delay"
    registry = registry_
    commitments = commitments_
    rewards = rewards_
    owner = owner_
    challenge_seconds = challenge_seconds_
    NETWORK = staticcall Registry(registry_).network()
    self._add_version(
        staticcall Registry(registry_).first_epoch(), function_digest, parameters_digest
    )


# ------------------------------------------------------------------------------------- schedule


@external
def set_schedule(first_epoch: uint64, function_digest: bytes32, parameters_digest: bytes32):
    """
    @notice Schedules another function or other parameters from an epoch on. By the owner.
    @dev Refused for epochs that somebody has funded, that are open, or that an earlier call covers:
         money and work are always under the version that they were given for.
    """
    assert msg.sender == owner, "evaluations: owner"
    assert first_epoch > staticcall Rewards(rewards).funded_through(), "evaluations: funded"
    assert first_epoch > self.versions[self.version_count].first_epoch, "evaluations: order"
    assert staticcall Registry(registry).epoch_set(first_epoch) == 0, "evaluations: open"
    self._add_version(first_epoch, function_digest, parameters_digest)


@internal
def _add_version(first_epoch: uint64, function_digest: bytes32, parameters_digest: bytes32):
    version: uint64 = self.version_count + 1
    self.version_count = version
    self.versions[version] = Version(
        first_epoch=first_epoch,
        function_digest=function_digest,
        parameters_digest=parameters_digest,
    )
    log Scheduled(
        version=version,
        first_epoch=first_epoch,
        function_digest=function_digest,
        parameters_digest=parameters_digest,
    )


@internal
@view
def _version(epoch: uint64) -> uint64:
    """
    @notice The number of the version that rules an epoch: the last one that starts at or before it.
    """
    high: uint64 = self.version_count
    if self.versions[high].first_epoch <= epoch:
        return high
    low: uint64 = 1
    assert self.versions[low].first_epoch <= epoch, "evaluations: epoch"
    # Invariant: `low` starts at or before the epoch, `high` after it.
    for _: uint256 in range(64):
        if high - low <= 1:
            break
        middle: uint64 = low + (high - low) // 2
        if self.versions[middle].first_epoch <= epoch:
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
    assert self.hashes[epoch] == empty(bytes32), "evaluations: reported"
    members: DynArray[address, MEMBERS_MAX] = staticcall Registry(registry).committee(epoch)
    assert len(members) != 0, "evaluations: not open"
    latest: uint256 = self.latest
    assert report.previous == self._last_report(latest), "evaluations: previous"
    digest: bytes32 = staticcall Commitments(commitments).epoch_digest(epoch)
    assert digest != empty(bytes32), "evaluations: uncommitted"
    assert report.commitment == digest, "evaluations: commitment"
    version: uint64 = self._version(epoch)
    assert report.function_digest == self.versions[version].function_digest, "evaluations: function"
    assert (
        report.parameters_digest == self.versions[version].parameters_digest
    ), "evaluations: parameters"

    report_hash: bytes32 = eip712._digest(keccak256(abi_encode(REPORT_TYPEHASH, report)))
    self._check_quorum(report_hash, members, signatures)
    place: uint256 = self._place_of_transmitter(epoch, report_hash, members, transmission)

    # Time never runs backwards and the delay is fixed, so unlock times rise along the chain of
    # reports: nothing unlocks before its predecessor.
    unlock_at: uint64 = convert(block.timestamp, uint64) + challenge_seconds
    self.hashes[epoch] = report_hash
    self.latest = (convert(epoch, uint256) << 64) | ((latest & U64_MASK) + 1)
    extcall Rewards(rewards).accept(
        epoch, report.reward_root, report.total, unlock_at, convert(place, uint16)
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
def _last_report(latest: uint256) -> bytes32:
    if latest & U64_MASK == 0:
        return empty(bytes32)
    return self.hashes[convert(latest >> 64, uint64)]


@internal
@pure
def _quorum(n: uint256) -> uint256:
    """
    @notice q = (n + f) / 2 + 1 with f = (n - 1) / 3: two quorums share a correct member.
    """
    return (n + (n - 1) // 3) // 2 + 1


# ---------------------------------------------------------------------------------------- views


@external
@view
def unlocked(epoch: uint64) -> bool:
    """
    @notice Whether claims of an epoch can be paid now.
    """
    if self.hashes[epoch] == empty(bytes32):
        return False
    return block.timestamp >= convert((staticcall Rewards(rewards).allotment(epoch))[2], uint256)


@external
@view
def report(epoch: uint64) -> (bytes32, bytes32, uint128, uint64, address):
    """
    @notice The accepted report's hash, reward root, cumulative total, unlock time and
            transmitter; zeros if the epoch has not been reported.
    """
    report_hash: bytes32 = self.hashes[epoch]
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
def last_report() -> bytes32:
    """
    @notice The hash of the report accepted last, which the next one must name; zero at first.
    """
    return self._last_report(self.latest)


@external
@view
def last_epoch() -> uint64:
    """
    @notice The epoch of the report accepted last; 0 at first.
    """
    return convert(self.latest >> 64, uint64)


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
    return convert(self.latest & U64_MASK, uint64)


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
def schedule(epoch: uint64) -> (uint64, bytes32, bytes32):
    """
    @notice The version, function and parameters that rule an epoch.
    """
    version: uint64 = self._version(epoch)
    ruling: Version = self.versions[version]
    return version, ruling.function_digest, ruling.parameters_digest
