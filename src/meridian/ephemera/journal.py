"""The durable records of one member in one epoch, and how to read them back.

Law: the state that a restart finds is a prefix of what was persisted, and every prefix is safe. Only the
latest own statement of each kind is kept: views never go back, so older ones can never be contradicted.

| kind | key | value |
|---|---|---|
| context | | context digest, own address, observer u8 |
| row | | the own REVEAL frame, without body; the ROW is made of it |
| closed | | count u16, (member u16, commitment 32, signature 64)...: the commitments that came in time |
| have, propose, echo, view_change | | the own frame |
| listed_row | member u16 | the REVEAL frame of another member that the own HAVE lists |
| view | | view u32, wish u32 |
| lock | | the ECHO certificate behind the own latest VOTE; the VOTE itself follows from it |
| block | hash | block |
| body | root | body |
| decided | | VOTE certificate |
| report | attempt | the own frame |
| attested | attempt | blobs: REPORT_SIG frames of a quorum |
| evidence | member u16, kind | evidence |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, Certificate
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Record
from meridian.ephemera.evidence import Guilt, verify_evidence
from meridian.ephemera.limits import FRAME_BYTES_MAX
from meridian.ephemera.message import (
    Echo,
    Have,
    Message,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    ViewChange,
)
from meridian.errors import InvalidInput, StorageFailure
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.ids import Address

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Memory:
    """What a member remembers of an epoch."""

    observer: bool = False
    row: Reveal | None = None
    closed: list[Row] | None = None
    have: Have | None = None
    listed: list[Reveal] = field(default_factory=list)
    propose: Propose | None = None
    echo: Echo | None = None
    view_change: ViewChange | None = None
    view: int = 0
    wish: int = 0
    lock: Certificate | None = None
    blocks: dict[bytes, Block] = field(default_factory=dict)
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    decided: Certificate | None = None
    reports: dict[bytes, ReportSignature] = field(default_factory=dict)
    attested: dict[bytes, list[ReportSignature]] = field(default_factory=dict)
    evidence: list[tuple[Guilt, bytes]] = field(default_factory=list)


def context_value(context: Context, own: Address, *, observer: bool) -> bytes:
    """Value of the `context` record."""
    return Writer().fixed(context.digest, 32).fixed(own, 20).u8(int(observer)).bytes()


def closed_value(rows: Sequence[Row]) -> bytes:
    """Value of the `closed` record; at most two rows per member."""
    out = Writer().u16(len(rows))
    for row in rows:
        out.u16(row.member).fixed(row.digest, 32).fixed(row.signature, 64)
    return out.bytes()


def view_value(view: int, wish: int) -> bytes:
    """Value of the `view` record."""
    return Writer().u32(view).u32(wish).bytes()


def row_key(member: int) -> bytes:
    """Key of a `listed_row` record."""
    return Writer().u16(member).bytes()


def evidence_key(member: int, kind: str) -> bytes:
    """Key of an `evidence` record."""
    return Writer().u16(member).bytes() + kind.encode("ascii")


def attested_value(signatures: Sequence[ReportSignature], epoch: int) -> bytes:
    """Value of an `attested` record."""
    out = Writer().u16(len(signatures))
    for signature in signatures:
        out.blob(frames.encode(signature, epoch))
    return out.bytes()


def remember(context: Context, own: Address, records: Sequence[Record]) -> Memory | None:
    """Read all records of an epoch; None if there are none.

    Raises:
        StorageFailure: The records are of another epoch, member or member set, or damaged. A node must
            not sign on such a memory.
    """
    if not records:
        return None
    memory = Memory()
    try:
        if not any(record.kind == "context" for record in records):
            raise InvalidInput("context", "the record is missing")
        for record in records:
            if record.epoch != context.epoch:
                raise InvalidInput("epoch", f"{record.epoch} among records of {context.epoch}")
            _read(memory, context, own, record)
    except InvalidInput as error:
        raise StorageFailure(f"safety records of epoch {context.epoch}: {error}") from error
    return memory


def _read(memory: Memory, context: Context, own: Address, record: Record) -> None:
    value = record.value
    match record.kind:
        case "context":
            memory.observer = read_context(context, own, value)
        case "row":
            memory.row = _frame(value, context, Reveal)
        case "closed":
            memory.closed = _read_closed(context, value)
        case "have":
            memory.have = _frame(value, context, Have)
        case "listed_row":
            memory.listed.append(_frame(value, context, Reveal))
        case "propose":
            memory.propose = _frame(value, context, Propose)
        case "echo":
            memory.echo = _frame(value, context, Echo)
        case "view_change":
            memory.view_change = _frame(value, context, ViewChange)
        case "view":
            reader = Reader(value)
            memory.view, memory.wish = reader.u32(), reader.u32()
            reader.finish()
        case "lock":
            memory.lock = Certificate.decode(value)
        case "block":
            memory.blocks[record.key] = Block.decode(value)
        case "body":
            memory.bodies[record.key] = value
        case "decided":
            memory.decided = Certificate.decode(value)
        case "report":
            memory.reports[record.key] = _frame(value, context, ReportSignature)
        case "attested":
            memory.attested[record.key] = _read_attested(context, value)
        case "evidence":
            memory.evidence.append((verify_evidence(context, value), value))
        case _:
            raise InvalidInput("kind", f"{record.kind!r} is unknown")


def read_context(context: Context, own: Address, value: bytes) -> bool:
    """Whether the member observed; raises InvalidInput if the records are of another set or member."""
    reader = Reader(value)
    if reader.fixed(32) != context.digest:
        raise InvalidInput("context", "the records belong to another member set or network")
    if reader.fixed(20) != own:
        raise InvalidInput("context", "the records belong to another member")
    observer = reader.u8()
    reader.finish()
    return observer != 0


def attested_frames(value: bytes) -> list[bytes]:
    """The REPORT_SIG frames of an `attested` record; raises InvalidInput."""
    reader = Reader(value)
    found = [reader.blob(FRAME_BYTES_MAX) for _ in range(reader.u16())]
    reader.finish()
    return found


def _read_closed(context: Context, value: bytes) -> list[Row]:
    reader = Reader(value)
    count = reader.u16()
    rows = [Row(reader.u16(), reader.fixed(32), reader.fixed(64)) for _ in range(count)]
    reader.finish()
    if any(row.member >= context.n for row in rows):
        raise InvalidInput("closed", "names a stranger")
    return rows


def _read_attested(context: Context, value: bytes) -> list[ReportSignature]:
    return [_frame(frame, context, ReportSignature) for frame in attested_frames(value)]


def _frame(value: bytes, context: Context, kind: type[M]) -> M:
    message = frames.decode(value, context)
    if not isinstance(message, kind):
        raise InvalidInput("frame", f"is not a {kind.__name__}")
    return message
