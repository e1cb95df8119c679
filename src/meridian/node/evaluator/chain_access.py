"""What an evaluator asks of the chain and does on it, in a thread of its own so that the protocol never waits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from meridian.committee.settlement import Proposal
from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import Transmission, Unavailable
from meridian.errors import Reverted
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_news import ChainNews, NewsReader
from meridian.node.chain_view import AcceptedReport, ChainView
from meridian.node.evaluator.unavailable import collect
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum

ACCEPTED: Final = "accepted"
"""What `ChainAccess.transmit` says of a report that the contract took."""


class ChainAccess:
    """Reads and transactions of one evaluator: one thread at a time may read, and one at a time may send."""

    def __init__(self, network: NetworkFile, key: PrivateKey, journal: Path) -> None:
        self._network = network
        self._key = key
        self._rpc = Rpc(network.rpc_url)
        self.view = ChainView(self._rpc, network.contracts, network.deploy_block)
        done = network.finality
        self._sender = Sender(
            self._rpc, key, journal, confirmations=done.confirmations, wait_s=done.wait_s
        )
        self._reader = NewsReader(self.view, network.deploy_block)

    def close(self) -> None:
        """Close connection and journal."""
        self._sender.close()
        self._rpc.close()

    def news(self) -> ChainNews:
        """Return what is on chain, as of one moment; reads only the blocks since the last call."""
        return self._reader.news()

    def is_reported(self, epoch: int) -> bool:
        """Tell whether the chain has accepted a report of the epoch."""
        return self.view.is_reported(epoch)

    def transmit(
        self, proposal: Proposal, signatures: Sequence[tuple[Address, bytes]], n: int
    ) -> str:
        """Bring an attested report on chain, with our signed claim to have done so.

        Args:
            proposal: The report.
            signatures: At least a quorum, ascending by signer.
            n: Members of the committee.

        Returns:
            What happened, for the log: ``accepted``, or why the contract refused (somebody was faster).
        """
        report = proposal.report
        transmission = Transmission(report.network, report.epoch, proposal.digest)
        domain = self._network.domain(self._network.contracts.evaluations)
        data = self.view.evaluations.encode(
            "submit",
            report.values,
            signature_words(self._key.sign(transmission.digest(domain))),
            [signature_words(signature) for _, signature in signatures[: quorum(n)]],
        )
        purpose = f"report/{report.epoch}/{proposal.digest.hex()}"
        try:
            self._sender.transact(self.view.evaluations.address, data, purpose=purpose)
        except Reverted as refusal:
            return refusal.reason
        return ACCEPTED

    def close_unavailable(self, statement: Unavailable, directories: Sequence[Path]) -> str | None:
        """Close an epoch whose artefacts nobody publishes, if a quorum of its members says so.

        Returns:
            What happened, for the log: ``accepted``, or why the contract refused; None while there is no quorum.
        """
        members = self.view.committee(statement.epoch)
        domain = self._network.domain(self._network.contracts.evaluations)
        found = collect(directories, statement, members, domain)
        if found is None:
            return None
        words = [signature_words(signature) for _, signature in found]
        data = self.view.evaluations.encode("declare_unavailable", statement.epoch, words)
        purpose = f"unavailable/{statement.epoch}/{statement.commitment.hex()}"
        try:
            self._sender.transact(self.view.evaluations.address, data, purpose=purpose)
        except Reverted as refusal:
            return refusal.reason
        return ACCEPTED

    def accepted_signatures(self, report: AcceptedReport) -> list[tuple[Address, bytes]]:
        """Return the signatures in the transaction that brought a report, ascending by signer.

        Raises:
            InvalidInput: If the report did not come by a plain call of ``submit``: anybody may have it sent by a
                contract of his own, and what that was called with says nothing of the signatures.
            RemoteFault: If the endpoint does not show the transaction (now).
        """
        return self.view.signatures(report)
