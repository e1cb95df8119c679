"""What an evaluator publishes about an accepted report: digests of everything that was decided, and the report itself.

One canonical DAG-CBOR map; a record with other fields, or fields of other shapes, is refused with the field's name.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

from meridian.errors import InvalidInput
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address
from meridian.reward.report import Report

MEMBERS_MAX: Final = 128
RECORD_BYTES_MAX: Final = 1 << 20

_REPORT_FIELDS: Final = (
    ("network", "network"),
    ("commitment", "commitment"),
    ("function", "function_digest"),
    ("parameters", "parameters_digest"),
    ("inputs_root", "inputs_root"),
    ("block_hash", "block_hash"),
    ("verdict_root", "verdict_root"),
    ("reward_root", "reward_root"),
    ("previous", "previous"),
)
"""Digest fields of the report: name in the record, name in `Report`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRecord:
    """The outcome artefact of one evaluator for one epoch."""

    network_id: bytes
    epoch: int
    members: tuple[Address, ...]
    """Ascending."""
    manifest: bytes
    block: bytes
    """Digest of the block's bytes, not the block's hash; so are all that follow."""
    certificate: bytes
    rows: tuple[bytes, ...]
    """In the order of the block's rows."""
    verdicts: bytes
    previous_claims: bytes | None
    claims: bytes
    report: Report
    report_hash: bytes
    signatures: tuple[tuple[Address, bytes], ...]
    """(signer, 64 bytes), ascending, as they were accepted on chain."""
    transmitter: Address
    result: bytes
    union: bytes | None = None
    """Digest of `meridian.measure.union_document`, where several contributed: such a record is of version 2."""

    def encode(self) -> bytes:
        """Return the artefact."""
        report: dict[str, Any] = {
            name: getattr(self.report, attribute) for name, attribute in _REPORT_FIELDS
        }
        report |= {"epoch": self.report.epoch, "total": self.report.total.to_bytes(16, "big")}
        return dagcbor.encode(
            {
                "v": 1 if self.union is None else 2,
                **({} if self.union is None else {"union": self.union}),
                "network_id": self.network_id,
                "epoch": self.epoch,
                "members": list(self.members),
                "manifest": self.manifest,
                "block": self.block,
                "certificate": self.certificate,
                "rows": list(self.rows),
                "verdicts": self.verdicts,
                "previous_claims": self.previous_claims,
                "claims": self.claims,
                "report": report,
                "report_hash": self.report_hash,
                "signatures": [list(pair) for pair in self.signatures],
                "transmitter": self.transmitter,
                "result": self.result,
            }
        )

    @property
    def digest(self) -> bytes:
        """The content address of the artefact."""
        return digest_of(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        if len(data) > RECORD_BYTES_MAX:
            raise InvalidInput("outcome", f"passes {RECORD_BYTES_MAX} bytes")
        value = dagcbor.decode(data)
        try:
            record = cls._read(value)
            same = record.encode() == data
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidInput("outcome", f"it lacks or misuses {error}") from error
        if not same:
            raise InvalidInput("outcome", "it is not an outcome of a known version")
        return record

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        previous = value["previous_claims"]
        return cls(
            network_id=_fixed(value["network_id"], "network_id"),
            epoch=_epoch(value["epoch"], "epoch"),
            members=tuple(
                _address(item, "members") for item in _short(value["members"], "members")
            ),
            manifest=_fixed(value["manifest"], "manifest"),
            block=_fixed(value["block"], "block"),
            certificate=_fixed(value["certificate"], "certificate"),
            rows=tuple(_fixed(item, "rows") for item in _short(value["rows"], "rows")),
            verdicts=_fixed(value["verdicts"], "verdicts"),
            previous_claims=None if previous is None else _fixed(previous, "previous_claims"),
            claims=_fixed(value["claims"], "claims"),
            report=_report(value["report"]),
            report_hash=_fixed(value["report_hash"], "report_hash"),
            signatures=tuple(
                (_address(signer, "signatures"), _fixed(signature, "signatures", 64))
                for signer, signature in _short(value["signatures"], "signatures")
            ),
            transmitter=_address(value["transmitter"], "transmitter"),
            result=_fixed(value["result"], "result"),
            union=_fixed(value["union"], "union") if "union" in value else None,
        )


def _report(value: dict[str, Any]) -> Report:
    digests = {
        attribute: _fixed(value[name], f"report.{name}") for name, attribute in _REPORT_FIELDS
    }
    total = int.from_bytes(_fixed(value["total"], "report.total", 16), "big")
    return Report(epoch=_epoch(value["epoch"], "report.epoch"), total=total, **digests)


def _fixed(value: Any, field: str, width: int = 32) -> bytes:
    if not isinstance(value, bytes) or len(value) != width:
        raise InvalidInput(field, f"is not {width} bytes")
    return value


def _address(value: Any, field: str) -> Address:
    return Address(_fixed(value, field, 20))


def _epoch(value: Any, field: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise InvalidInput(field, "is not an epoch")
    return value


def _short(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MEMBERS_MAX:
        raise InvalidInput(field, f"is not a list of at most {MEMBERS_MAX}")
    return value
