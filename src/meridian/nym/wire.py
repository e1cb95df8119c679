"""Submissions and results as JSON, the contract's edge: bytes are ``0x`` and hex digits, values integers at 10^-6.

`performance` is null where nobody, or too few, measured the mixnode; it must be given all the same, so that a missing
key is a mistake and never an opinion.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from meridian.ephemera.messages.message import ROUND_MAX
from meridian.errors import InvalidInput
from meridian.nym.rewards import Report, Submission
from meridian.nym.rows import MIXNODES_MAX, Values
from meridian.primitives.ids import Address, address_text, parse_address

BODY_BYTES_MAX: Final = 1 << 20

_Unsigned = Annotated[int, msgspec.Meta(ge=0, le=ROUND_MAX)]


class _Reward(msgspec.Struct, forbid_unknown_fields=True):
    mix_id: _Unsigned
    performance: int | None


class _Attestation(msgspec.Struct, forbid_unknown_fields=True):
    member: str
    signature: str


class _Submission(msgspec.Struct, forbid_unknown_fields=True):
    epoch: _Unsigned
    network: str
    sender: str
    block_hash: str
    aggregate: Annotated[str, msgspec.Meta(max_length=32)]
    rewards: Annotated[list[_Reward], msgspec.Meta(max_length=MIXNODES_MAX)]
    signature: str
    attestations: Annotated[list[_Attestation], msgspec.Meta(max_length=128)] = []


def encode_submission(network: bytes, submission: Submission) -> bytes:
    """Return the body of POST /contract/submit_rewards."""
    return msgspec.json.encode(document(network, submission))


def document(network: bytes, submission: Submission) -> dict[str, Any]:
    """Return a submission as JSON values."""
    report = submission.report
    return {
        "epoch": report.epoch,
        "network": "0x" + network.hex(),
        "sender": address_text(submission.sender),
        "block_hash": "0x" + report.block_hash.hex(),
        "aggregate": report.aggregate,
        "rewards": [
            {"mix_id": mixnode, "performance": value}
            for mixnode, value in enumerate(report.rewards)
        ],
        "signature": "0x" + submission.signature.hex(),
        "attestations": [
            {"member": address_text(member), "signature": "0x" + signature.hex()}
            for member, signature in submission.attestations
        ],
    }


def decode_submission(body: bytes, *, network: bytes, mixnodes: int) -> Submission:
    """Read a submission; its values and signatures are checked elsewhere (`acceptance`).

    Raises:
        InvalidInput: If it is malformed, of another network, or does not name every mixnode once; the field is named.
    """
    try:
        value = msgspec.json.decode(body, type=_Submission)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise InvalidInput(path.strip(".`") or "body", reason) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", str(error)) from None
    if _hex(value.network, 32, "network") != network:
        raise InvalidInput("network", "is another one")
    report = Report(
        value.epoch,
        _hex(value.block_hash, 32, "block_hash"),
        value.aggregate,
        _rewards(value.rewards, mixnodes),
    )
    return Submission(
        report,
        parse_address(value.sender, "sender"),
        _hex(value.signature, 64, "signature"),
        tuple(
            (
                parse_address(item.member, "attestations.member"),
                _hex(item.signature, 64, "attestations.signature"),
            )
            for item in value.attestations
        ),
    )


def accepted_document(network: bytes, submission: Submission, accepted_ms: int) -> dict[str, Any]:
    """Return the answer of GET /contract/rewards/{epoch}."""
    return {
        "winner": address_text(Address(submission.sender)),
        "accepted_ms": accepted_ms,
        "submission": document(network, submission),
    }


def _rewards(given: Sequence[_Reward], mixnodes: int) -> Values:
    if not given:
        raise InvalidInput("rewards", "must not be empty")
    values: dict[int, int | None] = {}
    for item in given:
        if item.mix_id >= mixnodes:
            raise InvalidInput("rewards.mix_id", f"{item.mix_id} is not one of {mixnodes} mixnodes")
        if item.mix_id in values:
            raise InvalidInput("rewards.mix_id", f"{item.mix_id} stands twice")
        values[item.mix_id] = item.performance
    for mixnode in range(mixnodes):
        if mixnode not in values:
            raise InvalidInput("rewards.mix_id", f"{mixnode} is missing")
    return tuple(values[mixnode] for mixnode in range(mixnodes))


def _hex(text: str, width: int, field: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != width or len(text.removeprefix("0x")) != 2 * width:
        raise InvalidInput(field, f"must be {width} bytes of hex")
    return value
