"""The embedded chain of a model's directory as a process, and the accounts that send on it.

What was sent stands in journals beside the keys, so that a run that is repeated sends nothing twice.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from meridian.journey.host import kept_port
from meridian.journey.layout import Layout
from meridian.journey.processes import Child, module_command
from meridian.node.chain.embedded import DEFAULT_BLOCK_MS
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.keystore import load_or_create_key
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

CHAIN_ID: Final = 31337


class LocalChain:
    """A chain for as long as the context lasts.

    ``node.audit_sources.reachable_chain(root, url, chain_id)`` reads it afterwards.

    Args:
        root: The directory, which exists; chain, keys, journals and logs lie under it as `Layout` says.
        accounts: Names of the accounts that send; their keys are made when absent.
        others: Further accounts with coins from the beginning.
        chain_id: EIP-155 chain id.
        block_ms: How long the first waiting transaction of a block waits for others.
    """

    def __init__(
        self,
        root: Path,
        accounts: Sequence[str],
        others: Sequence[Address] = (),
        *,
        chain_id: int = CHAIN_ID,
        block_ms: int = DEFAULT_BLOCK_MS,
    ) -> None:
        self._layout = Layout(root.resolve())
        self.chain_id = chain_id
        self._block_ms = block_ms
        self._keys = {name: load_or_create_key(self._layout.key(name)) for name in accounts}
        self._others = others
        self._senders: dict[str, Sender] = {}
        self.cpu_s = 0.0
        """Processor seconds of the chain's process; known when the context has ended."""

    def __enter__(self) -> Self:
        database = self._layout.chain
        database.parent.mkdir(parents=True, exist_ok=True)
        addresses = dict.fromkeys([*(key.address for key in self._keys.values()), *self._others])
        command = module_command(
            "meridian.node.chain.embedded",
            "--db", str(database),
            "--port", str(kept_port(self._layout.chain_port)),
            "--chain-id", str(self.chain_id),
            "--block-ms", str(self._block_ms),
            "--alloc", ",".join(address_text(one) for one in addresses),
        )  # fmt: skip
        self._child = Child("chain", command, self._layout.log("chain"), lambda _name, _event: None)
        try:
            self.url = str(self._child.wait_ready()["url"])
        except BaseException:
            self._child.stop()
            raise
        self.rpc = Rpc(self.url)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sender in self._senders.values():
            sender.close()
        self.rpc.close()
        self._child.stop()
        self.cpu_s = self._child.cpu_s

    def key(self, name: str) -> PrivateKey:
        """Return the key of a named account."""
        return self._keys[name]

    def sender(self, name: str) -> Sender:
        """Return the way of a named account to the chain, with its journal."""
        if name not in self._senders:
            path = self._layout.sender(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._senders[name] = Sender(self.rpc, self._keys[name], path)
        return self._senders[name]
