# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Disputes: verdicts, and the money of verdicts
@custom:contract-name Disputes
@license Apache-2.0
@notice Here a fault becomes a verdict: the liar's stake is taken, a part of it burned, the rest
        paid to who proved the fault, and what rested on the lie is void, so that it is made again.
        Three layers: a proof by arithmetic, settled at once (CommitmentProofs and ReportProofs);
        a challenge to show withheld data, with a bond and a deadline; and a case before the
        arbiter for what arithmetic cannot settle.
@dev Law: no stake moves without a verdict, and all money here is either a bond of an open
     challenge or case (`locked`), or burned. Nobody has any other power: no owner, no admin.

     A commitment or report is only void while the epoch's claims are locked; after that its
     author is punished and the payment stands.
"""

import trees

interface Registry:
    def network() -> bytes32: view
    def exit_delay() -> uint64: view
    def epoch_set(epoch: uint64) -> uint64: view
    def is_member(set_id: uint64, account: address) -> bool: view
    def slash_evaluator(account: address) -> uint256: nonpayable

interface Commitments:
    def is_commitment(
        epoch: uint64,
        aggregator: address,
        root: bytes32,
        n_nodes: uint64,
        annotation: bytes24,
        manifest: bytes32,
    ) -> bool: view
    def void(
        epoch: uint64,
        aggregator: address,
        root: bytes32,
        n_nodes: uint64,
        annotation: bytes24,
        manifest: bytes32,
    ): nonpayable
    def slash(aggregator: address) -> uint256: nonpayable

interface Evaluations:
    def challenge_seconds() -> uint64: view
    def report_hash(epoch: uint64) -> bytes32: view
    def unlocked(epoch: uint64) -> bool: view
    def is_abandoned(epoch: uint64) -> bool: view
    def void(epoch: uint64): nonpayable

interface Rewards:
    def hold(epoch: uint64, until: uint64): nonpayable

interface Arbiter:
    def open_case(case_id: uint256, epoch: uint64, accusation: bytes32) -> uint64: nonpayable


struct Case:
    escalator: address
    epoch: uint64
    until: uint64


event Verdict:
    epoch: indexed(uint64)
    kind: uint8
    guilty: indexed(address)
    winner: indexed(address)
    stake: uint256

event Opened:
    epoch: indexed(uint64)
    challenge_id: indexed(bytes32)
    challenger: indexed(address)
    aggregator: address
    node_index: uint64
    job_index: uint64
    of_job: bool
    until: uint64

event Answered:
    epoch: indexed(uint64)
    challenge_id: indexed(bytes32)

event Resolved:
    epoch: indexed(uint64)
    challenge_id: indexed(bytes32)
    guilty: bool

event Escalated:
    case_id: indexed(uint256)
    epoch: indexed(uint64)
    escalator: indexed(address)
    accusation: bytes32
    uri: String[256]
    until: uint64

event Ruled:
    case_id: indexed(uint256)
    upheld: bool


WITHHELD: constant(uint8) = 6
RULING: constant(uint8) = 7
MEMBERS_MAX: constant(uint256) = 128
AGGREGATORS_MAX: constant(uint256) = 8
MILLION: constant(uint256) = 10**6
CLOSED: constant(uint256) = max_value(uint256)
U64_MASK: constant(uint256) = 2**64 - 1

registry: public(immutable(address))
commitments: public(immutable(address))
evaluations: public(immutable(address))
rewards: public(immutable(address))
commitment_proofs: public(immutable(address))
report_proofs: public(immutable(address))
arbiter: public(immutable(address))
bond: public(immutable(uint96))
response_seconds: public(immutable(uint64))
burn_ppm: public(immutable(uint32))
burn_address: public(immutable(address))

# Bonds of open challenges and cases.
locked: public(uint256)
# Word of a challenge: challenger 160 | deadline 64; all ones once it is answered or resolved.
challenges: HashMap[bytes32, uint256]
cases: public(HashMap[uint256, Case])
case_count: public(uint256)
# Who has been convicted of what, where nothing became void that would forbid to say it twice.
convicted: HashMap[bytes32, bool]


@deploy
def __init__(
    registry_: address,
    commitments_: address,
    evaluations_: address,
    rewards_: address,
    commitment_proofs_: address,
    report_proofs_: address,
    arbiter_: address,
    bond_: uint96,
    response_seconds_: uint64,
    burn_ppm_: uint32,
    burn_address_: address,
):
    """
    @notice Pins the other contracts and the terms.
    @param commitment_proofs_ Where CommitmentProofs will be deployed.
    @param report_proofs_ Where ReportProofs will be deployed.
    @param arbiter_ Who decides escalated cases, such as Referees; the zero address: nobody.
    @param bond_ Atto that a challenge or an escalation locks.
    @param response_seconds_ Seconds to answer a challenge.
    @param burn_ppm_ Millionths of a liar's stake, and of a dismissed case's bond, that are burned.
    @param burn_address_ Where burned money goes.
    """
    delay: uint256 = convert(staticcall Registry(registry_).exit_delay(), uint256)
    window: uint256 = convert(staticcall Evaluations(evaluations_).challenge_seconds(), uint256)
    assert delay >= window + convert(response_seconds_, uint256), "disputes: delay"
    assert response_seconds_ != 0, "disputes: delay"
    assert burn_ppm_ <= 1000000, "disputes: burn"
    assert burn_address_ != empty(address) or burn_ppm_ == 0, "disputes: burn"
    assert (
        commitments_ != empty(address)
        and rewards_ != empty(address)
        and commitment_proofs_ != empty(address)
        and report_proofs_ != empty(address)
    ), "disputes: wiring"
    registry = registry_
    commitments = commitments_
    evaluations = evaluations_
    rewards = rewards_
    commitment_proofs = commitment_proofs_
    report_proofs = report_proofs_
    arbiter = arbiter_
    bond = bond_
    response_seconds = response_seconds_
    burn_ppm = burn_ppm_
    burn_address = burn_address_


@external
@payable
def __default__():
    """
    @notice Takes the stakes that Registry and Commitments hand over; nobody else's money.
    """
    assert msg.sender in [registry, commitments], "disputes: sender"


# ------------------------------------------------------------------------------------- verdicts


@external
@nonreentrant
def convict_aggregator(
    kind: uint8, commitment: trees.Commitment, winner: address, harmed: address
):
    """
    @notice A standing commitment is proven wrong. Only CommitmentProofs calls this.
    @param harmed Who gets half of the winner's share; the zero address: nobody.
    """
    assert msg.sender == commitment_proofs, "disputes: sender"
    assert self._convict_aggregator(kind, commitment, winner, harmed), "disputes: convicted"


@external
@nonreentrant
def convict_signer(kind: uint8, aggregator: address, winner: address):
    """
    @notice An aggregator signed what nobody may sign. Only CommitmentProofs calls this.
    """
    assert msg.sender == commitment_proofs, "disputes: sender"
    stake: uint256 = extcall Commitments(commitments).slash(aggregator)
    assert self._is_news(kind, 0, aggregator, stake), "disputes: convicted"
    self._share(stake, winner, empty(address))
    log Verdict(epoch=0, kind=kind, guilty=aggregator, winner=winner, stake=stake)


@external
@nonreentrant
def convict_evaluators(
    kind: uint8,
    epoch: uint64,
    wrong_report: bytes32,
    guilty: DynArray[address, MEMBERS_MAX],
    winner: address,
):
    """
    @notice Evaluators signed what nobody may sign. Only ReportProofs calls this.
    @param wrong_report The hash of a wrong report, void if it is the epoch's and still locked;
           zero: no report is wrong.
    @param guilty Accounts that signed it.
    """
    assert msg.sender == report_proofs, "disputes: sender"
    if (
        wrong_report != empty(bytes32)
        and staticcall Evaluations(evaluations).report_hash(epoch) == wrong_report
        and not staticcall Evaluations(evaluations).unlocked(epoch)
    ):
        extcall Evaluations(evaluations).void(epoch)
    self._convict_evaluators(kind, epoch, guilty, winner)


@internal
def _convict_aggregator(
    kind: uint8, c: trees.Commitment, winner: address, harmed: address
) -> bool:
    """
    @notice Voids a standing commitment while the epoch is locked, and takes its author's stake.
    @return Whether this changed or said anything new.
    """
    locked: bool = not staticcall Evaluations(evaluations).unlocked(c.epoch)
    if locked:
        extcall Commitments(commitments).void(
            c.epoch, c.aggregator, c.root, c.n_nodes, c.annotation, c.manifest
        )
        # Also without a report: members have signed rows about the old digest, so their agreement
        # must begin anew.
        if not staticcall Evaluations(evaluations).is_abandoned(c.epoch):
            extcall Evaluations(evaluations).void(c.epoch)
    stake: uint256 = extcall Commitments(commitments).slash(c.aggregator)
    if not locked and not self._is_news(kind, c.epoch, c.aggregator, stake):
        return False
    self._share(stake, winner, harmed)
    log Verdict(epoch=c.epoch, kind=kind, guilty=c.aggregator, winner=winner, stake=stake)
    return True


@internal
def _convict_evaluators(
    kind: uint8, epoch: uint64, guilty: DynArray[address, MEMBERS_MAX], winner: address
):
    total: uint256 = 0
    for account: address in guilty:
        stake: uint256 = extcall Registry(registry).slash_evaluator(account)
        if self._is_news(kind, epoch, account, stake):
            total += stake
            log Verdict(epoch=epoch, kind=kind, guilty=account, winner=winner, stake=stake)
    self._share(total, winner, empty(address))


@internal
def _is_news(kind: uint8, epoch: uint64, guilty: address, stake: uint256) -> bool:
    """
    @notice Whether a verdict takes something, or says what no earlier one said.
    """
    key: bytes32 = keccak256(abi_encode(kind, epoch, guilty))
    if stake == 0 and self.convicted[key]:
        return False
    self.convicted[key] = True
    return True


@internal
def _share(stake: uint256, winner: address, harmed: address):
    """
    @notice Pays out a liar's stake: the burned part stays here until `sweep`, half of the rest to
            who was harmed, the rest to the winner.
    @dev Who refuses the money leaves it to be burned. All state is written before.
    """
    if stake == 0:
        return
    rest: uint256 = stake - stake * convert(burn_ppm, uint256) // MILLION
    half: uint256 = 0
    if harmed != empty(address):
        half = rest // 2
        self._pay(harmed, half)
    self._pay(winner, rest - half)


@internal
def _pay(to: address, amount: uint256):
    if amount != 0:
        accepted: bool = raw_call(to, b"", value=amount, revert_on_failure=False)


@external
@nonreentrant
def sweep() -> uint256:
    """
    @notice Sends all burned money to the burn address; anyone may call.
    """
    amount: uint256 = self.balance - self.locked
    assert amount != 0, "disputes: nothing"
    assert burn_address != empty(address), "disputes: nothing"
    send(burn_address, amount, gas=msg.gas)
    return amount


# ----------------------------------------------------------------------------------- challenges


@external
@payable
@nonreentrant
def challenge(
    commitment: trees.Commitment,
    node_index: uint64,
    row: Bytes[116],
    path: DynArray[trees.Node, trees.DEPTH_MAX],
    job_index: uint64,
) -> bytes32:
    """
    @notice Demands, with a bond, that a standing commitment's author shows one node's row, or one
            job's row. Claims of the epoch wait.
    @param node_index Which node.
    @param row Its row, if a job is asked for; else nothing.
    @param path The row's path, if a job is asked for.
    @param job_index Which job of the node; 0 if the node is asked for.
    @return The challenge's id.
    """
    assert msg.value == convert(bond, uint256), "disputes: bond"
    of_job: bool = len(row) != 0
    if of_job:
        self._check_node(commitment, node_index, row, path)
        assert job_index < trees._job_count(row), "disputes: index"
    else:
        assert len(path) == 0 and job_index == 0, "disputes: index"
        assert node_index < commitment.n_nodes, "disputes: index"
    self._check_standing(commitment)
    epoch: uint64 = commitment.epoch
    until: uint64 = convert(block.timestamp, uint64) + response_seconds
    self._check_locked(epoch)
    challenge_id: bytes32 = self._challenge_id(commitment, node_index, job_index, of_job)
    assert self.challenges[challenge_id] == 0, "disputes: challenged"
    self.challenges[challenge_id] = (convert(msg.sender, uint256) << 64) | convert(until, uint256)
    self.locked += msg.value
    self._hold(epoch, until + response_seconds)
    log Opened(
        epoch=epoch,
        challenge_id=challenge_id,
        challenger=msg.sender,
        aggregator=commitment.aggregator,
        node_index=node_index,
        job_index=job_index,
        of_job=of_job,
        until=until,
    )
    return challenge_id


@external
@nonreentrant
def answer(
    commitment: trees.Commitment,
    node_index: uint64,
    row: Bytes[116],
    path: DynArray[trees.Node, trees.DEPTH_MAX],
    job_index: uint64,
    job_row: Bytes[116],
    job_path: DynArray[trees.Node, trees.DEPTH_MAX],
):
    """
    @notice Shows what a challenge asks for; anyone may do it. The bond goes to the aggregator.
    @param job_row The job's row, if a job is asked for; else nothing.
    """
    of_job: bool = len(job_row) != 0
    self._check_node(commitment, node_index, row, path)
    if of_job:
        node: bytes32 = empty(bytes32)
        sums: uint256 = 0
        node, sums = trees._row_root(
            job_row, job_index, trees._job_count(row), job_path, trees.JOBS
        )
        trees._check_job_root(row, node, sums)
    else:
        assert len(job_path) == 0 and job_index == 0, "disputes: index"
    challenge_id: bytes32 = self._challenge_id(commitment, node_index, job_index, of_job)
    word: uint256 = self._open_challenge(challenge_id)
    assert block.timestamp <= word & U64_MASK, "disputes: late"
    self._close(challenge_id)
    self._pay(commitment.aggregator, convert(bond, uint256))
    log Answered(epoch=commitment.epoch, challenge_id=challenge_id)


@external
@nonreentrant
def resolve(commitment: trees.Commitment, node_index: uint64, job_index: uint64, of_job: bool):
    """
    @notice Ends a challenge that nobody answered in time: the aggregator is guilty. If the
            commitment has become void meanwhile, the challenger gets the bond back and that is all.
    """
    challenge_id: bytes32 = self._challenge_id(commitment, node_index, job_index, of_job)
    word: uint256 = self._open_challenge(challenge_id)
    challenger: address = convert(word >> 64, address)
    standing: bool = self._is_standing(commitment)
    if standing:
        assert block.timestamp > word & U64_MASK, "disputes: early"
    self._close(challenge_id)
    if standing:
        news: bool = self._convict_aggregator(WITHHELD, commitment, challenger, empty(address))
    self._pay(challenger, convert(bond, uint256))
    log Resolved(epoch=commitment.epoch, challenge_id=challenge_id, guilty=standing)


@external
@view
def open_challenge(challenge_id: bytes32) -> (address, uint64):
    """
    @notice An open challenge's challenger and the last second for an answer; zeros if there is none.
    """
    word: uint256 = self.challenges[challenge_id]
    if word == CLOSED:
        return empty(address), 0
    return convert(word >> 64, address), convert(word & U64_MASK, uint64)


@internal
@pure
def _challenge_id(
    commitment: trees.Commitment, node_index: uint64, job_index: uint64, of_job: bool
) -> bytes32:
    return keccak256(abi_encode(commitment, node_index, job_index, of_job))


@internal
@view
def _open_challenge(challenge_id: bytes32) -> uint256:
    word: uint256 = self.challenges[challenge_id]
    assert word != 0 and word != CLOSED, "disputes: no challenge"
    return word


@internal
def _close(challenge_id: bytes32):
    self.challenges[challenge_id] = CLOSED
    self.locked -= convert(bond, uint256)


@internal
@pure
def _check_node(
    commitment: trees.Commitment, node_index: uint64, row: Bytes[116], path: DynArray[trees.Node, trees.DEPTH_MAX]
):
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = trees._row_root(row, node_index, commitment.n_nodes, path, trees.NODES)
    trees._check_root(commitment, node, sums)


# ---------------------------------------------------------------------------------------- cases


@external
@payable
@nonreentrant
def escalate(epoch: uint64, accusation: bytes32, uri: String[256]) -> uint256:
    """
    @notice Brings what arithmetic cannot settle before the arbiter, with a bond. Claims of the
            epoch wait.
    @param epoch An epoch whose claims are not unlocked.
    @param accusation The digest of the accusation's text and evidence.
    @param uri Where they are.
    @return The case's id.
    """
    assert arbiter != empty(address), "disputes: arbiter"
    assert msg.value == convert(bond, uint256), "disputes: bond"
    assert staticcall Registry(registry).epoch_set(epoch) != 0, "disputes: epoch"
    self._check_locked(epoch)
    case_id: uint256 = self.case_count + 1
    self.case_count = case_id
    self.locked += msg.value
    until: uint64 = extcall Arbiter(arbiter).open_case(case_id, epoch, accusation)
    now: uint64 = convert(block.timestamp, uint64)
    delay: uint64 = staticcall Registry(registry).exit_delay()
    assert until > now and until <= now + delay, "disputes: arbiter"
    self.cases[case_id] = Case(escalator=msg.sender, epoch=epoch, until=until)
    self._hold(epoch, until + response_seconds)
    log Escalated(
        case_id=case_id,
        epoch=epoch,
        escalator=msg.sender,
        accusation=accusation,
        uri=uri,
        until=until,
    )
    return case_id


@external
@nonreentrant
def rule(
    case_id: uint256,
    guilty: DynArray[address, MEMBERS_MAX],
    wrong: DynArray[trees.Commitment, AGGREGATORS_MAX],
    voids: bool,
):
    """
    @notice The arbiter's ruling. With nobody guilty, nothing wrong and nothing void the case is
            dismissed and a part of the bond burned.
    @param guilty Members of the epoch's set.
    @param wrong Standing commitments of the epoch; their aggregators are guilty.
    @param voids Whether the epoch's report is void.
    """
    assert msg.sender == arbiter, "disputes: sender"
    case: Case = self.cases[case_id]
    assert case.escalator != empty(address), "disputes: no case"
    self.cases[case_id] = empty(Case)
    pledge: uint256 = convert(bond, uint256)
    self.locked -= pledge
    upheld: bool = voids or len(guilty) != 0 or len(wrong) != 0
    if upheld:
        for c: trees.Commitment in wrong:
            assert c.epoch == case.epoch, "disputes: epoch"
            if self._is_standing(c):
                news: bool = self._convict_aggregator(RULING, c, case.escalator, empty(address))
        if voids and not staticcall Evaluations(evaluations).unlocked(case.epoch):
            extcall Evaluations(evaluations).void(case.epoch)
        if len(guilty) != 0:
            members: uint64 = staticcall Registry(registry).epoch_set(case.epoch)
            for account: address in guilty:
                assert staticcall Registry(registry).is_member(members, account), "disputes: member"
            self._convict_evaluators(RULING, case.epoch, guilty, case.escalator)
    else:
        pledge -= pledge * convert(burn_ppm, uint256) // MILLION
    self._pay(case.escalator, pledge)
    log Ruled(case_id=case_id, upheld=upheld)


@external
@nonreentrant
def expire(case_id: uint256):
    """
    @notice Gives the bond of a case back that the arbiter has not decided in its time.
    """
    case: Case = self.cases[case_id]
    assert case.escalator != empty(address), "disputes: no case"
    assert block.timestamp > convert(case.until + response_seconds, uint256), "disputes: early"
    self.cases[case_id] = empty(Case)
    self.locked -= convert(bond, uint256)
    self._pay(case.escalator, convert(bond, uint256))
    log Ruled(case_id=case_id, upheld=False)


# ---------------------------------------------------------------------------------------- chain


@internal
@view
def _is_standing(c: trees.Commitment) -> bool:
    return staticcall Commitments(commitments).is_commitment(
        c.epoch, c.aggregator, c.root, c.n_nodes, c.annotation, c.manifest
    )


@internal
@view
def _check_standing(c: trees.Commitment):
    assert self._is_standing(c), "disputes: commitment"


@internal
@view
def _check_locked(epoch: uint64):
    """
    @notice Requires that the epoch's money can still be kept back: not unlocked, not given up.
    """
    assert not staticcall Evaluations(evaluations).unlocked(epoch), "disputes: unlocked"
    assert not staticcall Evaluations(evaluations).is_abandoned(epoch), "disputes: abandoned"


@internal
def _hold(epoch: uint64, until: uint64):
    if staticcall Evaluations(evaluations).report_hash(epoch) != empty(bytes32):
        extcall Rewards(rewards).hold(epoch, until)
