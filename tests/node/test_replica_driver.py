"""The driver keeps the order of effects, stops at storage errors, and four of them decide over real links and disks."""

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Self

import pytest
from mesh import NETWORK, QUICK, free_port, member_identity, until, within

from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import (
    Attested,
    Broadcast,
    Decided,
    Durable,
    Effect,
    Misbehaviour,
    Persist,
    Record,
    Send,
)
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.opening import NO_TRACE
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput, NotFound, Overloaded, StorageFailure
from meridian.node import effect_driver
from meridian.node.effect_driver import EffectDriver, Transport
from meridian.node.links import Links, Peer
from meridian.node.replica_driver import ReplicaDriver
from meridian.node.safety_log import SafetyLog
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey, recover

EPOCH = 7
TIMING = Timing(
    row_ms=30,
    reveal_ms=10,
    have_ms=30,
    fill_ms=200,
    grace_ms=10,
    view_ms=1_500,
    resend_ms=100,
    fetch_ms=200,
)
KEYS = sorted(
    (PrivateKey(hashlib.sha256(b"driver %d" % i).digest()) for i in range(4)),
    key=lambda key: key.address,
)
MEMBERS = tuple(key.address for key in KEYS)
DOMAIN = Domain(chain_id=31337, contract=Address(b"\xe0" * 20))


class AnyRow:
    """Accepts every row that does not say that it is bad."""

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        return "bad" if body.startswith(b"bad") else None


def context(epoch: int = EPOCH) -> Context:
    return Context(DOMAIN, NETWORK, epoch, MEMBERS)


def body(i: int) -> bytes:
    """Return a row body that needs several pieces on the links."""
    return b"row of %d " % i + bytes(200_000)


class RecordingReplica(Replica):
    """The real replica; remembers what it asked for, input by input."""

    asked: list[list[Effect]]

    def _note(self, effects: list[Effect]) -> list[Effect]:
        self.asked.append(effects)
        return effects

    def open(
        self, context: Context, records: Sequence[Record], now_ms: int, *, observer: bool = False
    ) -> list[Effect]:
        return self._note(super().open(context, records, now_ms, observer=observer))

    def submit_row(
        self, epoch: int, body: bytes, now_ms: int, trace_root: bytes = NO_TRACE
    ) -> list[Effect]:
        return self._note(super().submit_row(epoch, body, now_ms, trace_root))

    def receive(self, sender: Address, frame: bytes, now_ms: int) -> list[Effect]:
        return self._note(super().receive(sender, frame, now_ms))

    def tick(self, now_ms: int) -> list[Effect]:
        return self._note(super().tick(now_ms))


class Member:
    """One member as its process holds it together: log, replica, driver, links."""

    def __init__(self, number: int, folder: Path) -> None:
        self.log = SafetyLog(
            folder / f"safety-{number}.db", network=NETWORK, member=MEMBERS[number]
        )
        self.decided: list[Decided] = []
        self.attested: list[Attested] = []
        self.misbehaviour: list[Misbehaviour] = []
        self.replica = RecordingReplica(KEYS[number], TIMING, Limits(), AnyRow())
        self.replica.asked = []
        self.driver = ReplicaDriver(
            self.replica,
            self.log,
            on_decided=self.decided.append,
            on_attested=self.attested.append,
            on_misbehaviour=self.misbehaviour.append,
        )
        self.links: Links | None = None

    async def start(self, links: Links, transport: Transport | None = None) -> None:
        self.links = links
        await links.start()
        await self.driver.start(transport or links)

    async def stop(self) -> None:
        try:
            await self.driver.stop()
        except Crash:
            pass
        finally:
            if self.links is not None:
                await self.links.stop()
            self.log.close()


class Crash(Exception):
    """The process dies between two effects."""


class Committee:
    """Four members on loopback; every frame that ever left a driver is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.peers = [
            Peer(MEMBERS[i], member_identity(i).link_key, "127.0.0.1", free_port())
            for i in range(4)
        ]
        self.members: dict[int, Member] = {}
        self.sent: dict[int, list[bytes]] = {i: [] for i in range(4)}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for i in tuple(self.members):
            await self.stop(i)

    async def start(self, i: int, crash_at: Kind | None = None, sent_before: int = 0) -> Member:
        """Start a member; with `crash_at` it dies after it sent `sent_before` frames of that kind."""
        member = self.members[i] = Member(i, self.folder)
        links = Links(
            member_identity(i),
            self.peers,
            member.driver.deliver,
            address=MEMBERS[i],
            network=NETWORK,
            limits=QUICK,
        )
        await member.start(links, Tap(links, self.sent[i], crash_at, sent_before))
        return member

    async def connected(self) -> None:
        await until(
            lambda: all(
                m.links is not None and len(m.links.connected()) == 3 for m in self.members.values()
            )
        )

    async def stop(self, i: int) -> None:
        await self.members.pop(i).stop()


class Tap:
    """The links of a member, with a record of what leaves and a place to die."""

    def __init__(
        self, links: Links, sent: list[bytes], crash_at: Kind | None, sent_before: int
    ) -> None:
        self._links = links
        self._sent = sent
        self._crash_at = crash_at
        self._left = sent_before

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        if self._crash_at is not None and frame[1] == self._crash_at:
            if self._left == 0:
                raise Crash
            self._left -= 1
        self._sent.append(frame)
        self._links.send(address, frame, bulk, slot)


def statements(frames: list[bytes]) -> dict[tuple[int, int, int], set[bytes]]:
    """Group signed statements by what a member may say only once: kind, member and, if it has one, view."""
    said: dict[tuple[int, int, int], set[bytes]] = {}
    for frame in frames:
        kind = frame[1]
        if kind in (Kind.ROW, Kind.HAVE, Kind.ECHO, Kind.VOTE, Kind.PROPOSE):
            has_view = kind not in (Kind.ROW, Kind.HAVE)
            member = int.from_bytes(frame[10:12], "big")
            view = int.from_bytes(frame[12:16], "big") if has_view else 0
            said.setdefault((kind, member, view), set()).add(frame)
    return said


@within(30)
async def test_four_drivers_decide_one_block_and_attest_one_report(tmp_path: Path) -> None:
    async with Committee(tmp_path) as committee:
        members = [await committee.start(i) for i in range(4)]
        for i, member in enumerate(members):
            await member.driver.open_epoch(context())
            await member.driver.submit_row(EPOCH, body(i))
        await until(lambda: all(member.decided for member in members))
        blocks = {member.decided[0].block.hash for member in members}
        assert len(blocks) == 1
        for member in members:
            decided = member.decided[0]
            assert decided.bodies == tuple(body(row.member) for row in decided.block.rows)
            assert len(decided.bodies) >= 3
        digest = hashlib.sha256(b"report").digest()
        for member in members:
            await member.driver.submit_report(EPOCH, bytes(32), digest)
        await until(lambda: all(member.attested for member in members))
        for member in members:
            attested = member.attested[0]
            assert attested.digest == digest
            assert len(attested.signatures) >= 3
            assert all(recover(digest, signature) == a for a, signature in attested.signatures)
            assert member.misbehaviour == []
            assert member.driver.statistics()["records"] >= 5
            await member.driver.close_epoch(EPOCH)
            with pytest.raises(NotFound):
                member.driver.status(EPOCH)


DEATHS = [(kind, sent) for kind in (Kind.ROW, Kind.HAVE, Kind.ECHO, Kind.VOTE) for sent in (0, 1)]
DEATHS.remove((Kind.HAVE, 1))  # It goes to who leads alone.


@pytest.mark.parametrize(("crash_at", "sent_before"), DEATHS)
@within(30)
async def test_a_member_that_dies_and_comes_back_from_its_log_does_not_equivocate(
    tmp_path: Path, crash_at: Kind, sent_before: int
) -> None:
    """After the restart it even tries to contribute another row: what the log holds counts for ever."""
    async with Committee(tmp_path) as committee:
        first = await committee.start(0, crash_at, sent_before)
        others = [await committee.start(i) for i in (1, 2, 3)]
        await committee.connected()
        for member in (first, *others):
            await member.driver.open_epoch(context())
        # First of all: else the others may decide without it before it gets to where it dies.
        with pytest.raises(StorageFailure) if crash_at is Kind.ROW else nullcontext():
            await first.driver.submit_row(EPOCH, body(0))
        for i, member in enumerate(others, start=1):
            await member.driver.submit_row(EPOCH, body(i))
        with pytest.raises(Crash):
            await first.driver.join()
        await committee.stop(0)
        again = await committee.start(0)
        await again.driver.open_epoch(context())
        await again.driver.submit_row(EPOCH, b"another row")
        await until(lambda: all(member.decided for member in committee.members.values()))
        assert len({m.decided[0].block.hash for m in committee.members.values()}) == 1
        assert all(m.misbehaviour == [] for m in committee.members.values())
        for i in range(4):
            assert all(len(frames) == 1 for frames in statements(committee.sent[i]).values())
        assert body(0) in again.decided[0].bodies or len(again.decided[0].bodies) == 3
        assert b"another row" not in again.decided[0].bodies


@within(30)
async def test_a_decision_that_a_crash_took_is_learnt_and_told_again(tmp_path: Path) -> None:
    """`decided` is lazy: it may be lost with the process, and nothing that was signed depends on it."""
    async with Committee(tmp_path) as committee:
        members = [await committee.start(i) for i in range(4)]
        await committee.connected()

        def die(decided: Decided) -> None:
            raise Crash

        members[0].driver._on_decided = die
        for i, member in enumerate(members):
            await member.driver.open_epoch(context())
            await member.driver.submit_row(EPOCH, body(i))
        with pytest.raises(Crash):
            await members[0].driver.join()
        assert members[0].log.records(EPOCH, "decided") == ()
        assert members[0].log.records(EPOCH, "lock") != ()
        await committee.stop(0)
        again = await committee.start(0)
        await again.driver.open_epoch(context())
        await until(lambda: all(m.decided for m in committee.members.values()))
        assert len({m.decided[0].block.hash for m in committee.members.values()}) == 1
        await again.driver.submit_report(EPOCH, bytes(32), bytes(32))
        assert len(again.log.records(EPOCH, "decided")) == 1, (
            "before or with what is signed after it"
        )
        assert all(m.misbehaviour == [] for m in committee.members.values())
        assert all(len(frames) == 1 for frames in statements(committee.sent[0]).values())


class Script(EffectDriver):
    """A core that answers each frame with given effects; notes what becomes durable and what leaves."""

    def __init__(self, answers: dict[bytes, list[Effect]]) -> None:
        super().__init__("script", lambda misbehaviour: None)
        self.answers = answers
        self.events: list[tuple[str, ...]] = []

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        self.events.append(("sent", frame.decode()))

    def _receive(self, sender: Address, frame: bytes, now_ms: int) -> Sequence[Effect]:
        return self.answers[frame]

    def _tick(self, now_ms: int) -> Sequence[Effect]:
        return ()

    def _next_deadline_ms(self) -> int | None:
        return None

    async def _store(self, run: Sequence[Durable]) -> None:
        await asyncio.sleep(0)
        self.events.append(("durable", *(e.record.kind for e in run if isinstance(e, Persist))))

    def _report(self, effect: Effect) -> None:
        raise AssertionError(effect)


def persist(kind: str, *, lazy: bool = False) -> Persist:
    return Persist(Record(EPOCH, kind, b"", b""), lazy)


@within(10)
async def test_lazy_records_go_along_with_the_next_ones_in_order() -> None:
    first = [persist("a", lazy=True), Send(MEMBERS[1], b"one")]
    second = [persist("b"), persist("c", lazy=True), Send(MEMBERS[1], b"two")]
    driver = Script({b"1": first, b"2": second})
    await driver.start(driver)
    driver.deliver(MEMBERS[1], b"1")
    await until(lambda: len(driver.events) == 1)
    driver.deliver(MEMBERS[1], b"2")
    await until(lambda: len(driver.events) == 3)
    await driver.stop()
    assert driver.events == [("sent", "one"), ("durable", "a", "b", "c"), ("sent", "two")]


@within(10)
async def test_a_lazy_record_that_meets_no_other_is_durable_within_a_moment_or_at_the_stop() -> (
    None
):
    driver = Script({b"1": [persist("a", lazy=True)], b"2": [persist("b", lazy=True)]})
    await driver.start(driver)
    driver.deliver(MEMBERS[1], b"1")
    began_s = asyncio.get_running_loop().time()
    await until(lambda: driver.events == [("durable", "a")])
    assert asyncio.get_running_loop().time() - began_s >= effect_driver.LAZY_MS / 1000 - 0.01
    driver.deliver(MEMBERS[1], b"2")
    await until(lambda: driver.statistics()["frames_taken"] == 2)
    await driver.stop()
    assert driver.events == [("durable", "a"), ("durable", "b")]
    assert driver.statistics()["transactions"] == 2


class Journal:
    """A transport and a log in one order of events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        self.events.append(("send", (address, frame)))

    def watch(self, log: SafetyLog, monkeypatch: pytest.MonkeyPatch) -> None:
        write = log.write

        def noted(records: Sequence[Record]) -> None:
            write(records)
            self.events.append(("durable", tuple(records)))

        monkeypatch.setattr(log, "write", noted)

    def expected(self, asked: Sequence[Sequence[Effect]]) -> list[tuple[str, object]]:
        """Return the events that the law asks for: neighbouring records together, all in their order."""
        events: list[tuple[str, object]] = []
        for effects in asked:
            for is_record, group in itertools.groupby(effects, lambda e: isinstance(e, Persist)):
                if is_record:
                    records = tuple(e.record for e in group if isinstance(e, Persist))
                    events.append(("durable", records))
                    continue
                for effect in group:
                    if isinstance(effect, Send):
                        events.append(("send", (effect.to, effect.frame)))
                    elif isinstance(effect, Broadcast):
                        events += [("send", (to, effect.frame)) for to in effect.to]
        return events


@within(20)
async def test_records_are_durable_together_before_the_next_frame_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(0, tmp_path)
    journal = Journal()
    journal.watch(member.log, monkeypatch)
    await member.driver.start(journal)
    await member.driver.open_epoch(context())
    await member.driver.submit_row(EPOCH, body(0))
    await until(lambda: len(journal.events) > 12)  # Resends go on.
    await member.stop()
    kinds = [kind for kind, _ in journal.events]
    assert kinds.index("durable") < kinds.index("send")
    assert journal.events == journal.expected(member.replica.asked)


def make_read_only(log: SafetyLog) -> None:
    log._database._connection.execute("PRAGMA query_only=ON")


def make_closed(log: SafetyLog) -> None:
    log._database._connection.close()


@pytest.mark.parametrize("break_log", [make_read_only, make_closed])
@within(20)
async def test_a_storage_error_ends_the_driver_before_anything_is_sent(
    tmp_path: Path, break_log: Callable[[SafetyLog], None]
) -> None:
    member = Member(0, tmp_path)
    journal = Journal()
    await member.driver.start(journal)
    await member.driver.open_epoch(context())
    before = list(journal.events)
    break_log(member.log)
    with pytest.raises(StorageFailure):
        await member.driver.submit_row(EPOCH, body(0))
    with pytest.raises(StorageFailure):
        await member.driver.join()
    assert journal.events == before
    with pytest.raises(StorageFailure, match="does not run"):
        await member.driver.submit_report(EPOCH, bytes(32), bytes(32))
    member.driver.deliver(MEMBERS[1], b"anything")
    await asyncio.sleep(0.2)  # Longer than resend_ms: a living driver would have sent again.
    assert journal.events == before
    member.log.close()


@within(20)
async def test_commands_that_wait_when_the_driver_ends_are_answered(tmp_path: Path) -> None:
    member = Member(0, tmp_path)
    await member.driver.start(Journal())
    await member.driver.open_epoch(context())
    make_read_only(member.log)
    answers = await asyncio.gather(
        *(member.driver.submit_row(EPOCH, body(0)) for _ in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StorageFailure] * 5
    with pytest.raises(StorageFailure):
        await member.stop()


@within(20)
async def test_refused_commands_and_frames_are_answers_not_ends(tmp_path: Path) -> None:
    member = Member(0, tmp_path)
    await member.driver.start(Journal())
    with pytest.raises(NotFound):
        await member.driver.submit_row(EPOCH, body(0))
    await member.driver.open_epoch(context())
    with pytest.raises(InvalidInput, match="open"):
        await member.driver.open_epoch(context())
    with pytest.raises(InvalidInput):
        await member.driver.submit_row(EPOCH, b"bad row")
    with pytest.raises(InvalidInput):
        await member.driver.submit_report(EPOCH, bytes(32), bytes(32))
    for frame in (b"", b"garbage", bytes(10_000)):
        member.driver.deliver(MEMBERS[1], frame)
    member.driver.deliver(Address(b"\x99" * 20), b"\x01\x01" + EPOCH.to_bytes(8, "big"))
    await until(lambda: member.driver.statistics().get("frames_rejected", 0) == 4)
    await member.driver.submit_row(EPOCH, body(0))
    await member.stop()


@within(20)
async def test_senders_that_have_gone_leave_room_for_new_ones(tmp_path: Path) -> None:
    """Committees change: over the months an evaluator hears more peers than it may remember at once."""
    member = Member(0, tmp_path)
    await member.driver.start(Journal())
    heard = 0
    for generation in range(3):
        for i in range(effect_driver.SENDERS_MAX):
            member.driver.deliver(Address(bytes([generation]) * 12 + i.to_bytes(8, "big")), b"x")
        heard += effect_driver.SENDERS_MAX
        await until(lambda: member.driver.statistics()["frames_taken"] == heard)  # noqa: B023
    assert member.driver.statistics()["inbox_senders_refused"] == 0
    await member.stop()


@within(20)
async def test_inbox_and_commands_are_bounded(tmp_path: Path) -> None:
    """Nothing runs between the calls, so everything waits: per sender, per number of senders, per command."""
    member = Member(0, tmp_path)
    await member.driver.start(Journal())
    for i in range(effect_driver.INBOX.frames_max + 100):
        member.driver.deliver(MEMBERS[1], b"%d" % i)
    others = effect_driver.SENDERS_MAX - 1
    for i in range(others + 73):
        member.driver.deliver(Address(i.to_bytes(20, "big")), b"x")
    statistics = member.driver.statistics()
    assert statistics["frames_waiting"] == effect_driver.INBOX.frames_max + others
    assert statistics["frames_dropped"] == 100
    assert statistics["inbox_senders_refused"] == 73
    commands = [
        asyncio.ensure_future(member.driver.close_epoch(1))
        for _ in range(effect_driver.COMMANDS_MAX + 1)
    ]
    answers = await asyncio.gather(*commands, return_exceptions=True)
    assert [a for a in answers if a is not None] == [answers[-1]]
    assert isinstance(answers[-1], Overloaded)
    await member.stop()


@within(20)
async def test_the_log_of_another_committee_ends_the_driver(tmp_path: Path) -> None:
    member = Member(0, tmp_path)
    await member.driver.start(Journal())
    await member.driver.open_epoch(context())
    await member.driver.submit_row(EPOCH, body(0))
    await member.stop()
    again = Member(0, tmp_path)
    await again.driver.start(Journal())
    with pytest.raises(StorageFailure):
        await again.driver.open_epoch(Context(DOMAIN, NETWORK, EPOCH, MEMBERS[:3]))
    with pytest.raises(StorageFailure):
        await again.stop()
