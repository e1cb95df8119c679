# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Rounds, scores and pushed payments of the earlier Meridian contract
@custom:contract-name impact_rounds
@license Apache-2.0
@notice What ImpactEvaluator and SparkImpactEvaluator have in common. Names, types, reasons and the
        order of logs are those of the contract that Meridian's first networks used, so that their
        clients run unchanged. Evaluators are trusted here; who wants proofs uses Evaluations.
@dev Old behaviours that lost or locked money are changed:
       - a participant stands in one waiting list at most, at most once, so it is never paid twice
         nor paid zero, whatever becomes of the minimum in between;
       - a payment that fails leaves the participant's balance, and the next release tries again;
       - `withdraw` leaves what is credited and what two rounds still promise, so that neither
         participants nor the next round run dry;
       - the arrays of `addBalances` must have one length;
       - `setScores` refuses an account that is named twice in one call;
       - crediting costs the same however long the waiting lists are.

     Solvency: balance >= balanceHeld + unscored rest of the previous round + reward of the current
     round, always. Every function keeps it; so none of the subtractions below can fail.

     Waiting lists are generations of one list: `releaseRewards` makes the ready generation the
     scheduled one by counting up, whatever its length.
"""

import access_control

uses: access_control


event MeasurementsAdded:
    cid: String[256]
    roundIndex: indexed(uint256)
    sender: indexed(address)

event RoundStart:
    roundIndex: uint256

event Transfer:
    to: indexed(address)
    amount: uint256

event TransferFailed:
    to: indexed(address)
    amount: uint256


# What one message of 64 KiB can carry (Filecoin) is 1,000.
ENTRIES_PER_CALL: constant(uint256) = 1024
TRANSFERS_PER_CALL: constant(uint256) = 1024
CID_BYTES: constant(uint256) = 256

MAX_SCORE: public(constant(uint256)) = 10**15
EVALUATE_ROLE: public(constant(bytes32)) = keccak256("EVALUATE_ROLE")
# Its share of the scores is paid to nobody and returns to the contract.
BURNER: constant(address) = 0x000000000000000000000000000000000000dEaD

maxTransfersPerTx: public(uint256)
minBalanceForTransfer: public(uint256)
currentRoundIndex: public(uint256)
currentRoundEndBlockNumber: public(uint256)
currentRoundRoundReward: public(uint256)
previousRoundIndex: public(uint256)
previousRoundTotalScores: public(uint256)
previousRoundRoundReward: public(uint256)
nextRoundLength: public(uint256)
roundReward: public(uint256)
balanceHeld: public(uint256)
withdrawDisabled: public(bool)

U128_MASK: constant(uint256) = 2**128 - 1

# A participant's word: the generation in which it waits, plus 1, or 0 | balance 128.
# Generation g is scheduled, g + 1 is ready.
participants: HashMap[address, uint256]
scheduled_generation: uint256
waiting_lists: HashMap[uint256, HashMap[uint256, address]]
waiting_counts: HashMap[uint256, uint256]

# Entries of the running call of `setScores`, which one transaction may make several times.
scoring_call: transient(uint256)
scored_in_call: transient(HashMap[address, uint256])


@deploy
def __init__(admin: address):
    """
    @notice Makes `admin` admin and evaluator, and starts round 0 without reward.
    """
    self.maxTransfersPerTx = 10
    self.minBalanceForTransfer = 5 * 10**17
    self.nextRoundLength = 10
    self.roundReward = 100 * 10**18
    access_control._grant(access_control.DEFAULT_ADMIN_ROLE, admin)
    access_control._grant(EVALUATE_ROLE, admin)
    self._start_round(0)


# --------------------------------------------------------------------------------------- rounds


@external
def tick():
    """
    @notice Starts the next round if the current one is over, and pays scheduled participants.
    """
    self._tick()


@external
def adminAdvanceRound():
    """
    @notice Starts the next round now. Only admins.
    """
    self._check_admin()
    self._advance_round()


@internal
def _add_measurements(cid: String[CID_BYTES]) -> uint256:
    """
    @notice Logs where measurements are, first of all logs, and goes on as `tick`.
    @return The round the measurements belong to.
    """
    index: uint256 = self.currentRoundIndex
    log MeasurementsAdded(cid=cid, roundIndex=index, sender=msg.sender)
    self._tick()
    return index


@internal
def _tick():
    if block.number >= self.currentRoundEndBlockNumber:
        self._advance_round()
    self._pay_scheduled()


@internal
def _advance_round():
    self.previousRoundIndex = self.currentRoundIndex
    available: uint256 = self._free()
    # What the round before the previous one left is free from here on, one advance later.
    self.previousRoundTotalScores = 0
    self.previousRoundRoundReward = self.currentRoundRoundReward
    self.currentRoundRoundReward = min(available, self.roundReward)
    self._start_round(self.currentRoundIndex + 1)


@internal
def _start_round(index: uint256):
    self.currentRoundIndex = index
    self.currentRoundEndBlockNumber = block.number + self.nextRoundLength
    log RoundStart(roundIndex=index)


@internal
@view
def _free() -> uint256:
    """
    @notice The balance without what is credited and what two rounds promise.
    """
    rest: uint256 = (
        self.previousRoundRoundReward * (MAX_SCORE - self.previousRoundTotalScores) // MAX_SCORE
    )
    return self.balance - self.balanceHeld - rest - self.currentRoundRoundReward


# --------------------------------------------------------------------------------------- scores


@external
def setScores(
    roundIndex: uint256,
    addresses: DynArray[address, ENTRIES_PER_CALL],
    scores: DynArray[uint256, ENTRIES_PER_CALL],
):
    """
    @notice Credits shares of the previous round's reward. Only evaluators, in any number of calls.
    @param roundIndex The previous round.
    @param addresses Participants, each at most once in a call.
    @param scores Their shares; all calls of a round together give at most MAX_SCORE.
    """
    assert access_control.hasRole[EVALUATE_ROLE][msg.sender], "Not an evaluator"
    assert len(addresses) == len(scores), "Addresses and scores length mismatch"
    previous: uint256 = self.previousRoundIndex
    assert (
        previous != self.currentRoundIndex and roundIndex == previous
    ), "Can only score previous round"
    reward: uint256 = self.previousRoundRoundReward
    left: uint256 = MAX_SCORE - self.previousRoundTotalScores
    credited: uint256 = 0
    self.scoring_call += 1
    call: uint256 = self.scoring_call
    minimum: uint256 = self.minBalanceForTransfer
    for i: uint256 in range(len(addresses), bound=ENTRIES_PER_CALL):
        score: uint256 = scores[i]
        assert score <= left, "Sum of scores including historic too big"
        left -= score
        participant: address = addresses[i]
        if participant != BURNER:
            assert self.scored_in_call[participant] != call, "Participant scored twice"
            self.scored_in_call[participant] = call
            amount: uint256 = score * reward // MAX_SCORE
            self._credit(participant, amount, minimum)
            credited += amount
    self.previousRoundTotalScores = MAX_SCORE - left
    self.balanceHeld += credited


@external
@payable
def addBalances(
    addresses: DynArray[address, ENTRIES_PER_CALL], amounts: DynArray[uint256, ENTRIES_PER_CALL]
):
    """
    @notice Credits amounts that come with the call. Only admins.
    """
    self._check_admin()
    assert len(addresses) == len(amounts), "Addresses and balances length mismatch"
    sum: uint256 = 0
    minimum: uint256 = self.minBalanceForTransfer
    for i: uint256 in range(len(addresses), bound=ENTRIES_PER_CALL):
        sum += amounts[i]
        self._credit(addresses[i], amounts[i], minimum)
    assert sum == msg.value, "Sum of balances must match msg.value"
    self.balanceHeld += sum


@internal
def _credit(participant: address, amount: uint256, minimum: uint256):
    """
    @notice Adds to a balance, and makes the participant ready if it is beyond the minimum.
    @dev Callers see to it that what they credit exists, or revert; so a balance keeps to its bits.
    """
    word: uint256 = self.participants[participant] + amount
    if word >> 128 == 0 and word > minimum:
        word |= self._make_ready(participant)
    self.participants[participant] = word


@internal
def _make_ready(participant: address) -> uint256:
    """
    @notice Appends a participant to the ready list.
    @return The generation's part of its word.
    """
    generation: uint256 = self.scheduled_generation + 1
    count: uint256 = self.waiting_counts[generation]
    self.waiting_lists[generation][count] = participant
    self.waiting_counts[generation] = count + 1
    return (generation + 1) << 128


# ------------------------------------------------------------------------------------- payments


@external
def releaseRewards():
    """
    @notice Schedules all ready participants for payment by the next ticks. Only admins.
    """
    self._check_admin()
    generation: uint256 = self.scheduled_generation
    assert self.waiting_counts[generation] == 0, "Scheduled transfers still pending"
    self.scheduled_generation = generation + 1


@internal
def _pay_scheduled():
    """
    @notice Pays the last of the scheduled participants, at most `maxTransfersPerTx` of them.
    @dev All is written before the money goes, and a refusal adds back instead of writing what was
         read before, so calls back find and leave true accounts. No gas goes along beyond the
         stipend of a transfer (Filecoin's EVM gives such a transfer what it needs): whoever
         ticks pays for all participants.
    """
    generation: uint256 = self.scheduled_generation
    most: uint256 = min(self.maxTransfersPerTx, TRANSFERS_PER_CALL)
    for _: uint256 in range(most, bound=TRANSFERS_PER_CALL):
        count: uint256 = self.waiting_counts[generation]
        if count == 0:
            break
        participant: address = self.waiting_lists[generation][count - 1]
        self.waiting_lists[generation][count - 1] = empty(address)
        self.waiting_counts[generation] = count - 1
        amount: uint256 = self.participants[participant] & U128_MASK
        self.participants[participant] = 0
        self.balanceHeld -= amount
        if raw_call(participant, b"", value=amount, gas=0, revert_on_failure=False):
            log Transfer(to=participant, amount=amount)
        else:
            self._credit(participant, amount, 0)
            self.balanceHeld += amount
            log TransferFailed(to=participant, amount=amount)


@external
def withdraw(destination: address):
    """
    @notice Sends what is neither credited nor promised by a round. Only admins.
    """
    self._check_admin()
    assert not self.withdrawDisabled, "Withdraw disabled"
    sent: bool = raw_call(destination, b"", value=self._free(), revert_on_failure=False)
    assert sent, "Transfer failed"


@external
def disableWithdraw():
    """
    @notice Ends `withdraw` for good. Only admins.
    """
    self._check_admin()
    self.withdrawDisabled = True


# ------------------------------------------------------------------------------------- settings


@external
def setNextRoundLength(_nextRoundLength: uint256):
    """
    @notice Sets the length in blocks of the rounds after the current one. Only admins.
    """
    self._check_admin()
    assert _nextRoundLength > 0, "Next round length must be positive"
    self.nextRoundLength = _nextRoundLength


@external
def setRoundReward(_roundReward: uint256):
    """
    @notice Sets the most that the rounds after the current one pay. Only admins.
    """
    self._check_admin()
    self.roundReward = _roundReward


@external
def setMaxTransfersPerTx(_maxTransfersPerTx: uint256):
    """
    @notice Sets how many participants one tick pays; 1024 is the most that it does. Only admins.
    """
    self._check_admin()
    self.maxTransfersPerTx = _maxTransfersPerTx


@external
def setMinBalanceForTransfer(_minBalanceForTransfer: uint256):
    """
    @notice Sets the balance beyond which a participant becomes ready. Only admins.
    """
    self._check_admin()
    self.minBalanceForTransfer = _minBalanceForTransfer


@internal
@view
def _check_admin():
    assert access_control.hasRole[access_control.DEFAULT_ADMIN_ROLE][msg.sender], "Not an admin"


# ---------------------------------------------------------------------------------------- views


@external
@view
def availableBalance() -> uint256:
    """
    @notice The balance without what is credited to participants.
    """
    return self.balance - self.balanceHeld


@external
@view
def balances(participant: address) -> uint256:
    """
    @notice What is credited to a participant and not paid yet.
    """
    return self.participants[participant] & U128_MASK


@external
@view
def rewardsScheduledFor(participant: address) -> uint256:
    """
    @notice What is credited to a participant and not paid yet.
    """
    return self.participants[participant] & U128_MASK


@external
@view
def participantCountReadyForTransfer() -> uint256:
    """
    @notice How many participants the next release schedules.
    """
    return self.waiting_counts[self.scheduled_generation + 1]


@external
@view
def participantCountScheduledForTransfer() -> uint256:
    """
    @notice How many participants the next ticks pay.
    """
    return self.waiting_counts[self.scheduled_generation]


@external
@view
def participantIsReadyForTransfer(participant: address) -> bool:
    """
    @notice Whether the next release schedules a participant.
    """
    return self.participants[participant] >> 128 == self.scheduled_generation + 2


@external
@view
def readyForTransfer(index: uint256) -> address:
    """
    @notice The participants that the next release schedules, in the order they became ready.
    """
    return self._entry(self.scheduled_generation + 1, index)


@external
@view
def scheduledForTransfer(index: uint256) -> address:
    """
    @notice The participants that the next ticks pay, the last one first.
    """
    return self._entry(self.scheduled_generation, index)


@internal
@view
def _entry(generation: uint256, index: uint256) -> address:
    assert index < self.waiting_counts[generation], "No such participant"
    return self.waiting_lists[generation][index]
