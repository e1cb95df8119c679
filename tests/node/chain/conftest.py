"""Fixtures of the chain tests: keys, the compiled probe, a chain with a movable clock, a node process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_world import CHAIN_ID, COIN, PROBE, Artefact, Clock, NodeProcess
from vyper.compiler import compile_code

from meridian.node.chain.embedded import EmbeddedChain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey


@pytest.fixture(scope="session")
def probe() -> Artefact:
    out = compile_code(PROBE, output_formats=["abi", "bytecode"])
    return Artefact("Probe", out["abi"], bytes.fromhex(out["bytecode"][2:]))


@pytest.fixture(scope="session")
def keys() -> list[PrivateKey]:
    return [PrivateKey(bytes(31) + bytes((i,))) for i in range(1, 9)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alloc(keys: list[PrivateKey]) -> dict[Address, int]:
    return {key.address: 1_000_000 * COIN for key in keys}


@pytest.fixture
def chain(alloc: dict[Address, int], clock: Clock) -> Iterator[EmbeddedChain]:
    with_chain = EmbeddedChain(None, CHAIN_ID, alloc, clock=clock)
    yield with_chain
    with_chain.close()


@pytest.fixture
def node(tmp_path: Path, keys: list[PrivateKey]) -> Iterator[NodeProcess]:
    one = NodeProcess(tmp_path / "chain.sqlite", [key.address for key in keys])
    yield one
    if one.process is not None:
        one.kill()
