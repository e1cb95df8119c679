"""Links `rows`, `block` and `certificate`: that a quorum of the epoch's registered members decided on these rows.

Every evaluator publishes an outcome record of its own; all of them are checked, and the file of a bad one is named.
"""

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.objects import fetch, pointed
from meridian.audit.record import OutcomeRecord
from meridian.ephemera.block import Block, Certificate, verify_block, verify_certificate
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.term import term_network
from meridian.errors import InvalidInput
from meridian.evaluate.row import row_root
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import address_text


def load_records(case: Case) -> Finding:
    """Read the outcome records of all evaluators; what this finds is told by the link `report`.

    Raises:
        Broken: If the epoch has no accepted report, or a record cannot be read.
    """
    stored = case.source.chain.report(case.epoch)
    if stored is None:
        raise Broken(f"epoch {case.epoch} has no accepted report on chain")
    records = []
    for file, digest in pointed(case.source.outcomes(case.epoch), "an outcome"):
        data = fetch(case.source, digest, f"the outcome that {file} names")
        try:
            records.append((file, OutcomeRecord.decode(data)))
        except InvalidInput as error:
            raise Broken(f"the outcome that {file} names cannot be read", [str(error)]) from error
    case.stored = stored
    case.records = tuple(records)
    return Finding(f"{len(records)} outcome records")


def check_block(case: Case) -> Finding:
    """Check the decided block: members, structure, signatures of rows and haves, and the inclusion rule.

    Raises:
        Broken: If a published block could not be decided by the epoch's members, or two differ.
    """
    members = case.source.chain.committee(case.epoch)
    strangers = [file for file, record in case.records if record.members != members]
    require(strangers, "the members are not the epoch's members on chain")
    network = term_network(case.source.network.network_id, case.source.chain.term(case.epoch))
    case.context = Context(case.evaluations_domain, network, case.epoch, members)
    blocks: dict[bytes, str] = {}
    problems = []
    for file, record in case.records:
        data = fetch(case.source, record.block, f"the block that {file} names")
        try:
            block = Block.decode(data)
            verify_block(case.context, block)
        except InvalidInput as error:
            problems.append(f"{file}: {error}")
            continue
        blocks.setdefault(block.hash, file)
        case.block = block
    require(problems, "a published block could not be decided by these members")
    if len(blocks) > 1:
        raise Broken(
            "the evaluators name different blocks",
            [f"{file}: {h.hex()}" for h, file in blocks.items()],
        )
    return Finding(
        f"block {case.block.hash.hex()} has {len(case.block.rows)} signed rows of {len(members)} members; "
        f"{len(case.block.haves)} haves, and no row that they require is left out"
    )


def check_certificate(case: Case) -> Finding:
    """Check that a quorum voted for the block.

    Raises:
        Broken: If any published certificate does not prove the decision.
    """
    problems = []
    votes = set()
    for file, record in case.records:
        data = fetch(case.source, record.certificate, f"the certificate that {file} names")
        try:
            certificate = Certificate.decode(data)
            if certificate.block_hash != case.block.hash:
                raise InvalidInput("certificate.block_hash", f"is {certificate.block_hash.hex()}")
            verify_certificate(case.context, certificate, Kind.VOTE)
        except InvalidInput as error:
            problems.append(f"{file}: {error}")
            continue
        votes |= {member for member, _ in certificate.votes}
    require(problems, "a published certificate does not prove that the block was decided")
    voters = tuple(
        f"vote of {address_text(case.context.members[member])}" for member in sorted(votes)
    )
    return Finding(
        f"{len(case.records)} certificates, each with at least {case.context.quorum} valid votes for the block",
        voters,
    )


def check_rows(case: Case) -> Finding:
    """Check that every row body is the one that its member committed itself to, and signed.

    Signatures and openings of the commitments are part of the block and were checked with it.

    Raises:
        Broken: Naming member and file of each body that is missing or another.
    """
    bodies: dict[bytes, bytes] = {}
    for file, record in case.records:
        if len(record.rows) != len(case.block.rows):
            raise Broken(
                f"{file} names {len(record.rows)} rows, the block has {len(case.block.rows)}"
            )
        for row, digest in zip(case.block.rows, record.rows, strict=True):
            member = address_text(case.context.members[row.member])
            body = fetch(case.source, digest, f"the row of {member}")
            root = row.opening.row_root
            if row_root(body) != root:
                raise Broken(
                    f"the row of {member} is not the one that it signed",
                    [f"{file}: root {row_root(body).hex()}, the block has {root.hex()}"],
                )
            bodies[root] = body
    case.rows = tuple(
        (case.context.members[row.member], bodies[row.opening.row_root]) for row in case.block.rows
    )
    return Finding(
        f"{len(case.rows)} row bodies have the roots to which their members had committed themselves",
        tuple(
            f"{address_text(member)}: sha256 {digest_of(body).hex()}" for member, body in case.rows
        ),
    )
