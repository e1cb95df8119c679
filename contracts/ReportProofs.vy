# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title ReportProofs: what arithmetic can say against evaluators
@custom:contract-name ReportProofs
@license Apache-2.0
@notice Proves that an accepted report gives somebody what its epoch's commitment, terms and budget
        do not, or that a member signed two statements of which a correct member signs one; and
        tells Disputes whose signatures these are. Anyone may call; the caller is the winner.
@dev Holds no money. Law: no function can succeed against a member that kept its rules. So a node
     that got nothing proves nothing: too few members may have spoken about it (a deferred node's
     share is held back). What somebody got beyond his share is what is proven here.

     A report remains known as wrong, so that signers whom a proof leaves out can be named later.
"""

import eip712
import statements
import sum_tree
import trees

interface Disputes:
    def registry() -> address: view
    def commitments() -> address: view
    def evaluations() -> address: view
    def rewards() -> address: view
    def convict_evaluators(
        kind: uint8,
        epoch: uint64,
        wrong_report: bytes32,
        guilty: DynArray[address, MEMBERS_MAX],
        winner: address,
    ): nonpayable

interface Registry:
    def committee(epoch: uint64) -> DynArray[address, MEMBERS_MAX]: view
    def epoch_set(epoch: uint64) -> uint64: view
    def is_member(set_id: uint64, account: address) -> bool: view

interface Commitments:
    def epoch_digest(epoch: uint64) -> bytes32: view
    def standing(epoch: uint64) -> uint64: view
    def self_commitments(epoch: uint64) -> uint64: view
    def is_commitment(
        epoch: uint64,
        aggregator: address,
        root: bytes32,
        n_nodes: uint64,
        annotation: bytes24,
        manifest: bytes32,
    ) -> bool: view

interface Evaluations:
    def report_hash(epoch: uint64) -> bytes32: view
    def terms(epoch: uint64) -> Terms: view

interface Rewards:
    def budget(epoch: uint64) -> uint128: view


struct Terms:
    rule: uint8
    evaluators_ppm: uint32
    aggregators_ppm: uint32
    committee_size: uint16
    committee_stake_min: uint96

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

# What stands at a key's place in a claim tree.
struct Claimed:
    size: uint64
    gap: trees.Gap


WRONG_REWARD: constant(uint8) = 4
EQUIVOCATION: constant(uint8) = 5

MEMBERS_MAX: constant(uint256) = 128
PAIR: constant(uint256) = 112
MILLION: constant(uint256) = 10**6
U64_MASK: constant(uint256) = 2**64 - 1
REWARD_ROOT: constant(bytes1) = 0x13
EPOCH_DIGEST: constant(bytes1) = 0x14
VIEW_CHANGE_LOCK: constant(bytes1) = 0x18
REPORT_SIG_TAG: constant(bytes1) = 0x19

ROW: constant(uint8) = 1
HAVE: constant(uint8) = 2
PROPOSE: constant(uint8) = 3
ECHO: constant(uint8) = 4
VOTE: constant(uint8) = 5
VIEW_CHANGE: constant(uint8) = 7
REPORT_SIG: constant(uint8) = 9

REPORT_TYPEHASH: constant(bytes32) = keccak256(
    "Report(bytes32 network,uint64 epoch,bytes32 commitment,bytes32 functionDigest,bytes32 parametersDigest,bytes32 inputsRoot,bytes32 blockHash,bytes32 verdictRoot,bytes32 rewardRoot,uint128 total,bytes32 previous)"
)
PROTOCOL_TYPEHASH: constant(bytes32) = keccak256(
    "Protocol(bytes32 context,uint8 kind,uint32 view,bytes32 digest)"
)

disputes: public(immutable(address))
REGISTRY: immutable(address)
COMMITMENTS: immutable(address)
EVALUATIONS: immutable(address)
REWARDS: immutable(address)

# Of a report that is proven wrong: its epoch 64 | the id of the member set that decided it 64.
wrong_reports: HashMap[bytes32, uint256]


@deploy
def __init__(disputes_: address):
    """
    @notice Pins Disputes and the contracts that it judges.
    """
    disputes = disputes_
    REGISTRY = staticcall Disputes(disputes_).registry()
    COMMITMENTS = staticcall Disputes(disputes_).commitments()
    EVALUATIONS = staticcall Disputes(disputes_).evaluations()
    REWARDS = staticcall Disputes(disputes_).rewards()


# -------------------------------------------------------------------------------------- rewards


@external
def wrong_reward(
    report: Report,
    signatures: DynArray[eip712.Sig, MEMBERS_MAX],
    previous: Report,
    node_key: bytes32,
    after: Claimed,
    before: Claimed,
    commitment: trees.Commitment,
    node: trees.Gap,
):
    """
    @notice Proves that a report gives a node more, or less but not nothing, than its share, or
            gives to another payee than the node's, or to somebody who is no node, and more than a
            member's pay.
    @dev For epochs with exactly one commitment. How the share follows from the node row is the
         `rule` of the epoch's terms; without a rule only payee and presence are judged.
    @param report The epoch's accepted report.
    @param signatures Signatures of it, ascending by signer.
    @param previous The report before it; all zeros for the network's first report.
    @param after What stands at the key's place in the report's claim tree.
    @param before The same in the previous report's.
    @param commitment The epoch's only commitment.
    @param node What stands at the key's place in the commitment's node tree.
    """
    payee: address = empty(address)
    now: uint256 = 0
    had: uint256 = 0
    payee, now, had = self._claims(report, previous, node_key, after, before)
    assert now > had, "proofs: right"
    self._check_only(report, commitment)
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    root, sums = trees._gap_root(node, commitment.n_nodes, trees.NODES)
    trees._check_root(commitment, root, sums)
    terms: Terms = staticcall Evaluations(EVALUATIONS).terms(report.epoch)
    if trees._is_absent(node, node_key, commitment.n_nodes, trees.NODES):
        assert now - had > self._most_pay(
            report.epoch, node_key, payee, commitment.aggregator, terms
        ), "proofs: right"
    elif payee == trees._payee(node.left):
        assert terms.rule != 0, "proofs: right"
        weight: uint256 = self._weight(trees._annotation(node.left, trees.NODES), terms.rule)
        whole: uint256 = self._weight(sums, terms.rule)
        assert not self._is_share(
            now - had, weight, whole, self._node_budget(report.epoch, terms)
        ), "proofs: right"
    self._convict(report, signatures)


@external
def decreased(
    report: Report,
    signatures: DynArray[eip712.Sig, MEMBERS_MAX],
    previous: Report,
    node_key: bytes32,
    after: Claimed,
    before: Claimed,
):
    """
    @notice Proves that a report takes from a claim what the report before had given.
    """
    payee: address = empty(address)
    now: uint256 = 0
    had: uint256 = 0
    payee, now, had = self._claims(report, previous, node_key, after, before)
    assert now < had, "proofs: right"
    self._convict(report, signatures)


@external
def bad_claims(
    report: Report,
    signatures: DynArray[eip712.Sig, MEMBERS_MAX],
    size: uint64,
    content: Bytes[116],
    claimed: uint256,
    sides: uint256,
    path: DynArray[trees.Node, trees.DEPTH_MAX],
):
    """
    @notice Proves that a node of a report's claim tree does not have the annotation that its
            content gives, or that the tree's count or total is not the report's.
    @param size The number of leaves under the reward root.
    @param content Two child nodes (112 bytes) or the row of a leaf (68).
    """
    node: bytes32 = empty(bytes32)
    wrong: bool = False
    if len(content) == PAIR:
        left: uint256 = convert(extract32(content, 24), uint256) & trees.ANNOTATION_MASK
        right: uint256 = convert(extract32(content, 80), uint256) & trees.ANNOTATION_MASK
        node = sha256(concat(trees.CLAIM_NODE, content))
        wrong = not trees._adds_up(left, right, claimed)
    else:
        node = trees._leaf(content, trees.CLAIMS)
        wrong = trees._annotation(content, trees.CLAIMS) != claimed
    sums: uint256 = 0
    node, sums = trees._climb(trees.CLAIM_NODE, node, claimed, sides, path)
    self._check_reward_root(report, size, node, sums)
    assert (
        wrong
        or sums & trees.SUMS_MASK != convert(report.total, uint256)
        or sums >> 128 != convert(size, uint256)
    ), "proofs: right"
    self._convict(report, signatures)


@external
def disordered_claims(
    report: Report,
    signatures: DynArray[eip712.Sig, MEMBERS_MAX],
    claims: Claimed,
):
    """
    @notice Proves that two neighbouring leaves of a report's claim tree are not in ascending order.
    """
    assert len(claims.gap.left) != 0 and len(claims.gap.right) != 0, "proofs: neighbours"
    self._check_claims(report, claims)
    assert (
        trees._key(claims.gap.left, trees.CLAIMS) >= trees._key(claims.gap.right, trees.CLAIMS)
    ), "proofs: right"
    self._convict(report, signatures)


@external
def signed_wrong(report_hash: bytes32, signatures: DynArray[eip712.Sig, MEMBERS_MAX]):
    """
    @notice Names further signers of a report that is proven wrong.
    """
    word: uint256 = self.wrong_reports[report_hash]
    assert word != 0, "proofs: report"
    assert len(signatures) != 0, "proofs: signature"
    extcall Disputes(disputes).convict_evaluators(
        WRONG_REWARD,
        convert(word >> 64, uint64),
        empty(bytes32),
        self._signers(report_hash, signatures, convert(word & U64_MASK, uint64)),
        msg.sender,
    )


@internal
def _convict(report: Report, signatures: DynArray[eip712.Sig, MEMBERS_MAX]):
    """
    @notice Requires the report to be its epoch's accepted one, and convicts its signers.
    """
    report_hash: bytes32 = self._hash(report)
    assert (
        staticcall Evaluations(EVALUATIONS).report_hash(report.epoch) == report_hash
    ), "proofs: report"
    members: uint64 = staticcall Registry(REGISTRY).epoch_set(report.epoch)
    self.wrong_reports[report_hash] = (
        (convert(report.epoch, uint256) << 64) | convert(members, uint256)
    )
    extcall Disputes(disputes).convict_evaluators(
        WRONG_REWARD,
        report.epoch,
        report_hash,
        self._signers(report_hash, signatures, members),
        msg.sender,
    )


@internal
@view
def _hash(report: Report) -> bytes32:
    return statements._digest_for(EVALUATIONS, keccak256(abi_encode(REPORT_TYPEHASH, report)))


@internal
@view
def _signers(
    digest: bytes32, signatures: DynArray[eip712.Sig, MEMBERS_MAX], members: uint64
) -> DynArray[address, MEMBERS_MAX]:
    """
    @notice Who signed a digest: members of a set, ascending.
    """
    signers: DynArray[address, MEMBERS_MAX] = []
    last: uint256 = 0
    for signature: eip712.Sig in signatures:
        signer: address = eip712._signer(digest, signature.r, signature.vs)
        assert convert(signer, uint256) > last, "proofs: signature"
        last = convert(signer, uint256)
        assert staticcall Registry(REGISTRY).is_member(members, signer), "proofs: member"
        signers.append(signer)
    return signers


@internal
@view
def _claims(
    report: Report, previous: Report, key: bytes32, after: Claimed, before: Claimed
) -> (address, uint256, uint256):
    """
    @notice A key's payee and cumulative amount in a report, and its amount in the one before.
    """
    self._check_claims(report, after)
    payee: address = empty(address)
    now: uint256 = 0
    had: uint256 = 0
    if not trees._is_absent(after.gap, key, after.size, trees.CLAIMS):
        payee = convert(convert(extract32(after.gap.left, 32), uint256) >> 96, address)
        now = trees._annotation(after.gap.left, trees.CLAIMS) & trees.SUMS_MASK
    if report.previous == empty(bytes32):
        assert (
            before.size == 0
            and self._is_nothing(before.gap)
            and keccak256(abi_encode(previous)) == keccak256(abi_encode(empty(Report)))
        ), "proofs: previous"
    else:
        assert self._hash(previous) == report.previous, "proofs: previous"
        self._check_claims(previous, before)
        if not trees._is_absent(before.gap, key, before.size, trees.CLAIMS):
            had = trees._annotation(before.gap.left, trees.CLAIMS) & trees.SUMS_MASK
    return payee, now, had


@internal
@pure
def _is_nothing(gap: trees.Gap) -> bool:
    return (
        len(gap.left) == 0
        and len(gap.right) == 0
        and gap.index == 0
        and len(gap.path) == 0
        and len(gap.lower) == 0
    )


@internal
@pure
def _check_claims(report: Report, claims: Claimed):
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = trees._gap_root(claims.gap, claims.size, trees.CLAIMS)
    self._check_reward_root(report, claims.size, node, sums)


@internal
@pure
def _check_reward_root(report: Report, size: uint64, node: bytes32, sums: uint256):
    root: bytes32 = sha256(
        concat(REWARD_ROOT, convert(size, bytes8), node, sum_tree._bytes(sums))
    )
    assert root == report.reward_root, "proofs: reward root"


@internal
@view
def _check_only(report: Report, c: trees.Commitment):
    """
    @notice Requires a report to be about this one commitment and nothing else.
    """
    assert c.epoch == report.epoch, "proofs: epoch"
    alone: bytes32 = sha256(
        concat(
            EPOCH_DIGEST,
            empty(bytes32),
            convert(c.aggregator, bytes20),
            c.root,
            convert(c.n_nodes, bytes8),
            c.annotation,
            c.manifest,
        )
    )
    if alone == report.commitment:
        return
    # Others were void before it: then it is the one that stands, and no node committed itself.
    assert (
        staticcall Commitments(COMMITMENTS).epoch_digest(c.epoch) == report.commitment
        and staticcall Commitments(COMMITMENTS).standing(c.epoch) == 1
        and staticcall Commitments(COMMITMENTS).self_commitments(c.epoch) == 0
        and staticcall Commitments(COMMITMENTS).is_commitment(
            c.epoch, c.aggregator, c.root, c.n_nodes, c.annotation, c.manifest
        )
    ), "proofs: commitment"


@internal
@pure
def _weight(annotation: uint256, rule: uint8) -> uint256:
    """
    @notice What a rule reads from an annotation: jobs, first lane, second lane, or the one lane.
    """
    if rule == 1:
        return annotation >> 128
    if rule == 2:
        return (annotation >> 64) & U64_MASK
    if rule == 3:
        return annotation & U64_MASK
    return annotation & trees.SUMS_MASK


@internal
@pure
def _is_share(amount: uint256, weight: uint256, whole: uint256, budget: uint256) -> bool:
    """
    @notice Whether an amount is a weight's share of a budget, rounded down, or up where the
            division leaves a rest.
    """
    if whole == 0:
        return amount == 0
    exact: uint256 = budget * weight
    share: uint256 = exact // whole
    return amount == share or (amount == share + 1 and exact % whole != 0)


@internal
@view
def _node_budget(epoch: uint64, terms: Terms) -> uint256:
    """
    @notice What is left of an epoch's budget for the nodes, after evaluators and aggregators.
    """
    budget: uint256 = convert(staticcall Rewards(REWARDS).budget(epoch), uint256)
    return (
        budget
        - budget * convert(terms.evaluators_ppm, uint256) // MILLION
        - budget * convert(terms.aggregators_ppm, uint256) // MILLION
    )


@internal
@pure
def _pay_key(account: address) -> bytes32:
    return sha256(concat(b"meridian/member/1:", convert(account, bytes20)))


@internal
@view
def _most_pay(
    epoch: uint64, key: bytes32, payee: address, aggregator: address, terms: Terms
) -> uint256:
    """
    @notice The most that a key without a node can get: a member's or the aggregator's pay.
    @dev Evaluators share their pool evenly among those whose rows counted: at least n - 2f, as n - f
         rows are decided and f of them may be no rows at all.
    """
    if self._pay_key(payee) != key:
        return 0
    budget: uint256 = convert(staticcall Rewards(REWARDS).budget(epoch), uint256)
    most: uint256 = 0
    if payee == aggregator:
        most = budget * convert(terms.aggregators_ppm, uint256) // MILLION
    members: DynArray[address, MEMBERS_MAX] = staticcall Registry(REGISTRY).committee(epoch)
    n: uint256 = len(members)
    if payee in members:
        pool: uint256 = budget * convert(terms.evaluators_ppm, uint256) // MILLION
        most += pool // (n - 2 * ((n - 1) // 3))
    return most


# ------------------------------------------------------------------------------- double statements


@external
def double_statement(
    context: bytes32,
    kind: uint8,
    view_: uint32,
    first: bytes32,
    first_signature: eip712.Sig,
    second: bytes32,
    second_signature: eip712.Sig,
):
    """
    @notice Proves that a member signed two statements of a kind that is signed once in a view.
    """
    assert kind in [ROW, HAVE, PROPOSE, ECHO, VOTE, VIEW_CHANGE], "proofs: kind"
    assert kind > HAVE or view_ == 0, "proofs: view"
    assert first != second, "proofs: right"
    self._convict_pair(
        self._statement(context, kind, view_, first),
        first_signature,
        self._statement(context, kind, view_, second),
        second_signature,
    )


@external
def double_attempt(
    context: bytes32,
    attempt: bytes32,
    first: bytes32,
    first_signature: eip712.Sig,
    second: bytes32,
    second_signature: eip712.Sig,
):
    """
    @notice Proves that a member signed two report digests in one attempt.
    """
    assert first != second, "proofs: right"
    self._convict_pair(
        self._statement(
            context, REPORT_SIG, 0, sha256(concat(REPORT_SIG_TAG, attempt, first))
        ),
        first_signature,
        self._statement(
            context, REPORT_SIG, 0, sha256(concat(REPORT_SIG_TAG, attempt, second))
        ),
        second_signature,
    )


@external
def amnesia(
    context: bytes32,
    voted_view: uint32,
    voted: bytes32,
    vote: eip712.Sig,
    view_: uint32,
    lock: Bytes[37],
    change: eip712.Sig,
):
    """
    @notice Proves that a member voted for a block and then entered a later view without its lock.
    @param lock The lock as it was signed: a zero byte; or one, its view (4 bytes), its block (32).
    """
    assert view_ > voted_view, "proofs: view"
    if len(lock) == 1:
        assert lock == x"00", "proofs: lock"
    else:
        assert len(lock) == 37 and slice(lock, 0, 1) == x"01", "proofs: lock"
        locked_view: uint256 = convert(slice(lock, 1, 4), uint256)
        assert locked_view < convert(voted_view, uint256) or (
            locked_view == convert(voted_view, uint256) and extract32(lock, 5) != voted
        ), "proofs: right"
    self._convict_pair(
        self._statement(context, VOTE, voted_view, voted),
        vote,
        self._statement(context, VIEW_CHANGE, view_, sha256(concat(VIEW_CHANGE_LOCK, lock))),
        change,
    )


@external
def double_report(
    first: Report,
    first_signature: eip712.Sig,
    second: Report,
    second_signature: eip712.Sig,
):
    """
    @notice Proves that a member signed two reports that follow from the same decided block.
    @dev Another block may honestly lead to another report of the epoch: a new term decides anew.
    """
    assert (
        first.network == second.network
        and first.epoch == second.epoch
        and first.commitment == second.commitment
        and first.previous == second.previous
        and first.block_hash == second.block_hash
    ), "proofs: reports"
    one: bytes32 = self._hash(first)
    other: bytes32 = self._hash(second)
    assert one != other, "proofs: right"
    self._convict_pair(one, first_signature, other, second_signature)


@internal
@view
def _statement(context: bytes32, kind: uint8, view_: uint32, digest: bytes32) -> bytes32:
    return statements._digest_for(
        EVALUATIONS,
        keccak256(abi_encode(PROTOCOL_TYPEHASH, context, kind, view_, digest)),
    )


@internal
def _convict_pair(
    first: bytes32,
    first_signature: eip712.Sig,
    second: bytes32,
    second_signature: eip712.Sig,
):
    """
    @notice Convicts who signed both digests.
    """
    signer: address = eip712._signer(first, first_signature.r, first_signature.vs)
    assert (
        signer != empty(address)
        and eip712._signer(second, second_signature.r, second_signature.vs) == signer
    ), "proofs: signature"
    extcall Disputes(disputes).convict_evaluators(
        EQUIVOCATION, 0, empty(bytes32), [signer], msg.sender
    )
