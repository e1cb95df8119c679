"""From batches that wait together to one frame of the job log: decode, admit, hash, promise.

Law: everything is done once for the whole group, over columns; only what a batch itself has (its name, its signature,
its answer) is done batch by batch. The outcome is that of the batches taken one after the other, in their order.
Nothing here changes the journal: a group that is dropped has left no trace.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from meridian.errors import InvalidInput, MeridianError, Overloaded, RemoteFault
from meridian.measure.admission import Admitted, Outcome, Records, admit
from meridian.measure.batch_decode import Body, BodyKind, Many, decode_batch, decode_many
from meridian.measure.batch_signature import (
    SEED_HEADER,
    SIGNATURE_HEADER,
    BatchSignature,
    body_digest,
    name_of_digest,
)
from meridian.measure.epoch import PlacementRules
from meridian.measure.explain import Rejection
from meridian.measure.receipt import Receipt, SignedReceipt, batch_roots
from meridian.measure.row import BatchSeeds, job_leaves, job_rows, private_commitments
from meridian.measure.schema import NetworkSchema
from meridian.measure.seen_jobs import Hashes
from meridian.node.measure.elsewhere import Elsewhere
from meridian.node.measure.frames import (
    BatchEntry,
    GroupFrame,
    digest_column,
    log_columns,
    seed_column,
)
from meridian.node.measure.journal import Journal
from meridian.node.measure.nodes import NodeDirectory
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import ByteMatrix, sha256
from meridian.primitives.keys import PrivateKey

SMALL_BYTES: Final = 64 << 10
_log = logging.getLogger(__name__)
_TEXTS: Final = frozenset({BodyKind.NDJSON, BodyKind.JSON})
_NO_HASHES: Final = np.zeros((0, 2), dtype=np.uint64)


class NotAuthenticated(InvalidInput):
    """Who sent a batch is not who may send it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregator:
    """Who admits, and by which rules."""

    network_id: bytes
    schema: NetworkSchema
    rules: PlacementRules
    key: PrivateKey
    domain: Domain
    """Of receipts: the chain and its contract `Commitments`."""
    seed_secret: bytes
    """Makes the seed of a batch whose sender chose none, the same for the same body."""
    replay: bool
    """Whether the clock is set from outside."""
    signed_within_us: int
    """How far from now, by the wall clock, the time may lie that a node signed."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch as it came, decompressed."""

    body: Body
    seed: bytes | None = None
    signature: BatchSignature | None = None
    """None: the sender had a gateway's token."""

    @property
    def signer(self) -> str | None:
        """The node that signed it."""
        return None if self.signature is None else self.signature.node_id

    @property
    def is_small(self) -> bool:
        """Whether it is decoded together with its small neighbours."""
        return len(self.body.data) <= SMALL_BYTES and self.body.kind in _TEXTS


@dataclass(frozen=True, slots=True)
class _Named:
    """A batch with its name."""

    batch: bytes
    seed: bytes
    submitted: Submitted


@dataclass(frozen=True, slots=True)
class Group:
    """What is to be written and answered."""

    answers: tuple[bytes | MeridianError, ...]
    """For each submitted batch; JSON, or why it is refused."""
    frame: GroupFrame | None
    """None: there is nothing to be promised."""
    records: int
    """How many could be read."""
    hashes: Hashes
    """The hashes in `SeenJobs` of the frame's jobs."""

    def without_promises(self, refusal: MeridianError) -> tuple[bytes | MeridianError, ...]:
        """Return the answers if the frame could not be written: what was promised before stays so."""
        new = set() if self.frame is None else {entry.response for entry in self.frame.batches}
        return tuple(refusal if answer in new else answer for answer in self.answers)


class Grouping:
    """Makes groups for one journal; reads it, and does not write."""

    def __init__(
        self,
        aggregator: Aggregator,
        journal: Journal,
        directory: NodeDirectory,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._aggregator, self._journal, self._directory = aggregator, journal, directory
        self._elsewhere = elsewhere
        self._columns = log_columns(aggregator.schema)

    def group(self, waiting: Sequence[Submitted], now_us: int, wall_us: int) -> Group:
        """Admit batches that wait together.

        Args:
            waiting: In the order in which they are admitted.
            now_us: The ingest clock.
            wall_us: The wall clock, for what nodes signed.

        Raises:
            EpochClosed: If the epoch that is open here is closed elsewhere; nothing was promised.
        """
        answers: list[bytes | MeridianError] = [b""] * len(waiting)
        first_of: dict[bytes, int] = {}
        same_as: dict[int, int] = {}
        new: list[tuple[int, _Named]] = []
        for at, submitted in enumerate(waiting):
            try:
                named = self._named(submitted, wall_us)
                known = self._journal.response(named.batch)
            except MeridianError as refusal:
                answers[at] = refusal
                continue
            if known is not None:
                answers[at] = known
            elif (first := first_of.setdefault(named.batch, at)) != at:
                same_as[at] = first
            else:
                new.append((at, named))
        parts, good = self._decoded(new, answers)
        frame: GroupFrame | None = None
        hashes = _NO_HASHES
        records = 0
        if good:
            named_batches = [named for _, named in good]
            gathered = Records.gather(parts)
            records = gathered.table.num_rows
            made, frame, hashes = self._admitted(named_batches, gathered, now_us)
            for (at, _), answer in zip(good, made, strict=True):
                answers[at] = answer
        for at, first in same_as.items():
            answers[at] = answers[first]
        return Group(tuple(answers), frame, records, hashes)

    def _decoded(
        self, new: Sequence[tuple[int, _Named]], answers: list[bytes | MeridianError]
    ) -> tuple[list[Records], list[tuple[int, _Named]]]:
        """Decode what can be decoded, small neighbours together; the others get their refusal as answer."""
        schema = self._aggregator.schema
        parts: list[Records] = []
        good: list[tuple[int, _Named]] = []
        for small, run in itertools.groupby(new, key=lambda item: item[1].submitted.is_small):
            items = list(run)
            many = self._many([named for _, named in items]) if small and len(items) > 1 else None
            if many is not None:
                for place, refusal in many.errors.items():
                    answers[items[place][0]] = refusal
                good += [item for place, item in enumerate(items) if place not in many.errors]
                signers = [named.submitted.signer for _, named in items]
                parts.append(Records.of_many(many, signers))
                continue
            for at, named in items:
                body = named.submitted.body
                try:
                    decoded = decode_batch(body.data, body.kind, schema)
                except InvalidInput as refusal:
                    answers[at] = refusal
                    continue
                except Exception:  # noqa: BLE001 - a bug of ours must cost one batch, not the service
                    _log.exception("batch %s cannot be read", named.batch.hex())
                    answers[at] = InvalidInput("body", "it cannot be read; our log says why")
                    continue
                good.append((at, named))
                parts.append(Records.of(decoded, named.submitted.signer))
        return parts, good

    def _many(self, items: Sequence[_Named]) -> Many | None:
        """Decode small bodies together; None if that fails in a way that nobody expected: then one by one."""
        bodies = [named.submitted.body for named in items]
        try:
            return decode_many(bodies, self._aggregator.schema)
        except Exception:  # noqa: BLE001 - as above; the one that does it is found one by one
            _log.exception("%d small bodies cannot be read together", len(bodies))
            return None

    # -- one batch --------------------------------------------------------------------------------

    def _named(self, submitted: Submitted, wall_us: int) -> _Named:
        seed, digest = submitted.seed, body_digest(submitted.body.data)
        if seed is None:
            if submitted.signature is not None:
                raise InvalidInput(SEED_HEADER, "a signed batch needs a seed of its sender")
            seed = sha256(self._aggregator.seed_secret, digest)
        named = _Named(name_of_digest(seed, digest), seed, submitted)
        if submitted.signature is not None:
            self._authenticate(named, submitted.signature, wall_us)
        return named

    def _authenticate(self, named: _Named, signature: BatchSignature, wall_us: int) -> None:
        aggregator = self._aggregator
        node = self._directory.find(signature.node_id)
        if node is None:
            raise NotAuthenticated(SIGNATURE_HEADER, "the node is not registered")
        if abs(wall_us - signature.sent_at_us) > aggregator.signed_within_us:
            raise NotAuthenticated(SIGNATURE_HEADER, "it was signed too long ago, or ahead of time")
        if not signature.holds(
            network=aggregator.network_id,
            batch=named.batch,
            domain=aggregator.domain,
            operator=node.operator,
        ):
            raise NotAuthenticated(SIGNATURE_HEADER, "not signed by the node's operator")

    # -- the group --------------------------------------------------------------------------------

    def _admitted(
        self, named: Sequence[_Named], records: Records, now_us: int
    ) -> tuple[list[bytes | MeridianError], GroupFrame | None, Hashes]:
        """Return the answer of each batch, what is to be written, and the hashes of its jobs."""
        aggregator, journal = self._aggregator, self._journal
        screen = None
        if self._elsewhere is not None:
            screen = partial(self._elsewhere.screen, [one.batch for one in named])
        try:
            admitted = admit(
                records,
                rules=aggregator.rules,
                open_epoch=journal.open_epoch,
                now_us=now_us,
                nodes=self._directory,
                seen=journal.seen,
                sums=journal.sums,
                screen=screen,
            )
        except (RemoteFault, Overloaded) as refusal:
            return [refusal] * len(named), None, _NO_HASHES
        if (
            admitted.table.num_rows == 0
        ):  # nothing to promise: the same bodies may fare better later
            made = [
                admitted.aside.get(at) or _response(one.batch, one.seed, outcome, None)
                for at, (one, outcome) in enumerate(zip(named, admitted.outcomes, strict=True))
            ]
            return made, None, _NO_HASHES
        try:
            journal.seen.require_room(admitted.table.num_rows)
        except MeridianError as refusal:
            return [refusal] * len(named), None, _NO_HASHES
        rows = np.array([outcome.accepted for outcome in admitted.outcomes], dtype=np.int64)
        seeds = [one.seed for one in named]
        table, leaves = self._committed(admitted, seeds, rows)
        roots = batch_roots(
            aggregator.schema.lanes.kind,
            leaves,
            batch_of=admitted.batch_of,
            node_of=admitted.node_of,
            nodes=self._directory.order,
            keys=admitted.keys,
        )
        promised = [outcome for outcome in admitted.outcomes if outcome.accepted]
        receipts = iter(self._receipts(promised, roots, now_us))
        answers: list[bytes | MeridianError] = []
        entries: list[BatchEntry] = []
        for at, (one, outcome) in enumerate(zip(named, admitted.outcomes, strict=True)):
            if outcome.accepted == 0:
                without = _response(one.batch, one.seed, outcome, None)
                answers.append(admitted.aside.get(at, without))
                continue
            entry = _entry(one, outcome, next(receipts))
            entries.append(entry)
            answers.append(entry.response)
        return answers, GroupFrame(tuple(entries), table), admitted.hashes

    def _committed(
        self, admitted: Admitted, seeds: Sequence[bytes], rows: "np.ndarray[Any, Any]"
    ) -> tuple[Any, Any]:
        """Return the jobs in the columns of the log, and the leaf of each."""
        schema, table = self._aggregator.schema, admitted.table
        private = private_commitments(schema, table, BatchSeeds.runs(seeds, rows))
        leaves = job_leaves(job_rows(schema, table, admitted.keys, private))
        columns = self._columns
        table = table.append_column(columns.field("job_key"), digest_column(admitted.keys))
        table = table.append_column(columns.field("private"), digest_column(private))
        table = table.append_column(columns.field("batch_seed"), seed_column(seeds, rows))
        return table.select(columns.names).cast(columns), leaves

    def _receipts(
        self, outcomes: Sequence[Outcome], roots: ByteMatrix, now_us: int
    ) -> list[SignedReceipt]:
        """Sign the receipts of batches with accepted jobs."""
        aggregator, first = self._aggregator, self._journal.sequence
        receipts = [
            Receipt(
                network=aggregator.network_id,
                deadline_epoch=max(outcome.epochs),
                aggregator=aggregator.key.address,
                sequence=sequence,
                batch_root=root.tobytes(),
                received_at_us=now_us,
            )
            for sequence, (outcome, root) in enumerate(zip(outcomes, roots, strict=True), first)
        ]
        return SignedReceipt.sign_all(receipts, aggregator.domain, aggregator.key)


def _entry(named: _Named, outcome: Outcome, signed: SignedReceipt) -> BatchEntry:
    """Return what is written of a batch with accepted jobs."""
    return BatchEntry(
        batch=named.batch,
        seed=named.seed,
        sequence=signed.receipt.sequence,
        rows=outcome.accepted,
        response=_response(named.batch, named.seed, outcome, signed),
        epochs=tuple(outcome.epochs.items()),
        duplicates=tuple(outcome.duplicates.items()),
    )


def _response(batch: bytes, seed: bytes, outcome: Outcome, signed: SignedReceipt | None) -> bytes:
    return msgspec.json.encode(
        {
            "batch": batch.hex(),
            "seed": seed.hex(),
            "accepted": outcome.accepted,
            "duplicates": sum(outcome.duplicates.values()),
            "rejected": list(map(_rejected, outcome.rejections)),
            "receipt": signed.document() if signed is not None else None,
        }
    )


def _rejected(rejection: Rejection) -> dict[str, Any]:
    return {
        "index": rejection.index,
        "line": rejection.line,
        "job_id": rejection.job_id,
        "field": rejection.field,
        "reason": rejection.reason,
        "message": rejection.message,
    }
