"""The network of `offchain-store` on a chain: what is sent to `Locations`, and what an outsider reads from it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.contracts.calldata import CLAIMS_PER_CALL, Claim
from meridian.errors import InvalidInput, NotFound, Reverted
from meridian.journey.claiming import succeeded
from meridian.journey.layout import Layout
from meridian.journey.models.data_dir import ModelFile
from meridian.models.offchain import StoreOutcome
from meridian.models.offchain_audit import CONTRACT, Accepted, Paid, StoreCase, Terms
from meridian.models.offchain_statements import (
    Located,
    StoreResult,
    result_words,
)
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call
from meridian.node.durable_file import read_whole
from meridian.node.sandbox.runner import PythonSandbox
from meridian.primitives.cid import digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey, network_id, parse_address

NODES_PER_CALL: Final = 64
REPORT_SECONDS: Final = 7 * 86_400
_WORD: Final = 32


def deploy(
    sponsor: Sender,
    file: ModelFile,
    evaluators: Sequence[Address],
    referee: Address,
    delays: tuple[int, int],
) -> Address:
    """Deploy the contract, once; return its address.

    Args:
        sponsor: Who deploys.
        file: The run's.
        evaluators: Who signs results.
        referee: Who may veto one.
        delays: Seconds to tell locations, and to veto a result.
    """
    return sponsor.deploy(
        load(CONTRACT),
        network_id(file.network),
        file.genesis_s,
        file.epoch_seconds,
        file.first_epoch,
        [*delays, REPORT_SECONDS],
        referee,
        list(evaluators),
        file.function_digest,
        file.parameters_digest,
        purpose=f"deploy/{CONTRACT}",
    )


class StoreNetwork:
    """One deployed contract and who sends to it.

    Args:
        client: The chain.
        file: The run's file; the contract's address is in it.
        relayer: Pays the gas of all that others signed.
    """

    def __init__(self, client: ChainClient, file: ModelFile, relayer: Sender) -> None:
        self._client, self._relayer = client, relayer
        self.contract = Contract(client, file.contracts[CONTRACT], load(CONTRACT))
        self.domain = Domain(file.chain_id, file.contracts[CONTRACT])
        self.network = network_id(file.network)
        self.evaluators = evaluators_of(self.contract)

    def fund(self, sponsor: Sender, epoch: int, atto: int) -> None:
        """Fund an epoch, once."""
        if atto:
            data = self.contract.encode("fund", epoch)
            sponsor.transact(self.contract.address, data, atto, purpose=f"fund/{epoch}")

    def register(self, entries: Sequence[Any]) -> None:
        """Relay nodes' registrations, `offchain_statements.registration`."""
        self._send("register_many", "register", entries, NODES_PER_CALL)

    def locate(self, epoch: int, entries: Sequence[Any]) -> None:
        """Relay nodes' locations, `offchain_statements.location`; raises `Reverted` behind the cut-off."""
        self._send("locate_many", f"locate/{epoch}", entries, NODES_PER_CALL, epoch)

    def report(self, result: StoreResult, signatures: dict[Address, bytes]) -> None:
        """Send a result with its signatures."""
        words = result_words(signatures, self.evaluators)
        digest = result.digest(self.domain, self.network)
        self._relayer.transact(
            self.contract.address,
            self.contract.encode("report", result.arguments, words),
            purpose=f"report/{result.epoch}/{digest.hex()}",
        )

    def claim(self, outcome: StoreOutcome, limit: int | None) -> None:
        """Have the nodes of an unlocked result paid, `limit` of them at most; who has been paid is left out."""
        paid = {one.node_key for one in claims_of(self.contract, outcome.epoch)}
        due = [key for key in list(outcome.claims.claims)[:limit] if key not in paid]
        self._send(
            "claim_many",
            f"claim/{outcome.epoch}",
            [claim_arguments(outcome, key) for key in due],
            CLAIMS_PER_CALL,
        )

    def await_second(self, second: int) -> None:
        """Wait until the next block is not before a second."""
        while True:
            head = self._client.call("eth_getBlockByNumber", "latest", False)
            if max(time.time(), int(head["timestamp"], 16) + 1) >= second:
                return
            time.sleep(0.1)

    def _send(
        self, function: str, purpose: str, entries: Sequence[Any], size: int, *first: int
    ) -> None:
        calls = []
        for at in range(0, len(entries), size):
            data = self.contract.encode(function, *first, entries[at : at + size])
            calls.append(
                (f"{purpose}/{digest_of(data).hex()}", Call(self.contract.address, data, 0))
            )
        for receipt in self._relayer.wait_all(succeeded(self._relayer.submit_many(calls))):
            if not receipt.status:
                raise Reverted(receipt.reason)


def claim_arguments(outcome: StoreOutcome, key: NodeKey) -> tuple[Any, ...]:
    """Return a node's claim as the contract takes it."""
    proof = outcome.claims.proof(key)
    return Claim(
        epoch=outcome.epoch,
        node_key=key,
        payee=proof.payee,
        cumulative_atto=proof.cumulative,
        index=proof.index,
        size=proof.size,
        path=proof.path,
    ).arguments


# -- reading --------------------------------------------------------------------------------------


def evaluators_of(contract: Contract) -> list[Address]:
    """Return the evaluators in the contract's order."""
    return list(contract.read("evaluators"))


def located_in(contract: Contract, epoch: int) -> list[Located]:
    """Return the locations of an epoch in the order in which the contract took them."""
    return [
        Located(NodeKey(one.args["node_key"]), one.args["object"], one.args["count"])
        for one in contract.events("Located", where={"epoch": epoch})
    ]


def operators_of(contract: Contract) -> dict[NodeKey, Address]:
    """Return who signs for each node."""
    return {NodeKey(e.args["node_key"]): e.args["operator"] for e in contract.events("Registered")}


def payees_of(contract: Contract) -> dict[NodeKey, Address]:
    """Return who is paid for each node."""
    return {NodeKey(e.args["node_key"]): e.args["payee"] for e in contract.events("Registered")}


def claims_of(contract: Contract, epoch: int) -> list[Paid]:
    """Return what was paid of an epoch."""
    return [
        Paid(NodeKey(one.args["node_key"]), one.args["payee"], one.args["amount"])
        for one in contract.events("Claimed", where={"epoch": epoch})
    ]


def read_case(
    client: ChainClient,
    file: ModelFile,
    epoch: int,
    fetch: Callable[[Address, bytes], bytes | None],
    root: Path | None = None,
) -> StoreCase:
    """Return all that chain and store show of an epoch.

    Args:
        client: The chain.
        file: The run's file.
        epoch: The epoch.
        fetch: The store: owner and digest to bytes, None if they are not to be had.
        root: The data directory, for the result that the run left; None: that is not looked at.
    """
    contract = Contract(client, file.contracts[CONTRACT], load(CONTRACT))
    evaluators, operators = evaluators_of(contract), operators_of(contract)
    sponsor = parse_address(file.more["sponsor"], "sponsor")

    def artefact(digest: bytes) -> bytes | None:
        found = (fetch(owner, digest) for owner in (sponsor, *evaluators))
        return next((data for data in found if data is not None), None)

    code = client.call("eth_getCode", "0x" + contract.address.hex(), "latest")
    return StoreCase(
        expected=Terms(
            network_id(file.network),
            file.genesis_s,
            file.epoch_seconds,
            file.first_epoch,
            file.function_digest,
            file.parameters_digest,
        ),
        schema_digest=file.schema_digest,
        terms=Terms(
            *(
                contract.read(name)
                for name in (
                    "network",
                    "genesis",
                    "epoch_seconds",
                    "first_epoch",
                    "function_digest",
                    "parameters_digest",
                )
            )
        ),
        code=bytes.fromhex(code[2:]),
        domain=Domain(file.chain_id, contract.address),
        epoch=epoch,
        located=located_in(contract, epoch),
        chain_end=contract.read("locations", epoch),
        payees=payees_of(contract),
        evaluators=evaluators,
        quorum=contract.read("quorum"),
        budget_atto=contract.read("budgets", epoch),
        accepted=_accepted(client, contract, epoch),
        vetoed=len(contract.events("Vetoed", where={"epoch": epoch})),
        claims=claims_of(contract, epoch),
        gas=_gas(client, contract, epoch),
        names={NodeKey(bytes.fromhex(key)): name for key, name in file.more["nodes"].items()},
        fetch=lambda one: fetch(operators[one.node_key], one.object),
        artefact=artefact,
        run_python=PythonSandbox(),
        published=None if root is None else _published(root, epoch),
    )


def _accepted(client: ChainClient, contract: Contract, epoch: int) -> Accepted | None:
    """Return the result that stands, as its transaction has it."""
    standing = contract.read("results", epoch)
    for event in contract.events("Reported", where={"epoch": epoch}):
        if event.args["result"] == standing:
            return _sent_result(client, contract, event)
    return None


def _sent_result(client: ChainClient, contract: Contract, event: Event) -> Accepted | None:
    sent = client.call("eth_getTransactionByHash", "0x" + event.tx_hash.hex())
    try:
        _, (values, words) = contract.decode_call(bytes.fromhex(sent["input"][2:]))
    except InvalidInput:  # another contract sent it
        return None
    signatures = [r.to_bytes(_WORD, "big") + vs.to_bytes(_WORD, "big") for r, vs in words]
    return Accepted(
        StoreResult(*values), signatures, parse_address(sent["from"], "from"), event.tx_hash
    )


def _gas(client: ChainClient, contract: Contract, epoch: int) -> Mapping[str, int]:
    """Return what the epoch's transactions cost, by step."""
    gas: dict[str, int] = {}
    for step, name in (("locate", "Located"), ("report", "Reported"), ("claims", "Claimed")):
        events = contract.events(name, where={"epoch": epoch})
        receipts = client.batch(
            [
                ("eth_getTransactionReceipt", ["0x" + tx.hex()])
                for tx in dict.fromkeys(event.tx_hash for event in events)
            ]
        )
        gas[step] = sum(int(receipt["gasUsed"], 16) for receipt in receipts)
    return gas


def _published(root: Path, epoch: int) -> Any:
    try:
        return json.loads(read_whole(Layout(root).result(epoch)))
    except NotFound:
        return None
    except ValueError:
        return {}
