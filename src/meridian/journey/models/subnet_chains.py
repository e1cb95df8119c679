"""What the two chains of a subnet show: deposits, checkpoints and payments on the parent, stake and sums on the child."""

from collections.abc import Mapping
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.errors import InvalidInput
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.metering import answers
from meridian.journey.models.sums_chain import SumsChain
from meridian.models.subnet import Checkpoint, ChildState, Committed, Deposit, SettledEpoch
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import ChainClient
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, parse_address
from meridian.primitives.keys import recover

GATEWAY: Final = "SubnetGateway"
REGISTRY: Final = "Registry"
CHILD: Final = "Subnet"


class ParentView:
    """Reads of the gateway and the Registry."""

    def __init__(self, client: ChainClient, file: ModelFile) -> None:
        self.client = client
        self.gateway = Contract(client, file.contracts[GATEWAY], load(GATEWAY))
        self.registry = Contract(client, file.contracts[REGISTRY], load(REGISTRY))
        self.domain = Domain(file.chain_id, file.contracts[GATEWAY])

    def deposits(self) -> list[Deposit]:
        """Return all deposits in the order of their numbers."""
        found = self.gateway.events("Deposited")
        return [Deposit(one.args["account"], one.args["amount"]) for one in found]

    def last(self) -> tuple[Checkpoint | None, bytes]:
        """Return the last checkpoint and its digest; None and zeros of none."""
        values = self.gateway.read("last")
        return (Checkpoint(*values) if values[0] else None), self.gateway.read("last_digest")

    def budget(self, epoch: int) -> int:
        """Return what an epoch pays, atto."""
        return int(self.gateway.read("funds", epoch))

    def committee(self, epoch: int) -> list[Address]:
        """Return the validators of an epoch, ascending."""
        return list(self.registry.read("committee", epoch))

    def committed(self) -> list[Committed]:
        """Return all checkpoints, oldest first.

        Raises:
            InvalidInput: If one did not come by a plain call of ``commit``: what it said is not shown.
        """
        return [self._committed(event) for event in self.gateway.events("Checkpointed")]

    def _committed(self, event: Event) -> Committed:
        tx_hash = "0x" + event.tx_hash.hex()
        sent = self.client.call("eth_getTransactionByHash", tx_hash)
        receipt = self.client.call("eth_getTransactionReceipt", tx_hash)
        if not sent or not receipt or sent["to"] is None:
            raise InvalidInput("checkpoint", f"{tx_hash} is not shown")
        if parse_address(sent["to"], "to") != self.gateway.address:
            raise InvalidInput("checkpoint", f"{tx_hash} does not call the gateway itself")
        name, arguments = self.gateway.decode_call(bytes.fromhex(sent["input"][2:]))
        if name != "commit":
            raise InvalidInput("checkpoint", f"{tx_hash} calls {name}, not commit")
        checkpoint = Checkpoint(*arguments[0])
        signed = checkpoint.digest(self.domain)
        signatures = [r.to_bytes(32, "big") + vs.to_bytes(32, "big") for r, vs in arguments[1]]
        return Committed(
            checkpoint=checkpoint,
            digest=event.args["digest"],
            signers=tuple(recover(signed, one) for one in signatures),
            transmitter=parse_address(sent["from"], "from"),
            gas_used=int(receipt["gasUsed"], 16),
        )

    def paid(self, name: str) -> list[tuple[Address, int, int]]:
        """Return account, amount and cumulative amount of each event ``Claimed`` or ``Withdrawn``, in chain order."""
        return [
            (one.args["account"], one.args["amount"], one.args["cumulative"])
            for one in self.gateway.events(name)
        ]


class ChildView:
    """Reads of the child's contract."""

    def __init__(self, client: ChainClient, chain_id: int, address: Address) -> None:
        self.client = client
        self.sums = SumsChain(client, address, CHILD)
        self.contract = self.sums.contract
        self.domain = Domain(chain_id, address)

    def head(self) -> int:
        """Return the number of the newest block."""
        return int(self.client.call("eth_blockNumber"), 16)

    def block_hash(self, height: int) -> bytes:
        """Return a block's hash; empty where there is no such block."""
        block = self.client.call("eth_getBlockByNumber", hex(height), False)
        return bytes.fromhex(block["hash"][2:]) if block else b""

    def published_bytes(self) -> int:
        """Return the encoded size of all blocks: what everybody must be able to fetch."""
        numbers = range(self.head() + 1)
        questions = [("eth_getBlockByNumber", [hex(number), False]) for number in numbers]
        return sum(int(block["size"], 16) for block in answers(self.client, questions))

    def minted(self, to_block: int | str = "latest") -> list[Deposit]:
        """Return the stake that came, in the order of its numbers."""
        found = self.contract.events("Minted", to_block=to_block)
        return [Deposit(one.args["account"], one.args["amount"]) for one in found]

    def released(self, height: int) -> dict[Address, int]:
        """Return what each account has given back up to a block, atto."""
        found = self.contract.events("Released", to_block=height)
        return {one.args["account"]: one.args["cumulative"] for one in found}

    def settled(self, epoch: int, budget: int, height: int) -> SettledEpoch:
        """Return an epoch as it stands at a block.

        Raises:
            InvalidInput: If it is still open then, or not added up.
        """
        state = self.sums.state(epoch, height)
        if self.sums.open_epoch(height) <= epoch or state.evaluated != state.jobs:
            raise InvalidInput("epoch", f"{epoch} is not closed and added up at block {height}")
        accounts = list(dict.fromkeys(one.account for one in self.minted(height)))
        return SettledEpoch(
            jobs=state.jobs,
            total=state.total,
            weights=self.sums.weights(epoch, accounts, height),
            budget=budget,
        )

    def state(self, height: int, epoch: SettledEpoch | None) -> ChildState:
        """Return what a checkpoint at a block says.

        Raises:
            InvalidInput: If there is no such block.
        """
        block_hash = self.block_hash(height)
        if not block_hash:
            raise InvalidInput("height", f"the child has no block {height}")
        return ChildState(
            height=height,
            block_hash=block_hash,
            minted=len(self.minted(height)),
            released=self.released(height),
            epoch=epoch,
        )


def child_of(file: ModelFile) -> Mapping[str, Any]:
    """Return what a run's file says of the child: ``chain_id``, ``rpc_url``, ``contract``.

    Raises:
        InvalidInput: If it says nothing.
    """
    child = file.more.get("child")
    if not isinstance(child, dict) or set(child) != {"chain_id", "rpc_url", "contract"}:
        raise InvalidInput("model.json", "more.child does not say where the child chain is")
    return child
