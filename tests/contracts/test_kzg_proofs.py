"""KzgProofs says of each answer what `meridian.models.kzg` says, by the chain's point evaluation."""

import random
from dataclasses import replace

import pytest
from alone_world import AloneWorld
from contract_world import refuses
from kzg_words import opening_words, proofs_contract

from meridian.models import kzg
from meridian.models.kzg import NodeCommitment
from meridian.node.chain import rules  # noqa: F401 - keeps the setup that py-evm would read for every evaluation
from meridian.node.kzg_setup import ethereum_setup

JOBS = kzg.SLOTS + 9


@pytest.fixture(scope="module")
def committed():
    chance = random.Random(8)
    rows = [chance.randbytes(100) for _ in range(JOBS)]
    values = [chance.randrange(1000) for _ in range(JOBS)]
    return rows, values, NodeCommitment(rows, values, ethereum_setup())


@pytest.fixture(scope="module")
def proofs():
    return proofs_contract()


def test_the_contract_holds_what_holds(committed, proofs):
    rows, values, node = committed
    for index in (0, 5, kzg.SLOTS - 1, kzg.SLOTS, JOBS - 1):
        opening = node.open(index)
        said = (
            node.root,
            *node.annotation,
            index,
            rows[index],
            values[index],
            opening_words(opening),
        )
        assert proofs.read("check_job", *said) == ()


def test_the_contract_refuses_what_does_not(committed, proofs):
    rows, values, node = committed
    index = kzg.SLOTS + 3
    opening = node.open(index)
    said = [node.root, *node.annotation, index, rows[index], values[index], opening_words(opening)]

    def answer(at, other):
        changed = [*said[:at], other, *said[at + 1 :]]
        return refuses(proofs.read, "check_job", *changed)

    assert answer(0, bytes(32)) == "kzg proofs: root"
    assert answer(1, JOBS - 1) == "kzg proofs: path"
    assert answer(2, said[2] + 1) == "kzg proofs: root"
    assert answer(3, JOBS) == "kzg proofs: index"
    assert answer(3, index - 1) == "kzg proofs: name"
    assert answer(4, rows[0]) == "kzg proofs: name"
    assert answer(5, said[5] + 1) == "kzg proofs: value"
    other = node.open(index + 1)
    assert answer(6, opening_words(replace(opening, path=()))) == "sum tree: path"
    assert (
        answer(6, opening_words(replace(opening, name_proof=other.name_proof)))
        == "kzg proofs: name"
    )
    assert (
        answer(6, opening_words(replace(opening, value_proof=b"\x01" * 48))) == "kzg proofs: value"
    )
    assert (
        answer(6, opening_words(replace(opening, total_proof=other.value_proof)))
        == "kzg proofs: total"
    )
    short = replace(opening.chunk, names=opening.chunk.names[:47])
    assert answer(6, opening_words(replace(opening, chunk=short))) == "kzg proofs: path"


def test_it_cannot_be_deployed_where_the_precompile_is_missing():
    world = AloneWorld()
    computation = world.env.evm.vm.state.computation_class
    kept = computation._precompiles
    computation._precompiles = {at: code for at, code in kept.items() if at[-1] != 10}
    try:
        assert refuses(world.contract, "KzgProofs") == "kzg proofs: precompile"
    finally:
        computation._precompiles = kept
