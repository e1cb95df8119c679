"""What a network needs on chain before its first job: contracts, members with stake, and funds.

Every step reads the chain first and does only what is missing; transactions are journalled under a purpose, so a
crash between sending and noticing never sends a second one.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.contracts.artefact import load
from meridian.contracts.calldata import EvaluatorRegistration, NodeRegistration
from meridian.contracts.deployment import Addresses, Parameters, Terms, plan
from meridian.contracts.statements import RegisterEvaluator, RegisterNode
from meridian.errors import InvalidInput, Reverted
from meridian.journey.layout import Layout
from meridian.journey.options import Options
from meridian.networks.definition import JobSource
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.network_file import EvaluatorEntry
from meridian.primitives.amounts import ATTO
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id, node_key
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
            tuple(
                load_or_create_key(layout.key(f"evaluator-{i}")) for i in range(1, evaluators + 1)
            ),
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
    sender: Sender,
    source: JobSource,
    options: Options,
    aggregator: Address,
    digests: tuple[bytes, bytes],
) -> Addresses:
    """Deploy the contracts.

    Args:
        sender: The sponsor's; a fresh account, because later addresses follow from its first transactions.
        source: Gives the network's name, genesis, epoch length and first epoch.
        options: The challenge window.
        aggregator: The one aggregator of the network.
        digests: Of the function and of the parameters, for the schedule's first version.
    """
    parameters = Parameters(
        network=network_id(source.definition.name),
        genesis_s=source.genesis_s,
        epoch_seconds=source.epoch_seconds,
        first_epoch=source.first_epoch,
        node_stake_min_atto=NODE_STAKE_ATTO,
        evaluator_stake_min_atto=EVALUATOR_STAKE_ATTO,
        exit_delay_s=EXIT_DELAY_S,
        aggregators=(aggregator,),
        challenge_seconds=options.challenge_seconds,
        function_digest=digests[0],
        parameters_digest=digests[1],
        owner=sender.address,
        terms=Terms(rule=source.definition.reward_rule),
    )
    return deploy_planned(sender, parameters)


def deploy_planned(sender: Sender, parameters: Parameters) -> Addresses:
    """Deploy the contracts of a network with the first transactions of a fresh account.

    Raises:
        InvalidInput: If the account was used before.
    """
    addresses, steps = plan(parameters, sender.address, 0)
    for step in steps:
        address = sender.deploy(load(step.name), *step.arguments, purpose=f"deploy/{step.name}")
        if address != step.address:
            raise InvalidInput("sponsor", "the account was used before; give it a fresh key")
    return addresses


def register_evaluators(
    relayer: Sender,
    view: ChainView,
    domain: Domain,
    network: bytes,
    entries: Sequence[EvaluatorEntry],
    keys: Sequence[PrivateKey],
) -> None:
    """Register the evaluators that are not registered yet, each with its stake."""
    hashes = []
    for entry, key in zip(entries, keys, strict=True):
        if view.registry.read("evaluator", key.address)[0] > 0:
            continue
        endpoint = f"{entry.host}:{entry.port}"
        nonce = view.registry.read("nonces", key.address)
        statement = RegisterEvaluator(network, key.address, entry.link_key, endpoint, nonce, _NEVER)
        registration = EvaluatorRegistration(statement, key.sign(statement.digest(domain)))
        data = view.registry.encode("register_evaluator", *registration.arguments)
        purpose = f"register-evaluator/{key.address.hex()}/{nonce}"
        hashes.append(
            relayer.submit(view.registry.address, data, EVALUATOR_STAKE_ATTO, purpose=purpose)
        )
    _wait(relayer, hashes)


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

    def registration(node_id: str) -> NodeRegistration:
        key, payee = operator_key(layout, node_id), payee_of(layout, source, node_id)
        return consent(domain, network_id(source.definition.name), key, node_id, payee)

    register_consenting(relayer, view, sorted(source.nodes), registration, progress)


def register_consenting(
    relayer: Sender,
    view: ChainView,
    node_ids: Sequence[str],
    registration: Callable[[str], NodeRegistration],
    progress: Callable[[int, int], None],
) -> None:
    """Register those of the nodes that are not registered yet, many in one transaction.

    Args:
        relayer: Pays stake and gas.
        view: Reads of the contracts.
        node_ids: The nodes, in the order in which they register.
        registration: Makes a node's consent; only asked for those that are missing.
        progress: Called with (registered, all).
    """
    known = view.nodes()
    missing = [node_id for node_id in node_ids if node_key(node_id) not in known]
    done = len(node_ids) - len(missing)
    progress(done, len(node_ids))
    hashes = []
    for start in range(0, len(missing), NODES_PER_TRANSACTION):
        group = missing[start : start + NODES_PER_TRANSACTION]
        registrations = [registration(node_id).arguments for node_id in group]
        tag = hashlib.sha256("\n".join(group).encode()).hexdigest()[:16]
        data = view.registry.encode("register_nodes", registrations)
        stake = NODE_STAKE_ATTO * len(group)
        purpose = f"register-nodes/{tag}"
        hashes.append(relayer.submit(view.registry.address, data, stake, purpose=purpose))
        done += len(group)
        progress(min(done, len(node_ids) - 1), len(node_ids))
    _wait(relayer, hashes)
    progress(len(node_ids), len(node_ids))


def consent(
    domain: Domain, network: bytes, key: PrivateKey, node_id: str, payee: Address
) -> NodeRegistration:
    """Return an operator's signed consent that a node registers and that `payee` is paid for it."""
    statement = RegisterNode(
        network=network,
        node_key=node_key(node_id),
        operator=key.address,
        payee=payee,
        nonce=0,
        deadline_s=_NEVER,
    )
    return NodeRegistration(statement, key.sign(statement.digest(domain)))


def _wait(sender: Sender, hashes: Sequence[bytes]) -> None:
    """Wait for transactions; raises `Reverted` if a contract refused one in its block."""
    for receipt in sender.wait_all(hashes):
        if not receipt.status:
            raise Reverted(receipt.reason)


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
