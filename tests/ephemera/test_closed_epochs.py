"""Closed epochs: members that were away for hundreds of them catch up, and everybody else gets nothing."""

from dataclasses import replace

import pytest
from cluster import AcceptAll, Cluster, DiskArchive, Voice, context, keys

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Attested, Decided, Effect, Misbehaviour, Rejected, Send
from meridian.ephemera.limits import Limits
from meridian.ephemera.message import (
    BLOCK,
    BODY,
    ROW,
    WANT_DECISION,
    WANT_REPORTS,
    Ask,
    Decision,
    Fetch,
    FetchReply,
    Message,
    ReportSignature,
    Reveal,
)
from meridian.ephemera.replica import Replica
from meridian.errors import StorageFailure
from meridian.primitives.hashing import sha256
from meridian.primitives.keys import recover

AWAY = 300
OPEN = 16
LIMITS = Limits(epochs_max=OPEN, piece_bytes=64)


def report_of(decided: Decided) -> bytes:
    """A pure function of the decided block, as a report is."""
    return sha256(b"report" + decided.block.hash)


class LongRun(Cluster):
    """A cluster that goes through many epochs; every member reports, and closes an epoch when it is attested."""

    def __init__(self, n: int, *, limits: Limits = LIMITS):
        self.archives: dict[int, DiskArchive] = {}
        super().__init__(n, limits=limits)
        self.results: list[dict[int, tuple[Decided, Attested]]] = [{} for _ in range(n)]
        self.open_at_once = 0

    def new(self, i: int) -> Replica:
        self.archives[i] = DiskArchive(self.disks[i])
        return Replica(self.keys[i], self.timing, self.limits, AcceptAll(), self.archives[i])

    def do(self, i: int, effects: list[Effect]) -> None:
        super().do(i, effects)
        self.seen[i] = [effect for effect in self.seen[i] if isinstance(effect, Misbehaviour)]
        self.open_at_once = max(self.open_at_once, len(self.replicas[i].epochs))
        for effect in effects:
            if isinstance(effect, Decided):
                self.results[i][effect.epoch] = (effect, Attested(0, b"", b"", ()))
                report = report_of(effect)
                told = self.replicas[i].submit_report(effect.epoch, bytes(32), report, self.now_ms)
                self.do(i, told)
            elif isinstance(effect, Attested):
                self.results[i][effect.epoch] = (self.results[i][effect.epoch][0], effect)

    def has(self, i: int, epoch: int) -> bool:
        return epoch in self.results[i] and bool(self.results[i][epoch][1].signatures)

    def start(self, i: int, epoch: int) -> None:
        opened = context(self.context.n, epoch)
        self.do(i, self.replicas[i].open(opened, [], self.now_ms))
        self.do(i, self.replicas[i].submit_row(epoch, b"%d of %d" % (epoch, i), self.now_ms))

    def close_attested(self, i: int) -> None:
        for epoch in self.replicas[i].epochs:
            if self.has(i, epoch):
                self.replicas[i].close(epoch)

    def go(self, epochs: range, members: list[int]) -> None:
        for epoch in epochs:
            for i in members:
                self.start(i, epoch)
            limit = self.now_ms + 60_000
            self.run(limit, lambda: all(self.has(i, epoch) for i in members))  # noqa: B023
            assert all(self.has(i, epoch) for i in members)
            self.deliver()
            for i in members:
                self.close_attested(i)

    def catch_up(self, i: int, epochs: range) -> None:
        """Open in order, never more than the bound, and close what is attested."""
        waiting = list(epochs)
        while waiting or self.replicas[i].epochs:
            while waiting and len(self.replicas[i].epochs) < self.limits.epochs_max:
                self.start(i, waiting.pop(0))
            before = len(self.replicas[i].epochs)
            self.run(
                self.now_ms + 120_000,
                lambda: any(self.has(i, epoch) for epoch in self.replicas[i].epochs),
            )
            self.close_attested(i)
            assert len(self.replicas[i].epochs) < before, "no epoch was caught up"


def test_a_member_away_for_300_epochs_catches_up_with_16_open() -> None:
    """Its peers closed all of them long ago; one of the three has even restarted since."""
    cluster = LongRun(4)
    late, others = 3, [0, 1, 2]
    cluster.down = {late}
    cluster.go(range(AWAY), others)
    assert all(cluster.replicas[i].epochs == () for i in others)
    restarted = cluster.replicas[1] = cluster.new(1)
    for epoch in range(AWAY):
        restarted.answer_for(context(4, epoch))
    written = [len(cluster.disks[i]) for i in others]
    cluster.down = set()
    cluster.open_at_once = 0
    cluster.sent.clear()
    cluster.catch_up(late, range(AWAY))
    assert cluster.open_at_once == OPEN
    for epoch in range(AWAY):
        (decided, attested), (known, report) = (cluster.results[i][epoch] for i in (late, 0))
        assert decided == known
        assert (attested.attempt, attested.digest) == (report.attempt, report.digest)
        # Its own signature may be among them: it agrees and says so, and nobody needs it any more.
        assert len(attested.signatures) >= 3
        assert all(recover(attested.digest, s) == member for member, s in attested.signatures)
    # Whoever answered signed nothing, wrote nothing and accused nobody.
    said = {kind for i, _, kind, _ in cluster.sent if i != late}
    assert said == {Kind.DECIDED, Kind.FETCH_REPLY, Kind.REPORT_SIG}
    assert written == [len(cluster.disks[i]) for i in others]
    assert not any(cluster.guilt(i) for i in range(4))


def one_closed(limits: Limits = LIMITS) -> tuple[LongRun, Decided]:
    """Four members that closed epoch 0."""
    cluster = LongRun(4, limits=limits)
    cluster.go(range(1), [0, 1, 2, 3])
    return cluster, cluster.results[0][0][0]


def ask(cluster: LongRun, message: Message, *, sender: int = 1, epoch: int = 0) -> list[Effect]:
    frame = frames.encode(message, epoch)
    return cluster.replicas[0].receive(cluster.context.members[sender], frame, cluster.now_ms)


def answers(effects: list[Effect], made: Context) -> list[Message]:
    assert all(isinstance(effect, Send) for effect in effects), effects
    return [frames.decode(effect.frame, made) for effect in effects if isinstance(effect, Send)]


def test_every_request_is_answered_from_the_archive() -> None:
    cluster, decided = one_closed()
    made = context(4, 0)
    assert answers(ask(cluster, Ask(WANT_DECISION)), made) == [Decision(decided.certificate)]
    reports = answers(ask(cluster, Ask(WANT_REPORTS)), made)
    assert len(reports) >= 3
    assert all(isinstance(r, ReportSignature) and r.digest == report_of(decided) for r in reports)
    row, body = decided.block.rows[0], decided.bodies[0]
    root = row.opening.row_root
    [reply] = answers(ask(cluster, Fetch(BODY, 0, root, 0)), made)
    assert reply == FetchReply(BODY, root, len(body), 0, body)
    data = decided.block.encode()
    [reply] = answers(ask(cluster, Fetch(BLOCK, 0, decided.block.hash, 64)), made)
    assert reply == FetchReply(BLOCK, decided.block.hash, len(data), 64, data[64:128])
    [reply] = answers(ask(cluster, Fetch(ROW, row.member, row.digest, 0)), made)
    assert reply == Reveal(row.member, row.digest, row.signature, row.opening)


@pytest.mark.parametrize(
    "request_",
    [
        Fetch(BODY, 0, bytes(32), 0),
        Fetch(BLOCK, 0, bytes(32), 0),
        Fetch(ROW, 0, bytes(32), 0),
        Fetch(ROW, 9, bytes(32), 0),
    ],
)
def test_what_is_not_held_is_not_answered(request_: Fetch) -> None:
    cluster, _ = one_closed()
    assert ask(cluster, request_) == []


def test_nothing_after_the_end_of_an_object_is_sent() -> None:
    cluster, decided = one_closed()
    end = len(decided.block.encode())
    for offset in (end, end + 1, (1 << 64) - 1):
        assert ask(cluster, Fetch(BLOCK, 0, decided.block.hash, offset)) == []


def test_statements_about_a_closed_epoch_are_refused_without_reading_anything() -> None:
    cluster, decided = one_closed()
    voice = Voice(4, 0)
    reads = cluster.archives[0].reads
    block_hash = sha256(b"another block")
    for message in (
        voice.row(1, b"another"),
        voice.have(1, [(row.member, row.digest) for row in decided.block.rows]),
        voice.propose(1, decided.block, voice.justification(1, [0, 1, 2])),
        voice.echo(1, 0, block_hash),
        voice.vote(1, 0, block_hash),
        voice.wish(1, 3),
        voice.change(1, 3),
        voice.report(1, bytes(32), block_hash),
        Decision(decided.certificate),
        FetchReply(BODY, decided.block.rows[0].opening.row_root, 1, 0, b"x"),
    ):
        [refused] = ask(cluster, message)
        assert isinstance(refused, Rejected)
        assert (refused.field, refused.reason) == ("epoch", "closed")
    assert cluster.archives[0].reads == reads


def test_who_is_no_member_costs_no_read() -> None:
    """A member of later epochs is no member of this one; nor does a stranger learn which epochs there are."""
    cluster, _ = one_closed()
    reads = cluster.archives[0].reads
    stranger = keys(5)
    address = next(k.address for k in stranger if k.address not in cluster.context.members)
    for wanted, field in ((0, "sender"), (77, "epoch")):
        frame = frames.encode(Ask(WANT_DECISION), wanted)
        [refused] = cluster.replicas[0].receive(address, frame, 0)
        assert isinstance(refused, Rejected)
        assert refused.field == field
    assert cluster.archives[0].reads == reads


@pytest.mark.parametrize("extra", [b"", b"\x00", bytes(200)])
def test_a_request_of_the_wrong_form_costs_no_read(extra: bytes) -> None:
    cluster, _ = one_closed()
    reads = cluster.archives[0].reads
    good = frames.encode(Ask(WANT_DECISION), 0)
    frame = good + extra if extra else good[:-1] + b"\x09"
    [refused] = cluster.replicas[0].receive(cluster.context.members[1], frame, 0)
    assert isinstance(refused, Rejected)
    assert cluster.archives[0].reads == reads


def test_a_member_that_asks_too_much_is_refused_and_the_others_are_not() -> None:
    cluster, decided = one_closed(replace(LIMITS, closed_bytes_per_s_max=256 << 10))
    wanted = Fetch(BLOCK, 0, decided.block.hash, 0)
    effects = [effect for _ in range(100) for effect in ask(cluster, wanted)]
    served = [effect for effect in effects if isinstance(effect, Send)]
    refused = [effect for effect in effects if isinstance(effect, Rejected)]
    assert 0 < len(served) <= 32, "two seconds' worth at 16 KiB each"
    assert {effect.field for effect in refused} == {"rate"}
    assert len(ask(cluster, wanted, sender=2)) == 1
    cluster.now_ms += 1_000
    again = [effect for _ in range(100) for effect in ask(cluster, wanted)]
    assert 0 < sum(isinstance(effect, Send) for effect in again) <= 16


def test_an_object_is_read_once_for_all_its_pieces() -> None:
    cluster, decided = one_closed()
    data = decided.block.encode()
    before = cluster.archives[0].reads
    for offset in range(0, len(data), LIMITS.piece_bytes):
        [_] = ask(cluster, Fetch(BLOCK, 0, decided.block.hash, offset))
    assert cluster.archives[0].reads == before + 1


def test_the_cache_stays_within_its_bound() -> None:
    cluster, decided = one_closed(replace(LIMITS, closed_cache_bytes_max=1))
    wanted = [Fetch(BODY, 0, row.opening.row_root, 0) for row in decided.block.rows]
    before = cluster.archives[0].reads
    for request in wanted * 2:
        [_] = ask(cluster, request)
    assert cluster.archives[0].reads == before + 2 * len(wanted)


def test_the_oldest_closed_epochs_are_given_up_first() -> None:
    cluster = LongRun(4, limits=replace(LIMITS, closed_epochs_max=3))
    cluster.go(range(5), [0, 1, 2, 3])
    assert cluster.replicas[0].closed == (2, 3, 4)
    [refused] = ask(cluster, Ask(WANT_DECISION), epoch=1)
    assert isinstance(refused, Rejected)
    assert (refused.field, refused.reason) == ("epoch", "not open")
    cluster.replicas[0].forget_before(4)
    assert cluster.replicas[0].closed == (4,)


def test_a_closed_epoch_can_be_opened_again_from_its_records() -> None:
    cluster, decided = one_closed()
    records = [record for record in cluster.disks[0].values() if record.epoch == 0]
    told = cluster.replicas[0].open(context(4, 0), records, cluster.now_ms)
    assert decided in told
    assert cluster.replicas[0].closed == ()
    assert cluster.replicas[0].epochs == (0,)
    cluster.replicas[0].answer_for(context(4, 0))
    assert cluster.replicas[0].closed == (), "the machine answers while it is there"


def test_without_an_archive_a_closed_epoch_is_gone() -> None:
    cluster = Cluster(4)
    cluster.open([0])
    cluster.replicas[0].close(cluster.context.epoch)
    [refused] = cluster.inject(1, 0, Ask(WANT_DECISION))
    assert isinstance(refused, Rejected)
    assert refused.reason == "not open"
    assert cluster.replicas[0].closed == ()


def test_a_damaged_archive_stops_the_node() -> None:
    """What cannot be read back was not what a machine had persisted: the disk lies."""
    cluster, _ = one_closed()
    key = (0, "decided", b"")
    cluster.disks[0][key] = replace(cluster.disks[0][key], value=b"\x00\x01")
    with pytest.raises(StorageFailure):
        ask(cluster, Ask(WANT_DECISION))
