"""Whom an evaluator has links to: who is registered now, and the members of its open epochs.

The link key comes from the Registry and from nowhere else. The network file may say where a registered evaluator is
reached now; that is a hint, for a wrong one leads to nobody who could prove the key.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from meridian.errors import MeridianError
from meridian.node.chain_view import RegisteredEvaluator
from meridian.node.link_peers import PEERS_MAX, Peer
from meridian.node.network_file import FILE_NAME, EvaluatorEntry, NetworkFile
from meridian.primitives.ids import Address


def peers_of(
    registered: Mapping[Address, RegisteredEvaluator],
    hints: Sequence[EvaluatorEntry],
    needed: Iterable[Address],
    own: Address,
) -> list[Peer]:
    """Return the peers, ascending by address.

    Args:
        registered: Everybody who ever registered, with the latest registration.
        hints: What the network file says.
        needed: Members of open epochs; they may have left since.
        own: We are no peer of ourselves.
    """
    places = {entry.address: (entry.host, entry.port) for entry in hints}
    active = {address for address, one in registered.items() if one.is_active}
    kept = sorted(active - {own}) + sorted(set(needed) & registered.keys() - active - {own})
    found = []
    for address in kept[:PEERS_MAX]:
        one = registered[address]
        host, port = places.get(address) or one.place
        found.append(Peer(address, one.link_key, host, port))
    return sorted(found, key=lambda peer: peer.address)


class AddressHints:
    """The evaluators of the network file, read again when the file has changed."""

    def __init__(self, directory: Path, network: NetworkFile) -> None:
        self._directory = directory
        self._entries: Sequence[EvaluatorEntry] = network.evaluators
        self._seen_ns = self._changed_ns()

    def entries(self) -> Sequence[EvaluatorEntry]:
        """Return what the file says; a file that cannot be read changes nothing."""
        changed_ns = self._changed_ns()
        if changed_ns != self._seen_ns:
            self._seen_ns = changed_ns
            with contextlib.suppress(MeridianError):
                self._entries = NetworkFile.load(self._directory).evaluators
        return self._entries

    def _changed_ns(self) -> int:
        try:
            return (self._directory / FILE_NAME).stat().st_mtime_ns
        except OSError:
            return -1
