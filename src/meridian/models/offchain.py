"""The rules of the model `offchain-store`: from the jobs that nodes put into a store to weights and claims.

The law: the outcome follows from the locations on chain, the objects that they name, and the function and parameters
that the contract pins. So every evaluator computes it for itself, and no agreement about the input is needed. An object
that is not what was told (another node's jobs, another number, a job twice, another epoch, no segment) does not count
at all, with its reason; nor does one that is not to be had.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, EvaluationFunction
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.parameters import EvaluationParameters
from meridian.measure.columns import (
    column_values,
    segment_columns,
)
from meridian.measure.epoch import Calendar
from meridian.measure.schema import NetworkSchema
from meridian.models.offchain_object import own_table
from meridian.models.offchain_statements import (
    EXCLUDED_TEXT_MAX,
    UNAVAILABLE,
    Located,
    OutcomeArtefact,
    StoreResult,
    locations_chain,
)
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, NodeKey, node_key
from meridian.reward.allocation import ALLOCATIONS
from meridian.reward.claims import ClaimsState

Fetch = Callable[[Located], bytes | None]
"""Returns the bytes that a location names, as the store has them; None if they are not to be had."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How jobs become money."""

    schema: NetworkSchema
    calendar: Calendar
    function: EvaluationFunction
    parameters: EvaluationParameters
    layers: Sequence[ActiveLayer] = ()

    def __post_init__(self) -> None:
        if self.parameters.economy or self.parameters.reliability:
            raise InvalidInput(
                "--network", "this model has no economy and no reliability of evaluators' rows"
            )


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What an evaluator finds about an epoch."""

    epoch: int
    node_ids: Mapping[NodeKey, str]
    weights: Mapping[NodeKey, int]
    """Of the nodes that count, ascending by key."""
    excluded: Mapping[NodeKey, str]
    """Node -> why its jobs do not count."""
    jobs: int
    amounts: Mapping[NodeKey, int]
    """Atto of each node that counts."""
    claims: ClaimsState

    @property
    def artefact(self) -> OutcomeArtefact:
        """What is published."""
        return OutcomeArtefact(self.epoch, dict(self.weights), dict(self.excluded))

    def result(self, located: Sequence[Located], rules: Rules) -> StoreResult:
        """Return what the evaluator signs."""
        return StoreResult(
            epoch=self.epoch,
            locations=locations_chain(located),
            outcome=self.artefact.digest,
            function_digest=rules.function.digest,
            parameters_digest=rules.parameters.digest,
            reward_root=self.claims.reward_root,
            total=self.claims.total,
        )


def evaluate_store(
    rules: Rules,
    epoch: int,
    located: Sequence[Located],
    payees: Mapping[NodeKey, Address],
    budget_atto: int,
    fetch: Fetch,
    given_up: Collection[NodeKey] = (),
) -> StoreOutcome:
    """Return the outcome of an epoch.

    Args:
        rules: The network's.
        epoch: The epoch.
        located: All locations of the epoch, in their order on chain.
        payees: Who is paid for each node, as on chain.
        budget_atto: What the epoch pays.
        fetch: The store.
        given_up: Nodes that a quorum found unavailable: they do not count, whatever the store has now.

    Raises:
        InvalidInput: If the function refuses the jobs.
    """
    tables: dict[NodeKey, tuple[str, pa.Table]] = {}
    excluded: dict[NodeKey, str] = {}
    for one in located:
        data = None if one.node_key in given_up else fetch(one)
        if data is None or digest_of(data) != one.object:
            excluded[one.node_key] = UNAVAILABLE
            continue
        try:
            tables[one.node_key] = own_table(rules.schema, rules.calendar, epoch, one, data)
        except InvalidInput as error:
            excluded[one.node_key] = str(error)[:EXCLUDED_TEXT_MAX]
    keys = sorted(tables)
    weights = _weights(rules, epoch, [tables[key] for key in keys], [payees[key] for key in keys])
    amounts = ALLOCATIONS[rules.parameters.allocation](weights, budget_atto)
    return StoreOutcome(
        epoch=epoch,
        node_ids={key: tables[key][0] for key in keys},
        weights=dict(zip(keys, weights, strict=True)),
        excluded=dict(sorted(excluded.items())),
        jobs=sum(table.num_rows for _, table in tables.values()),
        amounts=dict(zip(keys, amounts, strict=True)),
        claims=ClaimsState.empty().advance(
            {key: (payees[key], amount) for key, amount in zip(keys, amounts, strict=True)}
        ),
    )


def _weights(
    rules: Rules, epoch: int, nodes: Sequence[tuple[str, pa.Table]], payees: Sequence[Address]
) -> list[int]:
    if not nodes:
        return []
    counts = [table.num_rows for _, table in nodes]
    jobs = pa.concat_tables(
        [table.select(segment_columns(rules.schema).names) for _, table in nodes]
    )
    numbers = pa.array(np.repeat(np.arange(len(nodes)), counts), pa.int64())
    evaluation = evaluate_layered(
        rules.function,
        EpochInput(
            epoch=epoch,
            node_ids=tuple(name for name, _ in nodes),
            node_keys=tuple(node_key(name) for name, _ in nodes),
            payees=tuple(payees),
            jobs=jobs.append_column("node", numbers),
            inputs={},
        ),
        rules.parameters.function,
        rules.layers,
    )
    return [weight or 0 for weight in evaluation.weights]


def whole_records(tables: Sequence[pa.Table], calendar: Calendar) -> dict[int, pa.Table]:
    """Return decoded records by epoch, so that each is looked through once."""
    whole = pa.concat_tables(tables)
    epochs = calendar.epochs_of(column_values(whole, "ended_us"))
    return {
        int(epoch): whole.filter(pc.equal(pa.array(epochs), int(epoch)))
        for epoch in np.unique(epochs)
    }
