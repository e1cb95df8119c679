"""What an Ephemera node with the Nym-Apis' rules refuses before its mempool: every reason, with real signatures."""

import pytest
from nym_world import KEYS, STRANGER
from test_race_rules import SYSTEM, World, message

from meridian.ephemera.messages.message import Realm, SignedMessage, sign_message
from meridian.ephemera.messages.replica import BlockReplica
from meridian.errors import InvalidInput
from meridian.nym.race_rules import LABEL
from meridian.nym.race_way import block_settings
from meridian.nym.rows import VALUE_MAX, Row
from meridian.primitives.ids import network_id


class EmptyArchive:
    def frontiers(self, epoch):
        return {}

    def delivery(self, epoch, slot):
        return None

    def contains_message(self, epoch, creator, message_hash):
        return False

    def store_clock(self):
        return 0


@pytest.fixture
def replica():
    made = BlockReplica(KEYS[0], SYSTEM.realm, block_settings(4), World().rules, EmptyArchive())
    made.open(SYSTEM.context(0), (), 0)
    return made


def of(realm: Realm) -> SignedMessage:
    row = Row(1, ((0, 5),))
    return sign_message(realm, KEYS[1], number=1, created_ms=0, label=LABEL, data=row.encode())


GOOD = message(KEYS[1])
FLIPPED = GOOD.signature[:-1] + bytes([GOOD.signature[-1] ^ 1])


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (SignedMessage(GOOD.sender, 1, 0, LABEL, GOOD.data, FLIPPED), "signature"),
        (SignedMessage(KEYS[2].address, 1, 0, LABEL, GOOD.data, GOOD.signature), "signature"),
        (
            SignedMessage(GOOD.sender, 2, 0, LABEL, Row(2, ((0, 5),)).encode(), GOOD.signature),
            "signature",  # replayed for another epoch
        ),
        (of(Realm(SYSTEM.realm.domain, network_id("other"))), "signature"),  # another network
        (message(STRANGER), "sender"),
        (message(KEYS[1], values=((0, VALUE_MAX + 1),)), "message"),
        (message(KEYS[1], label="x"), "message"),
        (message(KEYS[1], row_epoch=9), "message"),
    ],
)
def test_bad_messages_are_refused_before_the_mempool(replica, bad, field):
    with pytest.raises(InvalidInput) as refused:
        replica.submit(bad, 0)
    assert refused.value.field == field
    assert replica.status().messages == 0


def test_replay_and_second_row_are_refused(replica):
    replica.submit(GOOD, 0)
    with pytest.raises(InvalidInput, match="duplicate"):
        replica.submit(GOOD, 0)
    with pytest.raises(InvalidInput, match="another one for this epoch"):
        replica.submit(message(KEYS[1], values=((0, 6),)), 0)
    assert replica.status().messages == 1
