"""At epoch K one member leaves and another joins: over real links, while the epoch before is still in flight."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from loopback import ADDRESSES, KEYS, Loopback, Member, context, row
from mesh import until, within

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Decided
from meridian.ephemera.message import WISH_DIGEST, Wish
from meridian.errors import InvalidInput

K = 20
OLD, NEW = (0, 1, 2, 3), (1, 2, 3, 4)
LEAVER, JOINER, STAYING = 0, 4, (1, 2, 3)


def members_of(decided: Decided, made: Context) -> set[int]:
    """Whose rows are in the block."""
    return {ADDRESSES.index(made.members[row.member]) for row in decided.block.rows}


async def decide(net: Loopback, epoch: int, members: Iterable[int]) -> None:
    async with asyncio.TaskGroup() as group:
        for i in members:
            group.create_task(net.members[i].take_part(context(epoch, members)))


def refusals(member: Member, field: str) -> int:
    return member.driver.rejects().get(field, 0)


async def is_refused(net: Loopback, speaker: int, hearer: int, epoch: int, as_: int) -> None:
    """Send a validly signed statement of an epoch in which the speaker has no seat."""
    made = context(epoch, OLD if epoch < K else NEW)
    wish = Wish(as_, 1, KEYS[speaker].sign(made.statement(Kind.WISH, 1, WISH_DIGEST)))
    listener, before = net.members[hearer], refusals(net.members[hearer], "sender")
    net.members[speaker].links.send(ADDRESSES[hearer], frames.encode(wish, epoch))
    await until(lambda: refusals(listener, "sender") == before + 1)
    assert listener.driver.status(epoch).wish == 0


@within(40)
async def test_one_member_leaves_and_another_joins_at_a_boundary(tmp_path: Path) -> None:
    async with Loopback(tmp_path, n=5) as net:
        for i in OLD:
            await net.start(i, OLD)
        await decide(net, K - 2, OLD)
        # The last epoch of the old members begins, and waits for rows.
        for i in OLD:
            await net.members[i].open(context(K - 1, OLD))
        for i in (LEAVER, 1):
            await net.members[i].driver.submit_row(K - 1, row(K - 1, i))
        await net.start(JOINER, NEW)
        assert net.members[JOINER].links.connected() == frozenset()
        for i in STAYING:
            net.members[i].links.update_peers(net.peers)
        with pytest.raises(InvalidInput, match="member"):
            await net.members[JOINER].open(context(K - 1, OLD))
        with pytest.raises(InvalidInput, match="member"):
            await net.members[LEAVER].open(context(K, NEW))
        # The new members decide while the old ones still wait, and nobody speaks out of turn.
        for i in NEW:
            await net.members[i].open(context(K, NEW))
        await until(lambda: len(net.members[JOINER].links.connected()) == 3)
        await is_refused(net, JOINER, 1, K - 1, as_=3)
        await is_refused(net, LEAVER, 1, K, as_=0)
        async with asyncio.TaskGroup() as group:
            for i in NEW:
                await net.members[i].driver.submit_row(K, row(K, i))
                group.create_task(net.members[i].finish(K))
        assert K - 1 not in net.members[1].decided
        async with asyncio.TaskGroup() as group:
            for i in OLD:
                await net.members[i].driver.submit_row(K - 1, row(K - 1, i))
                group.create_task(net.members[i].finish(K - 1))
        for epoch, members in ((K - 2, OLD), (K - 1, OLD), (K, NEW)):
            blocks = {net.members[i].decided[epoch].block.hash for i in members}
            assert len(blocks) == 1, epoch
            assert len(members_of(net.members[1].decided[epoch], context(epoch, members))) >= 3
            outside = LEAVER if members == NEW else JOINER
            assert epoch not in net.members[outside].decided
            signers = {who for who, _ in net.members[1].attested[epoch].signatures}
            assert signers <= {ADDRESSES[i] for i in members}
        # No open epoch needs the leaver: it is cut, and the others go on over the links that they had.
        for i in (*STAYING, JOINER):
            net.members[i].links.update_peers([net.peers[j] for j in NEW])
        await until(lambda: net.members[LEAVER].links.connected() == frozenset())
        await decide(net, K + 1, NEW)
        assert not any(member.misbehaviour for member in net.members.values())
        for i in STAYING:
            for j in STAYING:
                if i != j:
                    of_peer = net.members[i].links.statistics()["0x" + ADDRESSES[j].hex()]
                    assert of_peer["connections"] == 1


@within(40)
async def test_a_joiner_learns_nothing_of_closed_epochs_and_a_leaver_still_does(
    tmp_path: Path,
) -> None:
    """The leaver was away in the last epoch it belongs to; the joiner never belonged to it."""
    async with Loopback(tmp_path, n=5) as net:
        for i in STAYING:
            await net.start(i, STAYING)
        async with asyncio.TaskGroup() as group:
            for i in STAYING:
                group.create_task(net.members[i].take_part(context(K - 1, OLD)))
        for i in STAYING:
            net.members[i].links.update_peers(net.peers)
        await net.start(JOINER)
        await until(lambda: len(net.members[JOINER].links.connected()) == 3)
        ask = frames.encode(frames.Ask(frames.WANT_DECISION), K - 1)
        before = refusals(net.members[1], "sender")
        net.members[JOINER].links.send(ADDRESSES[1], ask)
        await until(lambda: refusals(net.members[1], "sender") == before + 1)
        await net.start(LEAVER)
        await net.members[LEAVER].take_part(context(K - 1, OLD))
        assert net.members[LEAVER].decided[K - 1] in [
            net.members[i].decided[K - 1] for i in STAYING
        ]
