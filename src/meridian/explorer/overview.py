"""The small files of a whole network: the list of epochs, money, evaluators. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from meridian.explorer.chain_history import (
    STATES,
    Budgets,
    ChainFacts,
    EpochChain,
    end_s,
    state_of,
    unlock_at_s,
)
from meridian.explorer.columns import Numbers, joined, read_columns, write_columns
from meridian.explorer.gathered import Voice
from meridian.measure.epoch import Calendar
from meridian.primitives.ids import Address, address_text

CURVE_MAX: Final = 4_096
"""Points of the curve of money; of more epochs, every so many are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """One line of the list of epochs; amounts in atto."""

    epoch: int
    state: str
    end_s: int
    jobs: int
    nodes: int
    members: int
    signers: int
    budget: int
    allocated: int
    paid: int
    unlock_at_s: int | None
    disputes: int


def epoch_row(
    chain: EpochChain, facts: ChainFacts, calendar: Calendar, known: Mapping[str, int]
) -> EpochRow:
    """Return an epoch's line.

    Args:
        chain: What happened to it.
        facts: The chain.
        calendar: The network's epochs.
        known: ``jobs``, ``nodes``, ``members``, ``signers``, ``paid``: what does not follow from events; may be missing.
    """
    report = chain.report
    jobs = nodes = 0
    standing = [event for event, stands in chain.committed if stands]
    if standing:
        jobs = int.from_bytes(standing[0].args["annotation"][:8], "big")
        nodes = standing[0].args["n_nodes"]
    elif facts.open_epoch is not None and facts.open_epoch.epoch == chain.epoch:
        jobs = facts.open_epoch.jobs
    members = chain.opened.args["n"] if chain.opened is not None else 0
    return EpochRow(
        epoch=chain.epoch,
        state=state_of(chain, facts, calendar),
        end_s=end_s(chain.epoch, calendar),
        jobs=known.get("jobs", jobs),
        nodes=known.get("nodes", nodes),
        members=members,
        signers=known.get("signers", 0) if report is not None else 0,
        budget=chain.budget,
        allocated=chain.allocated,
        paid=known.get("paid", 0),
        unlock_at_s=unlock_at_s(chain, facts) if report is not None else None,
        disputes=len(chain.disputes),
    )


def epochs_file(rows: Sequence[EpochRow]) -> bytes:
    """Return `epochs.col`."""
    columns: dict[str, Any] = {
        name: Numbers.of([getattr(row, name) for row in rows])
        for name in EpochRow.__slots__
        if name != "state"
    }
    columns["state"] = Numbers.of([STATES.index(row.state) for row in rows])
    return write_columns(columns, {"states": STATES})


def read_epochs(data: bytes) -> list[EpochRow]:
    """Read `epochs.col`."""
    table = read_columns(data)
    names = [name for name in EpochRow.__slots__ if name != "state"]
    values = [table.numbers(name).values() for name in names]
    states = [table.facts["states"][at] for at in table.numbers("state").values()]
    return [
        EpochRow(state=state, **dict(zip(names, row, strict=True)))
        for state, *row in zip(states, *values, strict=True)
    ]


def money(rows: Sequence[EpochRow], facts: ChainFacts, first_epoch: int) -> dict[str, Any]:
    """Return `money.json`: amounts are decimal text.

    The curve ends where the funds end: behind the last known epoch a run of equal budgets is one point.
    """
    budgets = Budgets.of(facts)
    sponsors: dict[Address, list[int]] = {}
    for event in facts.of("Funded"):
        given = sponsors.setdefault(event.args["sponsor"], [0, 0])
        given[0] += event.args["each"] * event.args["n"]
        given[1] += 1
    known = {row.epoch for row in rows}
    reported = [row for row in rows if row.unlock_at_s is not None]
    everything = sum(rate * (behind - first) for first, behind, rate in budgets.runs(first_epoch))
    spent = sum(row.budget for row in reported)
    allocated = sum(row.allocated for row in reported)
    funded_through = max((behind - 1 for _, behind, _ in budgets.runs(first_epoch)), default=0)
    return {
        "funded": str(sum(given for given, _ in sponsors.values())),
        "allocated": str(allocated),
        "claimed": str(sum(event.args["amount"] for event in facts.of("Claimed"))),
        "dust": str(spent - allocated),
        "promised": str(everything - spent),
        "fundedThrough": funded_through,
        "sponsors": [
            {"address": address_text(address), "given": str(given), "transactions": count}
            for address, (given, count) in sorted(sponsors.items(), key=lambda item: -item[1][0])
        ],
        "curve": _curve(rows, budgets, max(known, default=first_epoch - 1)),
    }


def _curve(rows: Sequence[EpochRow], budgets: Budgets, last: int) -> list[dict[str, Any]]:
    budget = allocated = claimed = 0
    points = []

    def point(epoch: int) -> None:
        amounts = {"budget": budget, "allocated": allocated, "claimed": claimed}
        points.append({"epoch": epoch} | {name: str(atto) for name, atto in amounts.items()})

    every = 1 + len(rows) // CURVE_MAX
    for at, row in enumerate(rows):
        budget, allocated, claimed = (
            budget + row.budget,
            allocated + row.allocated,
            claimed + row.paid,
        )
        if at % every == 0 or at == len(rows) - 1:
            point(row.epoch)
    for first, behind, rate in budgets.runs(last + 1):
        budget += rate * (behind - first)
        point(behind - 1)
    return points


def evaluators(facts: ChainFacts, seated: set[Address]) -> list[dict[str, Any]]:
    """Return `evaluators.json`: everybody who registered or had a seat."""
    state: dict[Address, str] = dict.fromkeys(sorted(seated), "standby")
    names = ("EvaluatorRegistered", "EvaluatorLeft", "Slashed")
    events = [event for name in names for event in facts.of(name)]
    for event in sorted(events, key=lambda one: (one.block, one.index)):
        if event.name == "Slashed":
            if (account := event.args.get("account")) in state:
                state[account] = "slashed"
            continue
        account = event.args["evaluator"]
        if state.get(account) != "slashed":
            active = "active" if account in seated else "standby"
            state[account] = active if event.name == "EvaluatorRegistered" else "leaving"
    return [
        {
            "address": address_text(account),
            "stake": str(facts.stakes.get(account, 0)),
            "state": what,
        }
        for account, what in sorted(state.items())
    ]


def voices_file(
    before: bytes | None, changed: Mapping[int, tuple[Sequence[Voice], Address]]
) -> bytes:
    """Return `evaluators.col`: one row for each member of each decided epoch.

    Args:
        before: The file so far.
        changed: Epoch -> its voices, and the transmitter of its report; they replace what the file has.
    """
    members: list[str] = []
    columns: dict[str, list[Numbers]] = {}
    names = ("member", "epoch", "present", "agreement_ppm", "reliability_ppm", "transmitted")
    if before is not None:
        table = read_columns(before)
        members = list(table.texts("address"))
        keep = ~np.isin(table.numbers("epoch").low, list(changed))
        columns = {name: [table.numbers(name).take(keep)] for name in names}
    places = {member: at for at, member in enumerate(members)}
    for epoch, (voices, transmitter) in sorted(changed.items()):
        for voice in voices:
            place = places.setdefault(address_text(voice.member), len(places))
            row = (
                place,
                epoch,
                int(voice.body is not None),
                voice.agreement_ppm,
                voice.reliability_ppm,
                int(voice.member == transmitter),
            )
            for name, value in zip(names, row, strict=True):
                columns.setdefault(name, []).append(Numbers.of([value]))
    done = {name: joined(parts) for name, parts in columns.items()} or {
        name: Numbers.of([]) for name in names
    }
    order = np.lexsort((done["epoch"].low, done["member"].low))
    return write_columns(
        {"address": tuple(places), **{name: one.take(order) for name, one in done.items()}}
    )
