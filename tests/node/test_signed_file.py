"""Signed statements as files: what is read is what was signed, and nothing that was changed is read."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from meridian.contracts.deployment import Addresses
from meridian.contracts.statements import (
    Delegate,
    RegisterEvaluator,
    RegisterNode,
    RelayedClaim,
    RuledCommitment,
    Ruling,
    SelfCommit,
)
from meridian.errors import InvalidInput, NotFound
from meridian.node.deployment_file import Deployment
from meridian.node.signed_file import KINDS, read_signed, sign
from meridian.primitives.ids import Address, network_id, node_key
from meridian.primitives.keys import PrivateKey

KEY = PrivateKey(bytes(31) + b"\x07")
ME = KEY.address
OTHER = Address(b"\x12" * 20)
NETWORK = network_id("bazaar")
DEPLOYMENT = Deployment(
    network="bazaar",
    chain_id=31337,
    rpc_url="",
    contracts=Addresses(*(Address(bytes([at]) * 20) for at in range(1, 9))),
    deploy_block=0,
)
STATEMENTS = [
    RelayedClaim(NETWORK, node_key("n1"), ME, 2**127, 3, 2**64 - 1),
    Delegate(NETWORK, ME, OTHER, 3, 99),
    SelfCommit(NETWORK, 7, node_key("n1"), b"\x01" * 32, b"\x02" * 24, b"\x03" * 32, 99),
    RegisterNode(NETWORK, node_key("n1"), ME, OTHER, 0, 99),
    RegisterEvaluator(NETWORK, ME, b"\x04" * 32, "203.0.113.7:9000", 0, 99),
    Ruling(
        NETWORK,
        2**200,
        7,
        b"\x05" * 32,
        (OTHER, ME),
        (RuledCommitment(7, OTHER, b"\x06" * 32, 3, b"\x07" * 24, b"\x08" * 32),),
        voids=True,
    ),
]
KINDS_OF_ALL = tuple(KINDS)


def changes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place in a JSON value with something else of the same type."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from changes(one, (*path, key))
    elif isinstance(value, list):
        yield path, value[1:]
        for at, one in enumerate(value):
            yield from changes(one, (*path, at))
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int):
        yield path, value - 1 if value else 1
    elif value is not None:
        last = value[-1]
        yield path, value[:-1] + ("1" if last != "1" else "2")


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda one: type(one).__name__)
def test_a_file_is_read_as_it_was_signed_and_no_change_to_it_is_taken(statement, tmp_path):
    path = tmp_path / "signed.json"
    node = "n1" if hasattr(statement, "node_key") else None
    signed = sign(DEPLOYMENT, statement, KEY, node)
    signed.write(path)
    assert read_signed(path, *KINDS_OF_ALL) == signed
    signed.check_place(DEPLOYMENT)
    whole = json.loads(path.read_text())
    found = list(changes(whole))
    assert len(found) >= len(whole) + len(whole["statement"]) - 2
    for place, value in found:
        changed = json.loads(path.read_text())
        at = changed
        for step in place[:-1]:
            at = at[step]
        at[place[-1]] = value
        (tmp_path / "changed.json").write_text(json.dumps(changed))
        with pytest.raises(InvalidInput, match=r"changed\.json"):
            read_signed(tmp_path / "changed.json", *KINDS_OF_ALL)
    for name in whole["statement"]:
        less = {**whole, "statement": {k: v for k, v in whole["statement"].items() if k != name}}
        (tmp_path / "changed.json").write_text(json.dumps(less))
        with pytest.raises(InvalidInput, match=f"statement.{name}: is missing"):
            read_signed(tmp_path / "changed.json", *KINDS_OF_ALL)
    others = [kind for kind in KINDS_OF_ALL if not isinstance(statement, kind)]
    with pytest.raises(InvalidInput, match="kind"):
        read_signed(path, *others)


def test_somebody_elses_signature_is_not_the_signers(tmp_path):
    stranger = PrivateKey(bytes(31) + b"\x08")
    sign(DEPLOYMENT, Delegate(NETWORK, ME, OTHER, 3, 99), stranger).write(tmp_path / "a.json")
    with pytest.raises(InvalidInput, match="is not the statement's payee"):
        read_signed(tmp_path / "a.json", Delegate)
    with pytest.raises(NotFound):
        read_signed(tmp_path / "none.json", Delegate)


@pytest.mark.parametrize(
    "change", [{"network": "fair"}, {"chain_id": 1}, {"contracts": Addresses(*[OTHER] * 8)}]
)
def test_a_statement_counts_in_one_place_only(change):
    import dataclasses

    signed = sign(DEPLOYMENT, Delegate(NETWORK, ME, OTHER, 3, 99), KEY)
    with pytest.raises(InvalidInput, match="the statement is for"):
        signed.check_place(dataclasses.replace(DEPLOYMENT, **change))
