"""Members from the contracts: the committee of the newest open epoch, and the endpoints that it registered."""

import asyncio
from pathlib import Path
from typing import Final

from meridian.ephemera.messages.message import Realm
from meridian.errors import RemoteFault
from meridian.node.chain.rpc import Rpc
from meridian.node.chain_view import ChainView, RegisteredEvaluator
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.links import Peer
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import Address, address_text

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
            view = ChainView(rpc, self._file.contracts, self._file.deploy_block)
            epoch = int(view.registry.read("next_epoch")) - 1
            number = int(view.registry.read("epoch_set", epoch)) if epoch >= 0 else 0
            if number == 0:
                raise RemoteFault("the Registry has not opened an epoch yet")
            committee = view.committee(epoch)
            registered: dict[Address, RegisteredEvaluator] = {}
            view.follow_evaluators(registered)
        finally:
            rpc.close()
        realm = Realm(self._file.domain(self._file.contracts.evaluations), self._file.network_id)
        peers = []
        for address in committee:
            known = registered.get(address)
            if known is None:
                raise RemoteFault(f"the Registry names no registration of {address_text(address)}")
            host, port = known.place
            # An endpoint that is none just stays unreachable, and hints may still say a better one.
            peers.append(Peer(address, known.link_key, host or "unknown.invalid", port or 1))
        return MemberSet.of(number, realm, peers)
