"""What a measure service asks outside of itself: registrations and commitments, on a chain or in files."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.contracts.deployment import Addresses
from meridian.measure.schema import NetworkSchema
from meridian.node.chain.contract import Contract
from meridian.node.chain.finality import finality
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.measure.answering import Answering
from meridian.node.measure.config import MeasureConfig
from meridian.node.measure.ledger import ChainLedger, FileLedger, Ledger
from meridian.node.measure.nodes import ChainNodes, FileNodes, NodeSource
from meridian.node.measure.publication import Publication
from meridian.primitives.ids import parse_address
from meridian.primitives.keys import PrivateKey

RPC_TIMEOUT_S: Final = 10.0
DIRECTORY_TIMEOUT_S: Final = 3.0
"""An unknown node holds the intake up for at most this long, and then not again for a while."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Registrations and commitments, and challenges where somebody can give them."""

    nodes: NodeSource
    ledger: Ledger
    answering: Answering | None = None


def open_outside(
    config: MeasureConfig,
    key: PrivateKey,
    publication: Publication,
    schema: NetworkSchema,
    stack: contextlib.ExitStack,
    on_event: Callable[[str, dict[str, Any]], None],
) -> Outside:
    """Return what the configuration names: contracts on a chain, or files."""
    chain = config.chain
    if chain is None:
        assert config.nodes_file is not None, "checked by the configuration"
        return Outside(
            FileNodes(config.nodes_file), FileLedger(config.data_dir / "commitments.jsonl")
        )
    addresses = Addresses(
        registry=parse_address(chain.registry, "registry"),
        commitments=parse_address(config.commitments, "commitments"),
        evaluations=parse_address(chain.evaluations, "evaluations"),
        rewards=parse_address(chain.rewards, "rewards"),
    )
    reading = Rpc(chain.rpc_url, DIRECTORY_TIMEOUT_S)
    sending = Rpc(chain.rpc_url, RPC_TIMEOUT_S)
    following = Rpc(chain.rpc_url, RPC_TIMEOUT_S)
    done = finality(config.chain_id, chain.confirmations, chain.transaction_wait_s)
    sender = Sender(
        sending,
        key,
        config.data_dir / "sender.sqlite",
        confirmations=done.confirmations,
        wait_s=done.wait_s,
    )
    for close in (reading.close, sending.close, following.close, sender.close):
        stack.callback(close)
    contract = Contract(sending, addresses.commitments, load("Commitments"))
    view = ChainView(reading, addresses, chain.deploy_block)
    answering = Answering(
        commitments=Contract(following, addresses.commitments, load("Commitments")),
        deploy_block=chain.deploy_block,
        sender=sender,
        publication=publication,
        schema=schema,
        on_event=on_event,
    )
    return Outside(
        ChainNodes(view, chain.deploy_block),
        ChainLedger(sender, contract, chain.deploy_block),
        answering,
    )
