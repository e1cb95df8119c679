"""One epoch's work, alone: from the commitment on chain to our own row.

The law: nothing is believed. The manifest must be the one that the chain names; every artefact must hash to its
digest; the jobs must give the committed root; and the function must be exactly the code that the schedule names.
Only then is it evaluated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meridian.committee.observation import Observation, observe
from meridian.committee.settlement import EpochTerms
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.function import EpochInput
from meridian.evaluate.inputs import inputs_root
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import resolve
from meridian.evaluate.row import RowHeader
from meridian.evaluate.sealed_layer import PrivateLayer
from meridian.evaluate.shipped_layers import active_layers
from meridian.measure.commitment import load_epoch, verify_epoch
from meridian.measure.epoch import Calendar
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.schema import NetworkSchema
from meridian.node.chain_view import ChainView, Commitment
from meridian.node.sandbox.runner import PythonSandbox
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, NodeKey, address_text, network_id
from meridian.reward.members import PayTerms

Fetch = Callable[[bytes], bytes]
"""Digest -> the bytes that hash to it."""


@dataclass(frozen=True, slots=True)
class EpochWork:
    """Everything that we know and computed about an epoch on our own."""

    commitment: Commitment
    terms: EpochTerms
    observation: Observation
    node_ids: dict[NodeKey, str]


def prepare(
    commitment: Commitment,
    view: ChainView,
    network: bytes,
    calendar: Calendar,
    fetch: Fetch,
    private: Mapping[bytes, PrivateLayer] = MappingProxyType({}),
) -> EpochWork:
    """Fetch, check and evaluate a committed epoch.

    Args:
        commitment: What the chain says.
        view: For committee, schedule and budget.
        network: The 32 bytes of the network.
        calendar: The network's epochs: every job must belong to this one.
        fetch: The published artefacts; what it returns is checked here.
        private: Commitment -> private bundle, of sealed fraud layers.

    Raises:
        InvalidInput: If the published artefacts do not give what was committed: no row may be signed.
        NotFound: If the schedule names code that this version does not have, or the epoch is not open yet.
        RemoteFault: If an artefact or the chain cannot be reached now.
    """
    epoch = commitment.epoch
    manifest = Manifest.decode(_checked(fetch, commitment.manifest, "manifest"))
    if (manifest.epoch, manifest.network_id) != (epoch, network):
        raise InvalidInput("manifest", "it belongs to another epoch or network")
    if (manifest.aggregator, network_id(manifest.network)) != (commitment.aggregator, network):
        raise InvalidInput("manifest", "it names another aggregator or network")
    stated = (manifest.root, manifest.n_nodes, manifest.annotation)
    if stated != (commitment.root, commitment.n_nodes, commitment.annotation):
        raise InvalidInput(
            "manifest", "root, nodes or annotation differ from the commitment on chain"
        )
    function_digest, parameters_digest = view.schedule(epoch)
    function = resolve(function_digest, fetch, PythonSandbox())
    parameters = EvaluationParameters.decode(_checked(fetch, parameters_digest, "parameters"))
    if manifest.schema != parameters.schema:
        raise InvalidInput("schema", "it is not the one that the scheduled parameters name")
    schema = NetworkSchema.decode(_checked(fetch, manifest.schema, "schema"))

    def checked(digest: bytes) -> bytes:
        return _checked(fetch, digest, "artefact")

    nodes, jobs = load_epoch(manifest, schema, checked)
    problems = verify_epoch(manifest, schema, nodes, jobs, calendar)
    if problems:
        raise InvalidInput("commitment", "; ".join(str(problem) for problem in problems[:3]))
    _check_payees(nodes, view)
    digests = {entry.name: entry.digest for entry in manifest.inputs}
    header = RowHeader(
        network=network,
        epoch=epoch,
        commitment=commitment.digest,
        function=function_digest,
        parameters=parameters_digest,
        inputs_root=inputs_root(digests),
    )
    epoch_input = EpochInput(
        epoch=epoch,
        node_ids=nodes.ids,
        node_keys=nodes.keys,
        payees=nodes.payees,
        jobs=jobs,
        inputs={name: checked(digest) for name, digest in digests.items()},
    )
    terms = _terms(header, commitment, parameters, nodes, view)
    names = {NodeKey(key): name for key, name in zip(nodes.keys, nodes.ids, strict=True)}
    layers = active_layers(parameters.layers, checked, private)
    observation = observe(header, epoch_input, function, parameters, layers)
    return EpochWork(commitment, terms, observation, names)


def _terms(
    header: RowHeader,
    commitment: Commitment,
    parameters: EvaluationParameters,
    nodes: Nodes,
    view: ChainView,
) -> EpochTerms:
    epoch = commitment.epoch
    members = view.committee(epoch)
    if not members:
        raise NotFound(f"epoch {epoch} is not open: its members are not fixed")
    return EpochTerms(
        header=header,
        members=members,
        parameters=parameters,
        budget_atto=view.budget_atto(epoch, commitment.block),
        payees={NodeKey(key): payee for key, payee in zip(nodes.keys, nodes.payees, strict=True)},
        rule=view.rule(epoch),
        pay=PayTerms(*view.pay_terms(epoch)[1:]),
        aggregators={commitment.aggregator: 1},
        annotation=commitment.annotation,
    )


def _check_payees(nodes: Nodes, view: ChainView) -> None:
    """Refuse an epoch that would pay somebody else than its nodes registered.

    The payee at the time of the seal may be an older one: a node may have left and registered again since.
    """
    registered: dict[NodeKey, set[Address]] = {}
    for node in view.registrations():
        registered.setdefault(node.key, set()).add(node.payee)
    for name, key, payee in zip(nodes.ids, nodes.keys, nodes.payees, strict=True):
        if payee not in registered.get(key, ()):
            raise InvalidInput(
                "payee", f"{address_text(payee)} is not what {name!r} registered on chain"
            )


def _checked(fetch: Fetch, digest: bytes, what: str) -> bytes:
    data = fetch(digest)
    if digest_of(data) != digest:
        raise InvalidInput(what, f"the published bytes do not hash to {digest.hex()}")
    return data
