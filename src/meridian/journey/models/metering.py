"""What a run cost, read where it was spent: gas in the chain's blocks, processor time from the system, bytes in files."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.errors import InvalidInput, MeridianError
from meridian.journey.models.model import MAIN_CHAIN, Phase, StepCost
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient
from meridian.primitives.ids import Address, parse_address

BLOCKS_AT_ONCE: Final = 100
TRANSFER: Final = "transfer"
"""Name of the step of transactions to no contract of the model's."""


def chain_steps(
    client: ChainClient,
    contracts: Mapping[str, Address],
    phases: Mapping[str, Phase],
    *,
    first_block: int = 0,
    chain: str = MAIN_CHAIN,
) -> list[StepCost]:
    """Return what all transactions of a chain cost, by what they call, in the order of their first blocks.

    Args:
        client: The chain; all that is on it must be the model's.
        contracts: Name of the artefact (or that and ``/anything``, where there are several) -> address.
        phases: Step's name -> phase of those that are no part of an epoch; creations are always `Phase.SET_UP`.
        first_block: Where to begin.
        chain: Name of the chain.

    Raises:
        RemoteFault: If the chain does not answer.
    """
    names = {address: name for name, address in contracts.items()}
    known = {
        address: Contract(client, address, load(name.partition("/")[0]))
        for address, name in names.items()
    }
    sums: dict[str, list[int]] = {}
    for sent, receipt in transactions(client, first_block):
        data = bytes.fromhex(sent["input"][2:])
        if sent["to"] is None:
            created = parse_address(receipt["contractAddress"], "contractAddress")
            step = f"deploy {names.get(created, 'code')}"
        else:
            to = parse_address(sent["to"], "to")
            step = f"{names[to]}.{_function(known[to], data)}" if to in names else TRANSFER
        row = sums.setdefault(step, [0, 0, 0])
        for place, amount in enumerate((1, int(receipt["gasUsed"], 16), len(data))):
            row[place] += amount
    return [
        StepCost(
            name=step,
            phase=Phase.SET_UP if step.startswith("deploy ") else phases.get(step, Phase.EPOCH),
            transactions=row[0],
            gas=row[1],
            calldata_bytes=row[2],
            chain=chain,
        )
        for step, row in sums.items()
    ]


def _function(contract: Contract, data: bytes) -> str:
    try:
        return contract.decode_call(data)[0]
    except InvalidInput:
        return "fallback"


def transactions(
    client: ChainClient, first: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield every transaction from block `first` on with its receipt, both as JSON, in chain order.

    Raises:
        RemoteFault: If the chain does not answer.
    """
    head = int(client.call("eth_blockNumber"), 16)
    for start in range(first, head + 1, BLOCKS_AT_ONCE):
        numbers = range(start, min(start + BLOCKS_AT_ONCE, head + 1))
        blocks = answers(client, [("eth_getBlockByNumber", [hex(n), True]) for n in numbers])
        sent = [one for block in blocks for one in block["transactions"]]
        receipts = answers(client, [("eth_getTransactionReceipt", [one["hash"]]) for one in sent])
        yield from zip(sent, receipts, strict=True)


def answers(client: ChainClient, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
    """Return the answers to a batch of calls; raises the first that is an error."""
    found = client.batch(calls)
    for answer in found:
        if isinstance(answer, MeridianError):
            raise answer
    return found


class PartyClock:
    """Processor time of this process by the party that it was spent for; parts do not nest."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    @contextlib.contextmanager
    def spent_by(self, party: str) -> Iterator[None]:
        """Count what happens in the context for a party."""
        started = time.process_time()
        try:
            yield
        finally:
            self.add(party, time.process_time() - started)

    def add(self, party: str, cpu_s: float) -> None:
        """Count processor seconds that were measured elsewhere, such as a child's."""
        self.cpu_s[party] = self.cpu_s.get(party, 0.0) + cpu_s


def bytes_in(paths: Iterable[Path]) -> int:
    """Return the size of all files under some directories (or of the files themselves); what is absent has none."""
    return sum(
        file.stat().st_size
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file()
    )
