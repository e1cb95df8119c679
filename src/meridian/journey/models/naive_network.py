"""The naive model's network on a chain: contract, coins, jobs, sums, payments; every step does only what is missing."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.journey.layout import Layout
from meridian.journey.models import sums_network
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.node_jobs import NodeJob
from meridian.journey.models.sums_chain import (
    EpochHistory,
    SumsChain,
    expected_terms,
)
from meridian.models.naive import NaiveEpoch, Payment
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.sender import Sender
from meridian.primitives.amounts import ATTO
from meridian.primitives.ids import Address, parse_address
from meridian.primitives.keys import PrivateKey

CONTRACT: Final = "Naive"
NODE_COINS_ATTO: Final = 10 * ATTO
"""What a node gets for its gas; what is left stays its own."""
NODES_PER_CALL: Final = 200


class NaiveNetwork:
    """One deployed contract and those who send to it.

    Args:
        client: The chain.
        file: The run's file; the contract's address is in it.
        sponsor: Deploys, gives the nodes coins for gas, funds, closes epochs and has them paid.
        keeper: Has epochs added up; sends nothing else.
    """

    def __init__(
        self, client: ChainClient, file: ModelFile, sponsor: Sender, keeper: PrivateKey
    ) -> None:
        self._file = file
        self._sponsor = sponsor
        self._keeper = keeper
        self.chain = SumsChain(client, file.contracts[CONTRACT], CONTRACT)
        self._contract = self.chain.contract

    def give_coins(self, nodes: Sequence[Address]) -> None:
        """Give each account coins for its gas, and the keeper too; the order of the accounts must stay."""
        accounts = [self._keeper.address, *nodes]
        for at in range(0, len(accounts), NODES_PER_CALL):
            group = accounts[at : at + NODES_PER_CALL]
            data = self._contract.encode("push", group, [NODE_COINS_ATTO] * len(group))
            self._transact(data, f"coins/{at}", NODE_COINS_ATTO * len(group))

    def fund(self, epoch: int, atto: int) -> None:
        """Fund an epoch, once."""
        if atto:
            self._transact(self._contract.encode("fund", epoch), f"fund/{epoch}", atto)

    def submit(
        self,
        epoch: int,
        jobs: Mapping[str, Sequence[NodeJob]],
        keys: Mapping[str, PrivateKey],
        nonces: Mapping[str, int],
        batch: int,
        progress: Callable[[int], None],
    ) -> None:
        """Send an epoch's jobs, each node's from its own key; see `sums_network.submit`."""
        sums_network.submit(
            self.chain, self._file.chain_id, epoch, jobs, keys, nonces, batch, progress
        )

    def close_epoch(self, epoch: int) -> None:
        """Close an epoch, if it is open."""
        if self.chain.open_epoch() == epoch:
            self._transact(self._contract.encode("close_epoch"), f"close/{epoch}")

    def evaluate(self, epoch: int, progress: Callable[[int], None]) -> None:
        """Have all jobs of a closed epoch added up; see `sums_network.evaluate`."""
        sums_network.evaluate(self.chain, self._file.chain_id, self._keeper, epoch, progress)

    def pay(self, epoch: int, limit: int | None) -> None:
        """Push the shares of an evaluated epoch, to `limit` nodes at most (None: all)."""
        nodes = self.chain.state(epoch).nodes
        wanted = nodes if limit is None else min(limit, nodes)
        while (paid := self._contract.read("paid_nodes", epoch)) < wanted:
            count = min(NODES_PER_CALL, wanted - paid)
            self._transact(self._contract.encode("pay", epoch, count), f"pay/{epoch}/{paid}")

    def _transact(self, data: bytes, purpose: str, value: int = 0) -> None:
        self._sponsor.transact(self._contract.address, data, value, purpose=purpose)


def deploy(sponsor: Sender, file: ModelFile) -> Address:
    """Deploy the contract for a run's epochs, once; return its address."""
    terms = expected_terms(file)
    return sponsor.deploy(
        load(CONTRACT),
        terms.genesis_s,
        terms.epoch_seconds,
        terms.first_epoch,
        terms.grace_seconds,
        terms.value_max,
        purpose=f"deploy/{CONTRACT}",
    )


def read_epochs(client: ChainClient, file: ModelFile, epochs: Sequence[int]) -> list[NaiveEpoch]:
    """Return what the chain shows of epochs."""
    chain = SumsChain(client, file.contracts[CONTRACT], CONTRACT)
    histories = chain.history() if chain.terms() is not None else {}
    return [
        _read_epoch(chain, file, epoch, histories.get(epoch, EpochHistory())) for epoch in epochs
    ]


def _read_epoch(chain: SumsChain, file: ModelFile, epoch: int, history: EpochHistory) -> NaiveEpoch:
    sums = chain.epoch_sums(file, epoch, history.jobs)
    names = {
        parse_address(account): str(name) for account, name in file.more.get("nodes", {}).items()
    }
    if sums.terms is None:
        return NaiveEpoch(sums=sums, gas={}, names=names)
    return NaiveEpoch(
        sums=sums,
        funds_atto=chain.contract.read("funds", epoch),
        payments=_payments(chain, epoch),
        gas=history.gas,
        names=names,
    )


def _payments(chain: SumsChain, epoch: int) -> list[Payment]:
    where = {"epoch": epoch}
    found = [
        event for name in ("Paid", "Refused") for event in chain.contract.events(name, where=where)
    ]
    found.sort(key=lambda event: (event.block, event.log_index))
    return [
        Payment(event.args["node"], event.args["amount"], event.name == "Refused")
        for event in found
    ]


def with_published(case: NaiveEpoch, root: Path) -> NaiveEpoch:
    """Return the same with the result that stands in a data directory, if one does."""
    return replace(case, published=published_result(root, case.sums.epoch))


def published_result(root: Path, epoch: int) -> Any:
    """Return what an epoch's result file holds; None where there is none, a text that says so where it is not JSON."""
    path = Layout(root).result(epoch)
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "not JSON"
