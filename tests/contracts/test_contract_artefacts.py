"""What ships is what the sources say, and what Python signs is what the contracts check."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import rlp
from contract_world import World, account

from meridian.contracts import calldata, statements
from meridian.contracts.artefact import ALONE, JUDGES, NAMES, SHIPPED, load
from meridian.contracts.deployment import created_address
from meridian.errors import InvalidInput, NotFound
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import ZERO_ADDRESS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "contracts"
REASON = re.compile(r'"([a-z ]+: [a-z0-9 ]+)"')


def build_module():
    pytest.importorskip("vyper")
    spec = importlib.util.spec_from_file_location("contracts_build", SOURCES / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_artefacts_are_the_sources_compiled_byte_for_byte():
    build = build_module()
    assert (*build.CONTRACTS, *build.ALONE) == SHIPPED == NAMES + JUDGES + ALONE
    for name in SHIPPED:
        shipped = (build.ARTEFACTS / f"{name}.json").read_bytes()
        assert shipped == build.artefact_text(name).encode(), (
            f"{name}.vy has changed: run contracts/build.py"
        )


def test_artefacts_say_how_they_were_made():
    folder = ROOT / "src" / "meridian" / "contracts" / "artefacts"
    keys = {"name", "abi", "bytecode", "runtime", "layout", "compiler", "evm", "source_sha256"}
    for name in SHIPPED:
        document = json.loads((folder / f"{name}.json").read_text())
        assert set(document) == keys
        assert (document["name"], document["compiler"], document["evm"]) == (
            name,
            "vyper 0.4.3",
            "cancun",
        )
        assert len(load(name).runtime) < 24_576  # EIP-170
        assert load(name).bytecode.find(load(name).runtime) > 0
    with pytest.raises(NotFound):
        load("Nothing")


def test_every_reason_for_a_refusal_is_reached_by_a_test():
    """A reason that no test names is a branch that nobody has seen."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for source in SOURCES.glob("*.vy"):
        reasons = set(REASON.findall(source.read_text()))
        assert {reason for reason in reasons if f'"{reason}"' not in tests} == set(), source.name


def test_every_assertion_has_a_reason():
    vyper_ast = pytest.importorskip("vyper.ast")
    for source in set(SOURCES.glob("*.vy")) - set(SOURCES.glob("*mpact*.vy")):  # of old texts
        tree = vyper_ast.parse_to_ast(source.read_text())
        reasons = [node.msg for node in tree.get_descendants(vyper_ast.Assert)]
        reasons += [node.exc for node in tree.get_descendants(vyper_ast.Raise)]
        for reason in reasons:
            assert reason is not None, source.name
            assert REASON.fullmatch(f'"{reason.value}"'), (source.name, reason.value)


@pytest.mark.parametrize(
    "struct", [statements.REGISTER_NODE, statements.REGISTER_EVALUATOR, statements.TRANSMISSION]
)
def test_the_sources_hash_the_struct_types_that_python_signs(struct):
    text = "".join(path.read_text() for path in SOURCES.glob("*.vy"))
    assert f'"{struct.description}"' in text


def test_addresses_are_known_before_deployment():
    for nonce in (0, 1, 127, 128, 255, 256, 65_535, 2**32, 2**64 - 1):
        expected = keccak(rlp.encode([account("a"), nonce]))[12:]
        assert created_address(account("a"), nonce) == expected
    with pytest.raises(InvalidInput):
        created_address(ZERO_ADDRESS, 2**64)


def test_the_deployed_contracts_know_each_other():
    world = World()
    at = world.addresses
    for contract, getter, address in (
        (world.commitments, "registry", at.registry),
        (world.evaluations, "registry", at.registry),
        (world.evaluations, "commitments", at.commitments),
        (world.evaluations, "rewards", at.rewards),
        (world.evaluations, "owner", world.owner),
        (world.rewards, "registry", at.registry),
        (world.rewards, "evaluations", at.evaluations),
    ):
        assert contract.read(getter) == "0x" + address.hex()


def test_arguments_that_no_contract_takes_are_refused_with_their_field():
    with pytest.raises(InvalidInput, match="signature"):
        calldata.signature_words(bytes(65))
    with pytest.raises(InvalidInput, match="path"):
        calldata.path_words([bytes(56)] * 41)
    with pytest.raises(InvalidInput, match="path"):
        calldata.path_words([bytes(55)])
    with pytest.raises(InvalidInput, match="endpoint"):
        calldata.EvaluatorRegistration(
            statements.RegisterEvaluator(bytes(32), ZERO_ADDRESS, bytes(32), "x" * 65, 0, 0),
            bytes(64),
        )
    one, two = account("a"), account("b")
    words = calldata.ascending_words({max(one, two): b"\x02" * 64, min(one, two): b"\x01" * 64})
    assert [r >> 248 for r, _ in words] == [1, 2]
