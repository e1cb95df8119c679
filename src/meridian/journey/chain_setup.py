"""What a network needs on chain before its first job: contracts, members with stake, and funds.

Every step reads the chain first and does only what is missing; transactions are journalled under a purpose, so a
crash between sending and noticing never sends a second one.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.contracts.artefact import load
from meridian.contracts.statements import (
    register_evaluator_digest,
    register_node_digest,
    split_signature,
)
from meridian.journey.layout import Layout
from meridian.journey.options import Options
from meridian.networks.definition import JobSource
from meridian.node.chain.sender import Sender, create_address
from meridian.node.chain_view import ChainView
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.network_file import Contracts, EvaluatorEntry
from meridian.primitives.amounts import ATTO
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey, network_id, node_key
from meridian.primitives.keys import PrivateKey

NODE_STAKE_ATTO: Final = ATTO // 10
EVALUATOR_STAKE_ATTO: Final = 100 * ATTO
EXIT_DELAY_S: Final = 7 * 86_400
NODES_PER_TRANSACTION: Final = 50
_NEVER: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of a run; in a real network each belongs to somebody else."""

    sponsor: PrivateKey
    """Deploys and funds."""
    aggregator: PrivateKey
    """Commits epochs and signs receipts."""
    relayer: PrivateKey
    """Pays the gas of registrations and claims."""
    evaluators: tuple[PrivateKey, ...]

    @classmethod
    def load(cls, layout: Layout, evaluators: int) -> "Accounts":
        """Return the accounts of a data directory; missing keys are made."""
        return cls(
            load_or_create_key(layout.key("sponsor")),
            load_or_create_key(layout.key("aggregator")),
            load_or_create_key(layout.key("relayer")),
            tuple(load_or_create_key(layout.key(f"evaluator-{i}")) for i in range(1, evaluators + 1)),
        )

    @property
    def addresses(self) -> list[Address]:
        """All accounts: the embedded chain gives each a balance at its genesis."""
        keys = (self.sponsor, self.aggregator, self.relayer, *self.evaluators)
        return [key.address for key in keys]


def operator_key(layout: Layout, node_id: str) -> PrivateKey:
    """Return the operator key that the run generated for a node (real operators hold their own)."""
    seed = load_or_create_secret(layout.key("operators"))
    return PrivateKey(hashlib.sha256(seed + node_id.encode()).digest())


def payee_of(layout: Layout, source: JobSource, node_id: str) -> Address:
    """Return who is paid for a node: its own address where the data names one, else its operator."""
    payee = source.nodes[node_id]
    return payee if payee is not None else operator_key(layout, node_id).address


def deploy(
    sender: Sender, source: JobSource, options: Options, aggregator: Address, digests: tuple[bytes, bytes]
) -> Contracts:
    """Deploy the four contracts, in the order that their references need.

    Args:
        sender: The sponsor's; a fresh account, because the address of Rewards is computed before it exists.
        source: Gives the network's name, genesis, epoch length and first epoch.
        options: The challenge window.
        aggregator: The one aggregator of the network.
        digests: Of the function and of the parameters, for the schedule's first version.
    """
    registry = sender.deploy(
        load("Registry"),
        network_id(source.definition.name),
        source.genesis_s,
        source.epoch_seconds,
        source.first_epoch,
        NODE_STAKE_ATTO,
        EVALUATOR_STAKE_ATTO,
        EXIT_DELAY_S,
        purpose="deploy/Registry",
    )
    commitments = sender.deploy(
        load("Commitments"), registry, [aggregator], purpose="deploy/Commitments"
    )
    rewards_expected = create_address(sender.address, 3)
    evaluations = sender.deploy(
        load("Evaluations"),
        registry,
        commitments,
        rewards_expected,
        sender.address,
        options.challenge_seconds,
        *digests,
        purpose="deploy/Evaluations",
    )
    rewards = sender.deploy(load("Rewards"), registry, evaluations, purpose="deploy/Rewards")
    assert rewards == rewards_expected, "the sponsor's account was used before"
    return Contracts(registry=registry, commitments=commitments, evaluations=evaluations, rewards=rewards)


def register_evaluators(
    relayer: Sender,
    view: ChainView,
    domain: Domain,
    network: bytes,
    entries: Sequence[EvaluatorEntry],
    keys: Sequence[PrivateKey],
) -> None:
    """Register the evaluators that are not registered yet, each with its stake."""
    for entry, key in zip(entries, keys, strict=True):
        if view.registry.read("evaluator", key.address)[0] > 0:
            continue
        endpoint = f"{entry.host}:{entry.port}"
        nonce = view.registry.read("nonces", key.address)
        signed = register_evaluator_digest(
            domain, network, key.address, entry.link_key, endpoint, nonce, _NEVER
        )
        r, vs = split_signature(key.sign(signed))
        data = view.registry.encode(
            "register_evaluator", key.address, entry.link_key, endpoint, _NEVER, r, vs
        )
        relayer.transact(
            view.registry.address,
            data,
            EVALUATOR_STAKE_ATTO,
            purpose=f"register-evaluator/{key.address.hex()}/{nonce}",
        )


def register_nodes(
    relayer: Sender,
    view: ChainView,
    domain: Domain,
    layout: Layout,
    source: JobSource,
    progress: Callable[[int, int], None],
) -> None:
    """Register the nodes that are not registered yet, many in one transaction.

    Args:
        relayer: Pays stake and gas.
        view: Reads of the contracts.
        domain: The Registry's.
        layout: Where the operators' keys are.
        source: Names the nodes.
        progress: Called with (registered, all).
    """
    known = view.nodes()
    missing = [node_id for node_id in sorted(source.nodes) if node_key(node_id) not in known]
    done = len(source.nodes) - len(missing)
    progress(done, len(source.nodes))
    hashes = []
    for start in range(0, len(missing), NODES_PER_TRANSACTION):
        group = missing[start : start + NODES_PER_TRANSACTION]
        registrations = [_registration(domain, layout, source, node_id) for node_id in group]
        tag = hashlib.sha256("\n".join(group).encode()).hexdigest()[:16]
        hashes.append(
            relayer.submit(
                view.registry.address,
                view.registry.encode("register_nodes", registrations),
                NODE_STAKE_ATTO * len(group),
                purpose=f"register-nodes/{tag}",
            )
        )
        done += len(group)
        progress(done, len(source.nodes))
    relayer.wait_all(hashes)


def _registration(
    domain: Domain, layout: Layout, source: JobSource, node_id: str
) -> tuple[bytes, Address, Address, int, int, int]:
    key = operator_key(layout, node_id)
    payee = payee_of(layout, source, node_id)
    nkey: NodeKey = node_key(node_id)
    signed = register_node_digest(
        domain, network_id(source.definition.name), nkey, key.address, payee, 0, _NEVER
    )
    r, vs = split_signature(key.sign(signed))
    return nkey, key.address, payee, _NEVER, r, vs


def fund(sponsor: Sender, view: ChainView, first: int, count: int, each_atto: int) -> None:
    """Fund epochs `first` to `first + count - 1`, all in one transaction, unless that was done before."""
    if each_atto == 0 or view.rewards.read("funded_through") >= first + count - 1:
        return
    sponsor.transact(
        view.rewards.address,
        view.rewards.encode("fund", first, count, each_atto),
        each_atto * count,
        purpose=f"fund/{first}/{count}",
    )


def open_epochs(relayer: Sender, view: ChainView, through: int) -> None:
    """Open the epochs up to `through`, which fixes their members."""
    if view.registry.read("epoch_set", through) == 0:
        relayer.transact(
            view.registry.address,
            view.registry.encode("open_epochs", through),
            purpose=f"open-epochs/{through}",
        )
