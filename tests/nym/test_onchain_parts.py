"""What is committed on chain, and the rows of Nym-Apis in the terms of the contracts."""

import dataclasses

import pytest
from nym_world import KEYS, MIXNODES, network

from meridian.errors import InvalidInput
from meridian.evaluate.row import Row as WeightRow
from meridian.evaluate.row import RowHeader
from meridian.nym.acceptance import Mode
from meridian.nym.onchain import uptime
from meridian.nym.onchain.measurements import Measurements, ReadingLog, sign_readings
from meridian.nym.rows import VALUE_MAX, Row

SYSTEM = network(Mode.QUORUM)
DOMAIN, NETWORK = SYSTEM.realm.domain, SYSTEM.realm.network
READINGS = ((1000, 0, 100), (1000, 2, 0), (1100, 0, 100), (1200, 0, 56))
LOG = sign_readings(DOMAIN, NETWORK, 7, KEYS[0], READINGS)


def test_a_log_comes_back_and_averages():
    again = ReadingLog.decode(LOG.encode())
    assert again == LOG
    again.check(DOMAIN, MIXNODES, 1000, 1201)
    assert again.row() == Row(7, ((0, 85_333_333), (2, 0)))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"readings": ()}, "readings.signature"),
        ({"epoch": 8}, "readings.signature"),
        ({"member": KEYS[1].address}, "readings.signature"),
        ({"network": bytes(32)}, "readings.signature"),
        ({"signature": bytes(64)}, "readings.signature"),
    ],
)
def test_a_changed_log_is_not_the_members(change, field):
    with pytest.raises(InvalidInput) as refused:
        dataclasses.replace(LOG, **change).check(DOMAIN, MIXNODES, 1000, 1201)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("mixnodes", "start", "end", "field"),
    [
        (2, 1000, 1201, "readings.mixnode"),
        (3, 1001, 1201, "readings.time"),
        (3, 1000, 1200, "readings.time"),  # half-open
    ],
)
def test_readings_of_no_mixnode_or_outside_the_epoch_are_refused(mixnodes, start, end, field):
    with pytest.raises(InvalidInput) as refused:
        LOG.check(DOMAIN, mixnodes, start, end)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "readings",
    [
        ((1000, 0, 101),),
        ((1000, 1, 1), (1000, 0, 1)),
        ((1000, 0, 1), (1000, 0, 2)),
        ((1001, 0, 1), (1000, 0, 1)),
    ],
)
def test_logs_out_of_range_or_order_are_refused(readings):
    with pytest.raises(InvalidInput):
        ReadingLog.decode(sign_readings(DOMAIN, NETWORK, 7, KEYS[0], readings).encode())


def test_cut_logs_are_refused():
    data = LOG.encode()
    for size in range(0, len(data), 7):
        with pytest.raises(InvalidInput):
            ReadingLog.decode(data[:size])
    with pytest.raises(InvalidInput):
        ReadingLog.decode(data + b"\0")


def test_the_list_has_one_encoding_and_binds_all_of_it():
    listed = Measurements(
        NETWORK, 7, 3, 4, {KEYS[1].address: b"\1" * 32, KEYS[0].address: b"\2" * 32}
    )
    assert Measurements.decode(listed.encode()) == listed
    assert listed.annotation == (4).to_bytes(8, "big") + bytes(16)
    roots = {listed.root}
    for change in (
        {"epoch": 8},
        {"mixnodes": 4},
        {"readings": 5},
        {"logs": {}},
        {"network": bytes(32)},
    ):
        roots.add(dataclasses.replace(listed, **change).root)
    assert len(roots) == 6
    for bad in (b"", b"\xa0", listed.encode()[:-1], b"\x80"):
        with pytest.raises(InvalidInput):
            Measurements.decode(bad)


def test_weights_stand_by_node_key_and_come_back_by_mixnode():
    row = Row(7, ((0, 5), (2, 9)))
    weights = uptime.weights_of(row, MIXNODES)
    assert sorted(w for w in weights if w is not None) == [5, 9]
    assert uptime.values_of(weights, MIXNODES) == (5, None, 9)
    keys = list(uptime.node_keys(MIXNODES))
    assert keys == sorted(keys)


HEADER = RowHeader(NETWORK, 7, b"\3" * 32, uptime.FUNCTION_DIGEST, b"\4" * 32, b"\5" * 32)


def test_the_committee_takes_a_row_of_averages_and_nothing_else():
    rules = uptime.UptimeRules(MIXNODES)
    rules.expect(HEADER)
    good = uptime.observation(HEADER, Row(7, ((0, VALUE_MAX), (1, 0))), MIXNODES)
    member = KEYS[0].address
    assert rules.check_row(7, member, good.body) is None
    high = dataclasses.replace(good.row, weights=(VALUE_MAX + 1, None, None))
    assert rules.check_row(7, member, high.encode()).startswith("weight")
    fewer = WeightRow(HEADER, good.row.verdict_root, good.row.node_keys[:2], good.row.weights[:2])
    assert rules.check_row(7, member, fewer.encode()).startswith("nodes")
    other = uptime.observation(
        dataclasses.replace(HEADER, commitment=bytes(32)), Row(7, ()), MIXNODES
    )
    assert rules.check_row(7, member, other.body).startswith("commitment")
    assert rules.check_row(8, member, good.body).startswith("epoch")
