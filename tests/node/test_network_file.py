"""The public description of a network: what was saved is loaded, anything else is refused by its field."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meridian.contracts.deployment import Addresses
from meridian.errors import InvalidInput, NotFound
from meridian.measure.epoch import Calendar
from meridian.node.chain.finality import Finality
from meridian.node.network_file import EvaluatorEntry, NetworkFile
from meridian.primitives.ids import Address, network_id


def address(number: int) -> Address:
    return Address(bytes([number]) * 20)


NETWORK = NetworkFile(
    network="testnet",
    chain_id=31337,
    rpc_url="http://127.0.0.1:8545",
    contracts=Addresses(address(1), address(2), address(3), address(4)),
    deploy_block=7,
    genesis_s=1_700_000_000,
    epoch_seconds=100,
    first_epoch=5,
    measure_url="http://127.0.0.1:8000",
    publications=("measure/public", "evaluators/1/public"),
    function="count",
    aggregator=address(9),
    log_vkey="log.testnet+12345678+ABC",
    schema_digest=b"\x55" * 32,
    parameters_digest=b"\x66" * 32,
    evaluators=(EvaluatorEntry(address=address(8), link_key=b"\x77" * 32, host="::1", port=9000),),
)


def changed(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    NETWORK.save(root)
    value = json.loads((root / "network.json").read_text())
    change(value)
    (root / "network.json").write_text(json.dumps(value))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    NETWORK.save(tmp_path)
    assert NetworkFile.load(tmp_path) == NETWORK
    NETWORK.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["network.json"]


def test_what_a_transaction_waits_for_is_the_chains_usual_unless_the_file_says_otherwise(
    tmp_path: Path,
) -> None:
    usual = [replace(NETWORK, chain_id=number).finality for number in (31337, 1, 314)]
    assert usual == [Finality(0, 120.0), Finality(3, 120.0), Finality(3, 600.0)]
    chosen = replace(NETWORK, chain_id=314, confirmations=0, transaction_wait_s=90.0)
    chosen.save(tmp_path)
    assert NetworkFile.load(tmp_path).finality == Finality(0, 90.0)


def test_the_contracts_that_judge_are_kept_where_there_are_some(tmp_path: Path) -> None:
    contracts = Addresses(*(address(number) for number in range(1, 9)))
    with_disputes = replace(NETWORK, contracts=contracts)
    with_disputes.save(tmp_path)
    assert NetworkFile.load(tmp_path) == with_disputes


def test_the_file_holds_no_more_than_its_documented_keys_and_no_key(tmp_path: Path) -> None:
    NETWORK.save(tmp_path)
    value = json.loads((tmp_path / "network.json").read_text())
    assert (value["version"], value["network_id"]) == (1, network_id("testnet").hex())
    assert set(value["contracts"]) == {"registry", "commitments", "evaluations", "rewards"}
    assert set(value["evaluators"][0]) == {"address", "link_key", "host", "port"}


def test_what_follows_from_the_file(tmp_path: Path) -> None:
    assert NETWORK.network_id == network_id("testnet")
    assert NETWORK.calendar == Calendar(1_700_000_000, 100, 5)
    domain = NETWORK.domain(NETWORK.contracts.evaluations)
    assert (domain.chain_id, domain.contract) == (31337, address(3))
    assert NETWORK.directories(tmp_path) == [
        tmp_path / "measure/public",
        tmp_path / "evaluators/1/public",
    ]


def test_a_directory_without_the_file_is_not_found_and_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="meridian run --data-dir"):
        NetworkFile.load(tmp_path)
    with pytest.raises(NotFound):
        NetworkFile.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"version": "\xff"}', b"[" * 50_000],
)
def test_a_file_that_is_no_such_object_is_refused_by_its_path(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "network.json").write_bytes(content)
    with pytest.raises(InvalidInput) as refusal:
        NetworkFile.load(tmp_path)
    assert refusal.value.field == str(tmp_path / "network.json")


@pytest.mark.parametrize("name", ["version", "chain_id", "contracts", "evaluators", "network_id"])
def test_a_missing_key_is_named(tmp_path: Path, name: str) -> None:
    changed(tmp_path, lambda value: value.pop(name))
    with pytest.raises(InvalidInput, match=name):
        NetworkFile.load(tmp_path)


@pytest.mark.parametrize("where", [(), ("contracts",), ("evaluators", 0)])
def test_an_unknown_key_is_refused_by_its_name(
    tmp_path: Path, where: tuple[str | int, ...]
) -> None:
    def add(value: Any) -> None:
        for step in where:
            value = value[step]
        value["surprise"] = 1

    changed(tmp_path, add)
    with pytest.raises(InvalidInput, match="surprise"):
        NetworkFile.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("version", 2),
        ("version", "1"),
        ("network", 5),
        ("network", "othernet"),
        ("network_id", "00" * 32),
        ("chain_id", "31337"),
        ("chain_id", 0),
        ("confirmations", -1),
        ("transaction_wait_s", 0),
        ("epoch_seconds", 0),
        ("epoch_seconds", 1.5),
        ("first_epoch", -1),
        ("genesis_s", None),
        ("publications", "measure/public"),
        ("publications", [1]),
        ("contracts", []),
        ("contracts", {"registry": "0x" + "01" * 20}),
        ("aggregator", "0x1"),
        ("aggregator", 7),
        ("schema_digest", "0x"),
        ("parameters_digest", "zz" * 32),
        ("evaluators", {}),
        ("evaluators", [{"address": 1, "link_key": "", "host": "", "port": 1}]),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused(tmp_path: Path, name: str, wrong: object) -> None:
    changed(tmp_path, lambda value: value.update({name: wrong}))
    with pytest.raises(InvalidInput) as refusal:
        NetworkFile.load(tmp_path)
    text = str(refusal.value)
    assert name in text or (name == "network" and "network_id" in text)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("address", "0xzz"), ("link_key", "77"), ("port", 0), ("port", 65_536), ("host", None)],
)
def test_an_evaluator_with_a_wrong_value_is_refused(
    tmp_path: Path, name: str, wrong: object
) -> None:
    changed(tmp_path, lambda value: value["evaluators"][0].update({name: wrong}))
    with pytest.raises(InvalidInput, match=name):
        NetworkFile.load(tmp_path)


def test_a_contract_with_a_wrong_address_is_named(tmp_path: Path) -> None:
    changed(tmp_path, lambda value: value["contracts"].update(rewards="0x12"))
    with pytest.raises(InvalidInput, match=r"contracts\.rewards"):
        NetworkFile.load(tmp_path)
