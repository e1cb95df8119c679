"""From an accepted result back to who signed what: the links of an epoch, checked by anybody.

Every Nym-Api checks what the contract accepted with the same steps, so that a loser and an outsider say the same. Links,
in order: the accepted result under its winner's signature; in `quorum` the report signatures; the block under the hash in
the report; the certificate over the block; the messages in it; and that the result follows from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from meridian.audit.evidence import Broken, Finding, Link, Step, first_broken, run_steps
from meridian.ephemera.block import Block, Certificate, verify_block, verify_certificate
from meridian.ephemera.broadcast.slot import DeliveryCertificate, verify_delivery
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context
from meridian.ephemera.messages.block import HEADER_BYTES, MessageBlock, MessageBlockHeader
from meridian.errors import InvalidInput
from meridian.nym.acceptance import Mode, Terms, check_submission
from meridian.nym.race_rules import check_rows
from meridian.nym.rewards import Submission
from meridian.nym.rows import Row, aggregate, decode_row, percent
from meridian.primitives.ids import Address, address_text

ACCEPTED: Final = "accepted result"
BLOCK: Final = "block"
CERTIFICATE: Final = "certificate"
MESSAGES: Final = "messages"
RESULT: Final = "result"


@dataclass(slots=True)
class Case:
    """One epoch under audit, and what earlier links left for later ones."""

    terms: Terms
    epoch: int
    rule: str
    """The averaging rule of the network."""
    context: Context
    accepted: Submission
    block_bytes: bytes = b""
    certificate_bytes: bytes = b""
    bodies: Sequence[bytes] = ()
    own_row: Row | None = None
    """The winner's average, made again from its readings (`standalone`)."""
    block: Block | None = None
    rows: dict[Address, Row] = field(default_factory=dict)
    """By sender."""
    signers: tuple[Address, ...] = ()
    """Of the block's certificate."""


def check_accepted(case: Case) -> Finding:
    """The record is well formed, of this epoch, and signed as the mode asks for."""
    report = case.accepted.report
    if report.epoch != case.epoch:
        raise Broken(f"it is of epoch {report.epoch}")
    if report.aggregate != case.rule:
        raise Broken(f"it was averaged by {report.aggregate}, not by {case.rule}")
    try:
        check_submission(case.terms, case.accepted)
    except InvalidInput as error:
        raise Broken(str(error)) from None
    signed = [address_text(member) for member, _ in case.accepted.attestations]
    by_quorum = f", the report by {len(signed)} of {len(case.context.members)}" if signed else ""
    return Finding(
        f"sent and signed by {address_text(case.accepted.sender)}{by_quorum}", tuple(signed)
    )


def check_block(case: Case) -> Finding:
    """The stored block is the one in the report, and could be decided."""
    block = Block.decode(case.block_bytes)
    if block.hash != case.accepted.report.block_hash:
        raise Broken("its hash is not the one in the accepted report")
    verify_block(case.context, block)
    case.block = block
    return Finding(f"{block.hash.hex()[:16]}… holds {len(block.rows)} signed rows")


def check_certificate(case: Case) -> Finding:
    """A quorum voted for the block."""
    certificate = Certificate.decode(case.certificate_bytes)
    if certificate.block_hash != case.accepted.report.block_hash:
        raise Broken("it is about another block")
    verify_certificate(case.context, certificate)
    return _signed_by(case, [member for member, _ in certificate.votes])


def _signed_by(case: Case, voters: Sequence[int]) -> Finding:
    members = case.context.members
    case.signers = tuple(members[voter] for voter in voters)
    return Finding(
        f"signed by {len(case.signers)} of {len(members)} Nym-Apis",
        tuple(address_text(signer) for signer in case.signers),
    )


def check_messages(case: Case) -> Finding:
    """Every row is the one that its sender signed, and says something that a row may say."""
    assert case.block is not None, "the block comes first"
    if len(case.bodies) != len(case.block.rows):
        raise Broken(f"{len(case.bodies)} rows are stored, the block names {len(case.block.rows)}")
    for row, body in zip(case.block.rows, case.bodies, strict=True):
        sender = case.context.members[row.member]
        if row_root(body) != row.opening.row_root:
            raise Broken(f"the row of {address_text(sender)} is not the one that it signed")
        case.rows[sender] = decode_row(body, epoch=case.epoch, mixnodes=case.terms.mixnodes)
    return sent_by(case)


def sent_by(case: Case) -> Finding:
    """Say whose messages stand in the block."""
    senders = tuple(address_text(sender) for sender in sorted(case.rows))
    return Finding(f"sent and signed by {len(senders)} Nym-Apis", senders)


def check_result(case: Case) -> Finding:
    """The accepted result is the average of the messages."""
    ours = aggregate(
        case.rule,
        [case.rows[sender] for sender in sorted(case.rows)],
        mixnodes=case.terms.mixnodes,
        apis=len(case.context.members),
    )
    return _same(case, ours, f"{case.rule} of {len(case.rows)} rows")


def check_own_average(case: Case) -> Finding:
    """The accepted result is the average of the winner's stored readings."""
    if case.own_row is None:
        raise Broken("the winner's readings are not here")
    return _same(case, case.own_row.spread(case.terms.mixnodes), "average of the winner's readings")


def _same(case: Case, ours: Sequence[int | None], what: str) -> Finding:
    theirs = case.accepted.report.rewards
    wrong = tuple(
        f"mixnode {mixnode}: accepted {percent(b)}, follows {percent(a)}"
        for mixnode, (a, b) in enumerate(zip(ours, theirs, strict=True))
        if a != b
    )
    if wrong:
        raise Broken(f"{len(wrong)} values do not follow from the {what}", wrong)
    return Finding(f"all {len(ours)} values follow: {what}")


def check_own_block(case: Case) -> Finding:
    """The stored block is the one in the report, and the winner made it."""
    header = MessageBlockHeader.decode(case.block_bytes[:HEADER_BYTES])
    if header.hash != case.accepted.report.block_hash:
        raise Broken("its hash is not the one in the accepted report")
    if header.context != case.context.digest or header.creator >= case.context.n:
        raise Broken("it is of another member set or network")
    creator = case.context.members[header.creator]
    if creator != case.accepted.sender:
        raise Broken(f"{address_text(creator)} made it, not the winner")
    return Finding(f"{header.hash.hex()[:16]}… made by the winner, height {header.height}")


def check_delivery(case: Case) -> Finding:
    """A quorum voted for the block in its slot."""
    header = MessageBlockHeader.decode(case.block_bytes[:HEADER_BYTES])
    certificate = DeliveryCertificate.decode(case.certificate_bytes)
    if (certificate.slot, certificate.digest) != (header.slot, header.hash):
        raise Broken("it is about another block")
    verify_delivery(case.context, certificate)
    return _signed_by(case, [member for member, _ in certificate.votes])


def check_signed_messages(case: Case) -> Finding:
    """Every message of the block is signed by its sender for this epoch, and holds a row."""
    block = MessageBlock.decode(case.block_bytes)
    block.verify(case.context)
    rows = check_rows(block.messages, case.context.members, case.terms.mixnodes)
    if any(row.epoch != case.epoch for row in rows.values()):
        raise Broken(f"they are not of epoch {case.epoch}")
    case.rows = rows
    return sent_by(case)


QUORUM_STEPS: Final = (
    Step(ACCEPTED, (), check_accepted),
    Step(BLOCK, (ACCEPTED,), check_block),
    Step(CERTIFICATE, (ACCEPTED,), check_certificate),
    Step(MESSAGES, (BLOCK,), check_messages),
    Step(RESULT, (MESSAGES,), check_result),
)
RACE_STEPS: Final = (
    Step(ACCEPTED, (), check_accepted),
    Step(BLOCK, (ACCEPTED,), check_own_block),
    Step(CERTIFICATE, (BLOCK,), check_delivery),
    Step(MESSAGES, (BLOCK,), check_signed_messages),
    Step(RESULT, (MESSAGES,), check_result),
)
STANDALONE_STEPS: Final = (
    Step(ACCEPTED, (), check_accepted),
    Step(RESULT, (ACCEPTED,), check_own_average),
)


STEPS: Final = {
    Mode.STANDALONE: STANDALONE_STEPS,
    Mode.RACE: RACE_STEPS,
    Mode.QUORUM: QUORUM_STEPS,
}


def check_case(case: Case) -> list[Link]:
    """Check every link of an epoch."""
    return run_steps(case, STEPS[case.terms.mode])


def verdict(links: Sequence[Link]) -> tuple[bool, str]:
    """Return whether every link holds, and one sentence about it."""
    broken = first_broken(links)
    if broken is None:
        return True, links[-1].detail
    return False, f"{broken.name}: {broken.detail}"
