# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Referees: a pinned committee that rules on what arithmetic cannot settle
@custom:contract-name Referees
@license Apache-2.0
@notice The arbiter that ships: a quorum of the referees signs a ruling off chain, anyone brings it
        in one transaction. A case without a ruling in its time is dismissed.
@dev A referee counts while its deposit is here. Nobody is punished for silence; who signs two
     rulings in one case loses the deposit, half to who shows it and half to nobody (it stays here).
"""

import eip712
import trees

interface Disputes:
    def registry() -> address: view
    def rule(
        case_id: uint256,
        guilty: DynArray[address, MEMBERS_MAX],
        wrong: DynArray[trees.Commitment, AGGREGATORS_MAX],
        voids: bool,
    ): nonpayable

interface Registry:
    def network() -> bytes32: view


struct Case:
    epoch: uint64
    until: uint64
    accusation: bytes32


event CaseOpened:
    case_id: indexed(uint256)
    epoch: indexed(uint64)
    accusation: bytes32
    until: uint64

event Deposited:
    referee: indexed(address)
    amount: uint256

event Withdrawn:
    referee: indexed(address)
    amount: uint256

event Decided:
    case_id: indexed(uint256)
    votes: uint256

event Contradicted:
    case_id: indexed(uint256)
    referee: indexed(address)
    winner: indexed(address)
    stake: uint256


REFEREES_MAX: constant(uint256) = 32
MEMBERS_MAX: constant(uint256) = 128
AGGREGATORS_MAX: constant(uint256) = 8
SECONDS_MAX: constant(uint64) = 2**32
RULING_TYPEHASH: constant(bytes32) = keccak256(
    "Ruling(bytes32 network,uint256 caseId,uint64 epoch,bytes32 accusation,bytes32 guilty,bytes32 wrong,bool voids)"
)

disputes: public(immutable(address))
stake_min: public(immutable(uint256))
voting_seconds: public(immutable(uint64))
NETWORK: immutable(bytes32)

listed: DynArray[address, REFEREES_MAX]
is_referee: public(HashMap[address, bool])
deposits: public(HashMap[address, uint256])
cases: public(HashMap[uint256, Case])
# Until when somebody who could have signed in a case must keep its deposit.
busy_until: public(uint64)


@deploy
def __init__(
    disputes_: address,
    referees_: DynArray[address, REFEREES_MAX],
    stake_min_: uint256,
    voting_seconds_: uint64,
):
    """
    @notice Pins Disputes and the referees.
    @param stake_min_ Atto that a referee must have here to count.
    @param voting_seconds_ Seconds for a ruling.
    """
    assert len(referees_) != 0, "referees: referees"
    assert voting_seconds_ != 0 and voting_seconds_ <= SECONDS_MAX, "referees: delay"
    disputes = disputes_
    stake_min = stake_min_
    voting_seconds = voting_seconds_
    NETWORK = staticcall Registry(staticcall Disputes(disputes_).registry()).network()
    for referee: address in referees_:
        assert referee != empty(address) and not self.is_referee[referee], "referees: referees"
        self.is_referee[referee] = True
    self.listed = referees_


# ------------------------------------------------------------------------------------- deposits


@external
@payable
def deposit():
    """
    @notice Adds to the calling referee's deposit.
    """
    assert self.is_referee[msg.sender], "referees: referee"
    assert msg.value != 0, "referees: nothing"
    self.deposits[msg.sender] += msg.value
    log Deposited(referee=msg.sender, amount=msg.value)


@external
@nonreentrant
def withdraw():
    """
    @notice Pays the caller's deposit back, when no case is open and none was for `voting_seconds`.
    """
    assert block.timestamp > convert(self.busy_until, uint256), "referees: busy"
    amount: uint256 = self.deposits[msg.sender]
    assert amount != 0, "referees: nothing"
    self.deposits[msg.sender] = 0
    send(msg.sender, amount, gas=msg.gas)
    log Withdrawn(referee=msg.sender, amount=amount)


# ---------------------------------------------------------------------------------------- cases


@external
def open_case(case_id: uint256, epoch: uint64, accusation: bytes32) -> uint64:
    """
    @notice Takes a case. Only Disputes calls this.
    @return The last second in which it can be decided.
    """
    assert msg.sender == disputes, "referees: sender"
    until: uint64 = convert(block.timestamp, uint64) + voting_seconds
    self.cases[case_id] = Case(epoch=epoch, until=until, accusation=accusation)
    self.busy_until = until + voting_seconds
    log CaseOpened(case_id=case_id, epoch=epoch, accusation=accusation, until=until)
    return until


@external
@nonreentrant
def decide(
    case_id: uint256,
    guilty: DynArray[address, MEMBERS_MAX],
    wrong: DynArray[trees.Commitment, AGGREGATORS_MAX],
    voids: bool,
    signatures: DynArray[eip712.Sig, REFEREES_MAX],
):
    """
    @notice Carries out a ruling that a quorum of the referees signed, ascending by signer.
    """
    case: Case = self.cases[case_id]
    assert case.until != 0, "referees: no case"
    assert block.timestamp <= convert(case.until, uint256), "referees: late"
    assert len(signatures) >= self._quorum(), "referees: quorum"
    digest: bytes32 = self._digest(
        case_id,
        case.epoch,
        case.accusation,
        keccak256(abi_encode(guilty)),
        keccak256(abi_encode(wrong)),
        voids,
    )
    last: uint256 = 0
    for signature: eip712.Sig in signatures:
        signer: address = eip712._signer(digest, signature.r, signature.vs)
        assert convert(signer, uint256) > last, "referees: signature"
        last = convert(signer, uint256)
        assert self.is_referee[signer], "referees: referee"
        assert self.deposits[signer] >= stake_min, "referees: stake"
    self.cases[case_id].until = 0
    extcall Disputes(disputes).rule(case_id, guilty, wrong, voids)
    log Decided(case_id=case_id, votes=len(signatures))


@external
@nonreentrant
def dismiss(case_id: uint256):
    """
    @notice Ends a case without a ruling after its time; anyone may call.
    """
    case: Case = self.cases[case_id]
    assert case.until != 0, "referees: no case"
    assert block.timestamp > convert(case.until, uint256), "referees: early"
    self.cases[case_id].until = 0
    extcall Disputes(disputes).rule(case_id, [], [], False)
    log Decided(case_id=case_id, votes=0)


@external
@nonreentrant
def contradiction(
    case_id: uint256,
    guilty: bytes32[2],
    wrong: bytes32[2],
    voids: bool[2],
    signatures: eip712.Sig[2],
):
    """
    @notice Proves that a referee signed two rulings in one case.
    @param guilty The Keccak-256 of each ruling's list of guilty members, as they were signed.
    @param wrong The same of the wrong commitments.
    """
    case: Case = self.cases[case_id]
    assert case.epoch != 0 or case.accusation != empty(bytes32), "referees: no case"
    assert (
        guilty[0] != guilty[1] or wrong[0] != wrong[1] or voids[0] != voids[1]
    ), "referees: right"
    signer: address = eip712._signer(
        self._digest(case_id, case.epoch, case.accusation, guilty[0], wrong[0], voids[0]),
        signatures[0].r,
        signatures[0].vs,
    )
    other: address = eip712._signer(
        self._digest(case_id, case.epoch, case.accusation, guilty[1], wrong[1], voids[1]),
        signatures[1].r,
        signatures[1].vs,
    )
    assert signer != empty(address) and signer == other, "referees: signature"
    stake: uint256 = self.deposits[signer]
    assert stake != 0, "referees: stake"
    self.deposits[signer] = 0
    log Contradicted(case_id=case_id, referee=signer, winner=msg.sender, stake=stake)
    send(msg.sender, stake // 2, gas=msg.gas)


@internal
@view
def _digest(
    case_id: uint256,
    epoch: uint64,
    accusation: bytes32,
    guilty: bytes32,
    wrong: bytes32,
    voids: bool,
) -> bytes32:
    return eip712._digest(
        keccak256(
            abi_encode(
                RULING_TYPEHASH, NETWORK, case_id, epoch, accusation, guilty, wrong, voids
            )
        )
    )


@internal
@view
def _quorum() -> uint256:
    """
    @notice q = (n + f) / 2 + 1 with f = (n - 1) / 3, as in Evaluations.
    """
    n: uint256 = len(self.listed)
    return (n + (n - 1) // 3) // 2 + 1


# ---------------------------------------------------------------------------------------- views


@external
@view
def referees() -> DynArray[address, REFEREES_MAX]:
    """
    @notice The pinned referees.
    """
    return self.listed


@external
@view
def quorum() -> uint256:
    """
    @notice How many signatures a ruling needs.
    """
    return self._quorum()
