"""One epoch's work, alone: from the commitments on chain to our own row.

The law: nothing is believed. A manifest must be the one that the chain names; every artefact must hash to its digest;
the jobs must give the committed root; and the function must be exactly the code that the schedule names. Only then is
it evaluated. What counts of several commitments, and of nodes' own, is `meridian.measure.union_epoch`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from meridian.committee.observation import Observation, observed
from meridian.committee.settlement import EpochTerms
from meridian.errors import NotFound
from meridian.evaluate.function import EpochInput
from meridian.evaluate.inputs import inputs_root
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import resolve
from meridian.evaluate.row import RowHeader
from meridian.evaluate.sealed_layer import PrivateLayer
from meridian.evaluate.shipped_layers import active_layers
from meridian.measure.columns import segment_columns
from meridian.measure.epoch import Calendar
from meridian.measure.schema import NetworkSchema
from meridian.measure.union_document import union_document, union_lines
from meridian.measure.union_epoch import (
    FromNode,
    Source,
    UnionEpoch,
    gather_epoch,
    source_of,
    union_inputs,
)
from meridian.node.chain_view import ChainView, Commitment, OwnCommitment
from meridian.node.evaluator.artefacts import Fetch, PublishedArtefacts, checked
from meridian.node.evaluator.engine import Engine
from meridian.node.job_store import JobStore
from meridian.node.sandbox.runner import PythonSandbox
from meridian.primitives.ids import NodeKey
from meridian.reward.members import PayTerms

Keeper = Callable[[pa.Schema], JobStore]
"""The columns of a segment -> what keeps an epoch's jobs while they are evaluated."""


@dataclass(frozen=True, slots=True)
class EpochWork:
    """Everything that we know and computed about an epoch on our own."""

    commitment: Commitment
    terms: EpochTerms
    observation: Observation
    node_ids: dict[NodeKey, str]
    union: bytes | None = None
    """What is published of the contributions; None where there is one alone."""
    contributions: tuple[str, ...] = field(default=())
    """The same for people."""


@dataclass(frozen=True, slots=True)
class Access:
    """What an epoch is worked from.

    Args:
        view: The chain.
        network: The 32 bytes of the network.
        calendar: The network's epochs: every job must belong to its own.
        fetch: The published artefacts; what it returns is checked here.
        private: Commitment -> private bundle, of sealed fraud layers.
        keeper: Where jobs are kept while they are evaluated.
        mirror: Takes the segments of nodes that committed themselves, so that others find them with us.
        gives_up: Whether a node's own segment that nobody publishes now does not count; else it is waited for.
        engine: Where it is evaluated.
    """

    view: ChainView
    network: bytes
    calendar: Calendar
    fetch: Fetch
    private: Mapping[bytes, PrivateLayer] = field(default_factory=dict)
    keeper: Keeper = JobStore
    mirror: Callable[[bytes], object] = bytes
    gives_up: bool = True
    engine: Engine = field(default_factory=Engine)


def prepare(
    commitment: Commitment,
    access: Access,
    contributions: Sequence[Commitment | OwnCommitment] = (),
) -> EpochWork:
    """Fetch, check and evaluate a committed epoch.

    Args:
        commitment: What the chain says; its digest is what a report names.
        access: What it is worked from.
        contributions: All that stands, in the order of events; without any, this commitment alone.

    Raises:
        InvalidInput: If the published artefacts do not give what was committed: no row may be signed.
        NotFound: If the schedule names code that this version does not have, or the epoch is not open yet.
        RemoteFault: If an artefact or the chain cannot be reached now.
    """
    view, epoch = access.view, commitment.epoch
    standing = tuple(contributions) or (commitment,)
    function_digest, parameters_digest = view.schedule(epoch)
    function = resolve(function_digest, access.fetch, PythonSandbox())
    parameters = EvaluationParameters.decode(checked(access.fetch, parameters_digest, "parameters"))
    schema = NetworkSchema.decode(checked(access.fetch, parameters.schema, "schema"))
    union = gather_epoch(
        schema,
        access.calendar,
        epoch,
        [_source(one, access, parameters.schema) for one in standing],
        PublishedArtefacts(access.fetch, view, standing, access.mirror, gives_up=access.gives_up),
        partial(access.keeper, segment_columns(schema)),
    )
    digests = union_inputs(union.counting)
    header = RowHeader(
        network=access.network,
        epoch=epoch,
        commitment=commitment.digest,
        function=function_digest,
        parameters=parameters_digest,
        inputs_root=inputs_root(digests),
    )
    epoch_input = EpochInput(
        epoch=epoch,
        node_ids=union.nodes.ids,
        node_keys=union.nodes.keys,
        payees=union.nodes.payees,
        jobs=union.kept.jobs(union.jobs_by_node),
        inputs={
            name: checked(access.fetch, digest, "artefact") for name, digest in digests.items()
        },
    )
    terms = _terms(header, commitment, parameters, union, view)
    names = {
        NodeKey(key): name for key, name in zip(union.nodes.keys, union.nodes.ids, strict=True)
    }
    layers = active_layers(
        parameters.layers,
        lambda digest: checked(access.fetch, digest, "artefact"),
        access.private,
    )
    evaluation = access.engine.evaluate(
        function, epoch_input, parameters.function, layers, union.kept, union.nodes.job_counts
    )
    observation = observed(header, epoch_input, evaluation)
    document = union_document(epoch, union)
    lines = () if document is None else union_lines(union)
    return EpochWork(commitment, terms, observation, names, document, lines)


def _source(one: Commitment | OwnCommitment, access: Access, schema: bytes) -> Source:
    """Return what was committed, with its manifest."""
    if isinstance(one, OwnCommitment):
        return FromNode(NodeKey(one.node_key), one.tree_hash + one.annotation, one.segment)
    stated = {
        "epoch": one.epoch,
        "network_id": access.network,
        "root": one.root,
        "n_nodes": one.n_nodes,
        "annotation": one.annotation,
        "schema": schema,
    }
    return source_of(checked(access.fetch, one.manifest, "manifest"), one.aggregator, stated)


def _terms(
    header: RowHeader,
    commitment: Commitment,
    parameters: EvaluationParameters,
    union: UnionEpoch[JobStore],
    view: ChainView,
) -> EpochTerms:
    epoch, nodes = commitment.epoch, union.nodes
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
        aggregators=union.counted,
        annotation=union.annotation,
    )
