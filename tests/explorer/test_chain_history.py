"""What events say of epochs: states, what is allocated, budgets, what is shown of money."""

from dataclasses import replace

import pytest

from meridian.explorer.chain_history import (
    LIVE_AHEAD,
    Budgets,
    ChainFacts,
    Happened,
    OpenEpoch,
    Quiet,
    epoch_chains,
    state_of,
    unlock_at_s,
)
from meridian.explorer.overview import epoch_row, epochs_file, evaluators, money, read_epochs
from meridian.measure.epoch import Calendar

CALENDAR = Calendar(1_000, 100, 1)
ONE, TWO = bytes(19) + b"\x01", bytes(19) + b"\x02"


def world(now_s, *events):
    found = {}
    for at, (name, args) in enumerate(events):
        found.setdefault(name, []).append(Happened(name, args, at, bytes([at]) * 32, 0))
    return ChainFacts(now_s=now_s, block=len(events), events=found)


def opened(epoch):
    return "EpochOpened", {"epoch": epoch, "set_id": 1, "n": 4}


def committed(epoch, root=b"r"):
    annotation = (9).to_bytes(8, "big") + bytes(16)
    return "Committed", {
        "epoch": epoch, "aggregator": ONE, "root": root, "n_nodes": 2, "annotation": annotation, "manifest": bytes(32),
    }  # fmt: skip


def reported(epoch, total, previous=b"", unlock_at=2_000):
    return "Reported", {
        "epoch": epoch, "report_hash": b"h%d" % epoch, "previous": previous, "total": total, "unlock_at": unlock_at, "transmitter": ONE,
    }  # fmt: skip


VOIDED = "Voided", {"epoch": 1, "aggregator": ONE, "root": b"r"}
REPORT_VOIDED = "ReportVoided", {"epoch": 1, "report_hash": b"h1"}
ABANDONED = "Abandoned", {"epoch": 1, "atto": 0, "to_epoch": 2}


@pytest.mark.parametrize(
    ("now_s", "events", "state"),
    [
        (1_050, [opened(1)], "open"),
        (1_100, [opened(1)], "sealed"),
        (1_100, [opened(1), committed(1)], "committed"),
        (1_100, [opened(1), committed(1), VOIDED], "void"),
        (1_100, [opened(1), committed(1), VOIDED, committed(1, b"s")], "committed"),
        (1_999, [opened(1), committed(1), reported(1, 5)], "challenge"),
        (2_000, [opened(1), committed(1), reported(1, 5)], "paid"),
        (2_000, [opened(1), committed(1), reported(1, 5), REPORT_VOIDED], "void"),
        (2_000, [opened(1), committed(1), reported(1, 5), REPORT_VOIDED, reported(1, 4)], "paid"),
        (2_000, [opened(1), committed(1), ABANDONED], "abandoned"),
    ],
)
def test_the_state_of_an_epoch(now_s, events, state):
    facts = world(now_s, *events)
    assert state_of(epoch_chains(facts, CALENDAR)[1], facts, CALENDAR) == state


def test_nothing_changes_before_a_block_an_end_or_an_unlock():
    facts = world(1_150, opened(1), committed(1), reported(1, 5, unlock_at=1_180), opened(2))
    quiet = Quiet.after(facts, epoch_chains(facts, CALENDAR), CALENDAR)
    assert quiet.lasts(facts)
    assert quiet.lasts(replace(facts, now_s=1_179))
    assert not quiet.lasts(replace(facts, now_s=1_180)), "the window closes"
    assert not quiet.lasts(replace(facts, block=facts.block + 1))
    assert not quiet.lasts(replace(facts, open_epoch=OpenEpoch(2, 7)))
    later = replace(facts, now_s=1_180)
    again = Quiet.after(later, epoch_chains(later, CALENDAR), CALENDAR)
    assert again.lasts(replace(later, now_s=1_199))
    assert not again.lasts(replace(later, now_s=1_200)), "epoch 2 ends"


def test_what_is_held_back_unlocks_later():
    facts = world(2_000, opened(1), reported(1, 5))
    held = ChainFacts(now_s=2_000, block=1, events=facts.events, unlock_at_s={1: 3_000})
    chain = epoch_chains(held, CALENDAR)[1]
    assert unlock_at_s(chain, held) == 3_000
    assert state_of(chain, held, CALENDAR) == "challenge"


def test_a_report_allocates_what_its_total_has_more_than_the_one_before():
    facts = world(9_000, reported(1, 50), reported(3, 80, b"h1"), reported(2, 90, b"h3"))
    chains = epoch_chains(facts, CALENDAR)
    assert {epoch: chain.allocated for epoch, chain in chains.items()} == {1: 50, 2: 10, 3: 30}


def test_the_running_epoch_is_shown_before_anything_of_it_is_on_chain():
    live = world(1_000 + 100 * 3, opened(1))
    assert sorted(epoch_chains(live, CALENDAR)) == [1, 2, 3, 4]
    past = world(1_000 + 100 * (LIVE_AHEAD + 1), opened(1))
    assert sorted(epoch_chains(past, CALENDAR)) == [1], "a network of records from long ago"


def test_budgets_are_sums_of_funds_and_move_with_abandoned_epochs():
    facts = world(
        0,
        ("Funded", {"sponsor": ONE, "first": 1, "n": 4, "each": 10}),
        ("Funded", {"sponsor": TWO, "first": 3, "n": 3, "each": 5}),
        ("Abandoned", {"epoch": 1, "atto": 10, "to_epoch": 4}),
    )
    budgets = Budgets.of(facts)
    assert [budgets.at(epoch) for epoch in range(8)] == [0, 0, 10, 15, 25, 5, 0, 0]
    assert sum(rate * (behind - first) for first, behind, rate in budgets.runs(0)) == 55
    assert budgets.runs(5) == [(5, 6, 5)]


def test_money_adds_up_and_rows_come_back_from_their_file():
    facts = world(
        5_000,
        ("Funded", {"sponsor": ONE, "first": 1, "n": 10, "each": 100}),
        opened(1),
        committed(1),
        reported(1, 98),
        opened(2),
        committed(2),
        reported(2, 190, b"h1"),
        ("Claimed", {"epoch": 2, "node_key": bytes(32), "amount": 60, "cumulative": 60}),
        opened(3),
    )
    chains = epoch_chains(facts, CALENDAR)
    rows = [
        epoch_row(chain, facts, CALENDAR, {"paid": paid})
        for chain, paid in zip(chains.values(), (50, 10, 0), strict=True)
    ]
    assert read_epochs(epochs_file(rows)) == rows
    assert (rows[0].jobs, rows[0].nodes, rows[0].members) == (9, 2, 4)
    value = money(rows, facts, 1)
    numbers = {
        name: int(value[name]) for name in ("funded", "allocated", "claimed", "dust", "promised")
    }
    assert numbers == {"funded": 1000, "allocated": 190, "claimed": 60, "dust": 10, "promised": 800}
    assert numbers["funded"] == numbers["allocated"] + numbers["dust"] + numbers["promised"]
    assert value["fundedThrough"] == 10
    assert [point["epoch"] for point in value["curve"]] == [1, 2, 3, 10]
    assert value["curve"][-1]["budget"] == "1000"
    assert value["sponsors"] == [{"address": "0x" + ONE.hex(), "given": "1000", "transactions": 1}]


def test_the_state_of_evaluators_follows_their_events():
    facts = world(
        0,
        ("EvaluatorRegistered", {"evaluator": ONE}),
        ("EvaluatorRegistered", {"evaluator": TWO}),
        ("EvaluatorLeft", {"evaluator": TWO}),
        ("EvaluatorRegistered", {"evaluator": TWO}),
        ("Slashed", {"account": ONE, "amount": 1}),
    )
    assert [one["state"] for one in evaluators(facts, {ONE})] == ["slashed", "standby"]
