"""No proof survives a single changed bit: a spread sample here, every bit with

python tests/contracts/test_disputes_bits.py
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from accusation_cases import CASES, Case
from contract_world import Refused, abi_type
from quick_evm import hasten

from meridian.contracts.artefact import load
from meridian.disputes.accusation import Accusation

SAMPLE = 100
"""Changed bits of each proof in the suite."""


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
        began = time.process_time()
        count = check(each, None)
        total += count
        took = time.process_time() - began
        print(f"{each.__name__}: {count} changed bits, all refused ({took:.0f} s)", flush=True)
    print(f"{total} in all")
