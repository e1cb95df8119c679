"""Answers about closed epochs, for members that were away for longer than epochs stay open.

A closed epoch has no machine. What its members may still ask for (the decision, the block, its bodies and rows,
the report signatures) is read from the records that its machine had persisted. Law: nothing is signed, nothing
is taken in and nothing is persisted for a closed epoch; the asker proves everything that it gets by itself.

Checks come in the order size, version, kind, epoch, member, form, allowance; only then is the archive read. Bounds:
`closed_epochs_max` member sets, an allowance of `closed_bytes_per_s_max` per member that pays for what is read and
for what is sent, and `closed_cache_bytes_max` of objects that are being fetched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from meridian.ephemera import frame as frames
from meridian.ephemera import journal
from meridian.ephemera.block import Block, Certificate
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Effect, Record, Rejected, Send
from meridian.ephemera.limits import Limits
from meridian.ephemera.message import (
    BODY,
    ROW,
    WANT_DECISION,
    Ask,
    Decision,
    Fetch,
    FetchReply,
    Reveal,
)
from meridian.errors import InvalidInput, StorageFailure
from meridian.primitives.ids import Address

REQUEST_COST_BYTES = 16 << 10
"""What every request takes of its sender's allowance, besides the bytes that it causes: a lookup is not free."""

ALLOWANCES_MAX = 512
"""Members whose allowance is remembered; who was not heard of for longest is forgotten first."""


class Archive(Protocol):
    """The durable records of this member, as they were persisted."""

    def records(self, epoch: int, kind: str, key: bytes | None = None) -> Sequence[Record]:
        """Return the records of one epoch and kind, ascending by key; with `key` that one or none.

        Raises:
            StorageFailure: They cannot be read. Stop the node.
        """
        ...


@dataclass(slots=True)
class _Allowance:
    left_bytes: int
    at_ms: int


class ClosedEpochs:
    """The closed epochs that are answered for."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits
        self._members: dict[int, frozenset[Address]] = {}
        self._last: frozenset[Address] = frozenset()
        self._allowances: OrderedDict[Address, _Allowance] = OrderedDict()
        self._cache: OrderedDict[tuple[int, str, bytes], bytes] = OrderedDict()
        self._cached_bytes = 0

    @property
    def epochs(self) -> tuple[int, ...]:
        """Their numbers, ascending."""
        return tuple(sorted(self._members))

    def add(self, context: Context) -> None:
        """Answer for this epoch from now on; past the bound the oldest is given up."""
        members = frozenset(context.members)
        if members != self._last:
            self._last = members
        # Equal sets are one object: committees change rarely, and thousands of epochs are remembered.
        self._members[context.epoch] = self._last
        if len(self._members) > self._limits.closed_epochs_max:
            self.discard(min(self._members))

    def discard(self, epoch: int) -> None:
        """Answer for this epoch no longer."""
        self._members.pop(epoch, None)
        self._drop(key for key in self._cache if key[0] == epoch)

    def receive(self, sender: Address, frame: bytes, now_ms: int) -> list[Effect]:
        """Answer one frame whose size, version and kind are checked. Never raises because of the frame.

        Raises:
            StorageFailure: The archive cannot be read, or holds what no machine persisted.
        """
        try:
            return self._answer(sender, frame, now_ms)
        except InvalidInput as refusal:
            return [Rejected(sender, refusal.field, refusal.reason)]

    def _answer(self, sender: Address, frame: bytes, now_ms: int) -> list[Effect]:
        epoch = frames.epoch_of(frame)
        members = self._members.get(epoch)
        if members is None:
            raise InvalidInput("epoch", "not open")
        if frame[1] not in frames.REQUESTS:
            raise InvalidInput("epoch", "closed")
        if sender not in members:
            raise InvalidInput("sender", "is not another member of the epoch")
        request = frames.decode_request(frame)
        allowance = self._allowance(sender, now_ms)
        if allowance.left_bytes <= 0:
            raise InvalidInput("rate", "too much asked for about closed epochs")
        allowance.left_bytes -= REQUEST_COST_BYTES
        try:
            answers = self._answers(epoch, request, allowance)
        except InvalidInput as error:
            raise StorageFailure(f"safety records of epoch {epoch}: {error}") from error
        allowance.left_bytes -= sum(len(answer) for answer in answers)
        return [Send(sender, answer, bulk=answer[1] == Kind.FETCH_REPLY) for answer in answers]

    def _answers(self, epoch: int, request: Ask | Fetch, allowance: _Allowance) -> list[bytes]:
        if isinstance(request, Fetch):
            return self._fetched(epoch, request, allowance)
        if request.want == WANT_DECISION:
            certificate = self._decision(epoch)
            return [] if certificate is None else [frames.encode(Decision(certificate), epoch)]
        return self._reports(epoch)

    def _reports(self, epoch: int) -> list[bytes]:
        """All signatures of attested attempts, and the own ones that are not among them."""
        attested = [
            frame
            for record in self._archive.records(epoch, "attested")
            for frame in journal.attested_frames(record.value)
        ]
        own = [record.value for record in self._archive.records(epoch, "report")]
        return attested + [frame for frame in own if frame not in attested]

    def _fetched(self, epoch: int, fetch: Fetch, allowance: _Allowance) -> list[bytes]:
        if fetch.object == ROW:
            return self._row(epoch, fetch, allowance)
        kind = "body" if fetch.object == BODY else "block"
        data = self._object(epoch, kind, fetch.digest, allowance)
        if data is None or fetch.offset > len(data) or (fetch.offset == len(data) and data):
            return []
        piece = data[fetch.offset : fetch.offset + self._limits.piece_bytes]
        reply = FetchReply(fetch.object, fetch.digest, len(data), fetch.offset, piece)
        return [frames.encode(reply, epoch)]

    def _row(self, epoch: int, fetch: Fetch, allowance: _Allowance) -> list[bytes]:
        """A revealed row of the decided block."""
        certificate = self._decision(epoch)
        if certificate is None:
            return []
        data = self._object(epoch, "block", certificate.block_hash, allowance)
        if data is None:
            return []
        return [
            frames.encode(Reveal(row.member, row.digest, row.signature, row.opening), epoch)
            for row in Block.decode(data).rows
            if (row.member, row.digest) == (fetch.member, fetch.digest)
        ]

    def _decision(self, epoch: int) -> Certificate | None:
        for record in self._archive.records(epoch, "decided"):
            return Certificate.decode(record.value)
        return None

    def _object(self, epoch: int, kind: str, digest: bytes, allowance: _Allowance) -> bytes | None:
        """A block or a body; what has to be read for it is paid for by who asks."""
        key = (epoch, kind, digest)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        for record in self._archive.records(epoch, kind, digest):
            allowance.left_bytes -= len(record.value)
            self._cache[key] = record.value
            self._cached_bytes += len(record.value)
            while self._cached_bytes > self._limits.closed_cache_bytes_max and len(self._cache) > 1:
                self._drop([next(iter(self._cache))])
            return record.value
        return None

    def _drop(self, keys: Iterable[tuple[int, str, bytes]]) -> None:
        for key in list(keys):
            self._cached_bytes -= len(self._cache.pop(key))

    def _allowance(self, member: Address, now_ms: int) -> _Allowance:
        """The member's allowance, filled up to now; at most two seconds' worth gathers."""
        rate = self._limits.closed_bytes_per_s_max
        allowance = self._allowances.get(member)
        if allowance is None:
            if len(self._allowances) >= ALLOWANCES_MAX:
                self._allowances.popitem(last=False)
            allowance = self._allowances[member] = _Allowance(2 * rate, now_ms)
        self._allowances.move_to_end(member)
        earned = max(0, now_ms - allowance.at_ms) * rate // 1000
        if earned:
            allowance.left_bytes = min(2 * rate, allowance.left_bytes + earned)
            allowance.at_ms = now_ms
        return allowance
