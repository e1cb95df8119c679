"""No proof survives a single changed bit: a spread sample here, every bit with

python tests/contracts/test_disputes_bits.py
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from contract_world import FIRST, NETWORK, Refused, abi_type
from disputes_world import CALENDAR, DisputesWorld, jobs_of
from published_epochs import from_rows, inflated_job_tree, inflated_node_tree
from quick_evm import hasten

from meridian.contracts.artefact import load
from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import find_faults
from meridian.disputes.double_statements import from_evidence
from meridian.disputes.promises import Promise, SortedEpoch, double_receipt, duplicates, omission
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.evidence import double
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import node_key

SAMPLE = 150
"""Changed bits of each proof in the suite."""

Case = tuple[DisputesWorld, Accusation]


def made_up_sum() -> Case:
    world = DisputesWorld()
    lie, hashed = inflated_node_tree(world.published(FIRST, jobs_of(FIRST, 7)), 1, 1, 5)
    world.publish(lie, hashed)
    return world, find_faults(lie)[0]


def made_up_job_sum() -> Case:
    world = DisputesWorld()
    honest = world.published(FIRST, jobs_of(FIRST, 7))
    place = [len(rows) for rows in honest.job_rows].index(5)
    lie = world.publish(inflated_job_tree(honest, place, 1, 0, 5))
    return world, find_faults(lie)[0]


def out_of_order() -> Case:
    world = DisputesWorld()
    honest = world.published(FIRST, jobs_of(FIRST, 7))
    order = [0, 1, 3, 2, 4, 5, 6]
    tables = tuple(honest.job_rows[at] for at in order)
    lie = from_rows(FIRST, honest.node_rows[order], tables, world.aggregators[0])
    world.publish(lie)
    return world, find_faults(lie)[0]


def counted_twice() -> Case:
    world = DisputesWorld()
    row = jobs_of(FIRST, 4)["n2"][0]
    first = SortedEpoch(world.publish(world.published(FIRST, jobs_of(FIRST, 4))))
    second = SortedEpoch(world.publish(world.published(FIRST + 1, {"n2": [row]})))
    return world, next(duplicates(first, second, CALENDAR))


def dropped_job() -> Case:
    world, jobs = DisputesWorld(), jobs_of(FIRST, 6)
    made = world.promise(jobs, FIRST + 1)
    row = jobs["n4"][1]
    left = {**jobs, "n4": [other for other in jobs["n4"] if other != row]}
    epochs = {
        FIRST: SortedEpoch(world.publish(world.published(FIRST, left))),
        FIRST + 1: SortedEpoch(world.publish(world.published(FIRST + 1, jobs_of(FIRST + 1, 3)))),
    }
    promise = Promise(made.receipt, node_key("n4"), made.proofs["n4", row])
    fault = omission(promise, epochs, CALENDAR)
    assert fault is not None
    return world, fault


def numbered_twice() -> Case:
    world = DisputesWorld()
    receipts = [world.promise(jobs_of(FIRST, n), FIRST, 5).receipt for n in (1, 2)]
    fault = double_receipt(*receipts)
    assert fault is not None
    return world, fault


def said_twice() -> Case:
    world = DisputesWorld()
    world.open(FIRST)
    members = tuple(member.address for member in world.members)
    context = Context(world.evaluations.domain, NETWORK, FIRST, members)
    pair = []
    for digest in (sha256(b"a"), sha256(b"b")):
        signed = world.members[0].sign(context.statement(Kind.VOTE, 3, digest))
        pair.append((digest, signed))
    return world, from_evidence(context, double(context, 0, Kind.VOTE, 3, *pair))


def too_much() -> Case:
    from test_disputes_reports import Reported, rows_of

    from meridian.disputes.report_faults import find_report_faults

    reported = Reported()
    shares = reported.shares(FIRST)
    reported.report(FIRST, rows_of(shares))
    second = {key: (payee, 2 * amount) for key, (payee, amount) in shares.items()}
    key = node_key("n1")
    second[key] = (second[key][0], second[key][1] - 5)
    judged = reported.report(FIRST + 1, rows_of(second))
    return reported.world, next(find_report_faults(judged))


CASES: tuple[Callable[[], Case], ...] = (
    made_up_sum,
    made_up_job_sum,
    out_of_order,
    counted_twice,
    dropped_job,
    numbered_twice,
    said_twice,
    too_much,
)


def flipped(kind: str, value: Any, entry: dict[str, Any]) -> Iterator[Any]:
    """Every value of an ABI type that differs in one bit: of numbers, hashes, addresses, bytes and their lists."""
    if kind.endswith("[]"):
        for at, item in enumerate(value):
            for changed in flipped(kind[:-2], item, entry):
                yield [*value[:at], changed, *value[at + 1 :]]
    elif entry.get("components"):
        for at, part in enumerate(entry["components"]):
            plain = abi_type({**part, "type": part["type"]})
            for changed in flipped(plain, value[at], part):
                yield (*value[:at], changed, *value[at + 1 :])
    elif kind.startswith("uint"):
        yield from (value ^ (1 << bit) for bit in range(int(kind[4:])))
    elif kind in {"bytes", "address"} or kind.startswith("bytes"):
        number, width = int.from_bytes(value, "big"), len(value)
        yield from ((number ^ (1 << bit)).to_bytes(width, "big") for bit in range(8 * width))
    else:
        raise AssertionError(kind)


def changes(fault: Accusation) -> list[tuple[object, ...]]:
    """The arguments of an accusation with one bit changed, in every place."""
    entry = next(e for e in load(fault.contract).abi if e.get("name") == fault.function)
    return [
        (*fault.arguments[:at], changed, *fault.arguments[at + 1 :])
        for at, part in enumerate(entry["inputs"])
        for changed in flipped(abi_type(part), fault.arguments[at], part)
    ]


def check(case: Callable[[], Case], sample: int | None) -> int:
    """Require that changed proofs are refused and the right one is not; return how many were tried."""
    world, fault = case()
    hasten(world.env)
    contract = world.by_name[fault.contract]
    every = changes(fault)
    step = 1 if sample is None else max(1, len(every) // sample)
    tried = every[::step]
    for arguments in tried:
        try:
            contract.send(fault.function, *arguments, sender=world.hunter)
        except Refused:
            continue
        raise AssertionError(f"{fault.function}: accepted with another bit")
    assert world.verdicts(world.accuse(fault))
    return len(tried)


@pytest.mark.parametrize("case", CASES)
def test_a_proof_with_another_bit_is_refused(case):
    assert check(case, SAMPLE) >= SAMPLE


if __name__ == "__main__":
    total = 0
    for each in CASES:
        count = check(each, None)
        total += count
        print(f"{each.__name__}: {count} changed bits, all refused")
        sys.stdout.flush()
    print(f"{total} in all")
