"""Members from the contracts: the committee of the newest open epoch, and the endpoints that it registered."""

import asyncio
from pathlib import Path
from typing import Final

from meridian.ephemera.messages.message import Realm
from meridian.errors import RemoteFault
from meridian.node.chain.rpc import Rpc
from meridian.node.chain_view import ChainView
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.links import Peer
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import Address, parse_address

RPC_TIMEOUT_S: Final = 5.0


class ContractMembers:
    """The committee of the newest open epoch in the Registry; its number is that of the Registry's member set."""

    def __init__(self, network_dir: Path) -> None:
        """Prepare; raises NotFound or InvalidInput if the directory holds no network.json."""
        self._file = NetworkFile.load(network_dir)
        self.network = self._file.network

    async def fetch(self) -> MemberSet:
        """See `MembersSource`."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> MemberSet:
        rpc = Rpc(self._file.rpc_url, RPC_TIMEOUT_S)
        try:
            registry = ChainView(rpc, self._file.contracts, self._file.deploy_block).registry
            epoch = int(registry.read("next_epoch")) - 1
            number = int(registry.read("epoch_set", epoch)) if epoch >= 0 else 0
            if number == 0:
                raise RemoteFault("the Registry has not opened an epoch yet")
            committee = [_address(item) for item in registry.read("committee", epoch)]
            registered = {
                _address(event.args["evaluator"]): event.args
                for event in registry.events("EvaluatorRegistered", self._file.deploy_block)
            }
        finally:
            rpc.close()
        realm = Realm(self._file.domain(self._file.contracts.evaluations), self._file.network_id)
        peers = []
        for address in committee:
            known = registered.get(address)
            if known is None:
                raise RemoteFault(f"the Registry names no registration of 0x{address.hex()}")
            host, port = _endpoint(known["endpoint"])
            peers.append(Peer(address, bytes(known["link_key"]), host, port))
        return MemberSet.of(number, realm, peers)


def _address(value: object) -> Address:
    return parse_address(value) if isinstance(value, str) else Address(bytes(value))  # type: ignore[call-overload]


def _endpoint(text: str) -> tuple[str, int]:
    """Read ``host:port``; what is neither just stays unreachable."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "unknown.invalid"
    return host, int(port) if port.isdecimal() and 0 < int(port) < 65_536 else 1
