"""Evidence of a member's misbehaviour, in the shape of the contracts' arguments.

`meridian.ephemera.evidence` defines and checks it; here its bytes become a call. Double statements of the reliable
broadcast are not judged on chain: they decide no money.
"""

from typing import Final

from meridian.contracts.calldata import signature_words
from meridian.disputes.accusation import Accusation
from meridian.ephemera.context import Context
from meridian.ephemera.evidence import AMNESIA, DOUBLE, REPORT, verify_evidence
from meridian.errors import InvalidInput
from meridian.primitives.codec import Reader
from meridian.primitives.ids import Address
from meridian.reward.report import Report

_HEAD: Final = 2 + 1 + 8 + 32 + 2


def from_evidence(context: Context, evidence: bytes) -> Accusation:
    """Return the accusation that a piece of evidence makes.

    Raises:
        InvalidInput: If it proves nothing, or is about the reliable broadcast.
    """
    guilt = verify_evidence(context, evidence)
    form, reader = evidence[2], Reader(evidence[_HEAD:])
    if form == DOUBLE:
        function = "double_statement"
        head: tuple[object, ...] = (context.digest, reader.u8(), reader.u32())
        arguments = (*head, *_pair(reader))
    elif form == REPORT:
        function = "double_attempt"
        head = (context.digest, reader.fixed(32))
        arguments = (*head, *_pair(reader))
    elif form == AMNESIA:
        function = "amnesia"
        arguments = (context.digest, *_amnesia(reader))
    else:
        raise InvalidInput("evidence.form", "the contracts do not judge it")
    guilty = context.members[guilt.member]
    return Accusation("ReportProofs", function, arguments, context.epoch, (guilty,), guilt.kind)


def _pair(reader: Reader) -> tuple[object, ...]:
    words: list[object] = []
    for _ in range(2):
        words += [reader.fixed(32), signature_words(reader.fixed(64))]
    return tuple(words)


def _amnesia(reader: Reader) -> tuple[object, ...]:
    voted_view, voted, vote = reader.u32(), reader.fixed(32), signature_words(reader.fixed(64))
    view, flag = reader.u32(), reader.u8()
    lock = bytes((flag,)) + (reader.fixed(36) if flag else b"")
    return voted_view, voted, vote, view, lock, signature_words(reader.fixed(64))


def double_report(
    signer: Address, first: tuple[Report, bytes], second: tuple[Report, bytes]
) -> Accusation | None:
    """Accuse of two reports that follow from one decided block, each with its signature, if they are that."""
    one, other = first[0], second[0]
    same = (one.network, one.epoch, one.commitment, one.previous, one.block_hash)
    if one == other or same != (
        other.network,
        other.epoch,
        other.commitment,
        other.previous,
        other.block_hash,
    ):
        return None
    arguments = (one.values, signature_words(first[1]), other.values, signature_words(second[1]))
    reason = f"two reports of epoch {one.epoch} from one block"
    return Accusation("ReportProofs", "double_report", arguments, one.epoch, (signer,), reason)
