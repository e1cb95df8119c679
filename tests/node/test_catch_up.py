"""A member that was away for 300 epochs catches up over real links, from peers that have closed all of them."""

from pathlib import Path

from loopback import Loopback, context
from mesh import within
from past_epochs import write_past

from meridian.ephemera.limits import Limits
from meridian.primitives.keys import recover

AWAY = 300
OPEN = 16


@within(120)
async def test_a_member_away_for_300_epochs_catches_up_over_real_links(tmp_path: Path) -> None:
    """The others have started again since: all that they say comes from their logs."""
    known = write_past(tmp_path, range(3), range(AWAY))
    async with Loopback(tmp_path, limits=Limits(epochs_max=OPEN)) as net:
        others = [await net.start(i) for i in range(3)]
        for member in others:
            await member.driver.answer_for([context(epoch) for epoch in range(AWAY)])
        late = await net.start(3)
        await late.go(range(AWAY), OPEN)
        assert late.open_at_once == OPEN
        for epoch in range(AWAY):
            decided, attested = late.decided[epoch], late.attested[epoch]
            assert decided == known[epoch][0]
            assert attested.digest == known[epoch][1].digest
            assert len(attested.signatures) >= 3
            assert all(recover(attested.digest, s) == who for who, s in attested.signatures)
        for member in others:
            assert member.replica.epochs == ()
            assert member.driver.statistics()["records"] == 0, "answering persists nothing"
        assert not any(member.misbehaviour for member in net.members.values())
