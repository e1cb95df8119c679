"""The rules of the model `offchain-store`: from the jobs that nodes put into a store to weights and claims.

A node's object is one segment (`measure.columns`) with its own jobs of the epoch, each once, in the order of their keys.
The law: the outcome follows from the locations on chain, the objects that they name, and the function and parameters
that the contract pins. So every evaluator computes it for itself, and no agreement about the input is needed. An object
that is not what was told (another node's jobs, another number, a job twice, another epoch, no segment) does not count
at all, with its reason; nor does one that is not to be had.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, EvaluationFunction
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.parameters import EvaluationParameters
from meridian.measure.columns import (
    column_values,
    read_segment,
    segment_columns,
    write_segment,
)
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.order import node_runs
from meridian.measure.own_records import OwnRecords, own_segment
from meridian.measure.row import job_keys
from meridian.measure.schema import NetworkSchema
from meridian.models.offchain_statements import (
    EXCLUDED_TEXT_MAX,
    UNAVAILABLE,
    Located,
    OutcomeArtefact,
    StoreResult,
    locations_chain,
)
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, NodeKey, node_key
from meridian.reward.allocation import ALLOCATIONS
from meridian.reward.claims import ClaimsState

Fetch = Callable[[Located], bytes | None]
"""Returns the bytes that a location names, as the store has them; None if they are not to be had."""

_SEED_TAG: Final = b"meridian/offchain-store/1"


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


def node_object(records: OwnRecords, schema: NetworkSchema, epoch: int, node_id: str) -> bytes:
    """Return what a node puts into the store: its records of an epoch; the same records give the same bytes."""
    seed = sha256(_SEED_TAG, epoch.to_bytes(8, "big"), node_key(node_id))
    return write_segment(own_segment(records, schema, {}, seed))


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
            tables[one.node_key] = _own_table(rules, epoch, one, data)
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


def _own_table(rules: Rules, epoch: int, told: Located, data: bytes) -> tuple[str, pa.Table]:
    """Return a node's id and jobs, if the object is what its location says.

    Raises:
        InvalidInput: If it is not.
    """
    table = read_segment(data, rules.schema)
    names, _ = node_runs(table.column("node_id"))
    if len(names) != 1 or node_key(names[0]) != told.node_key:
        raise InvalidInput("node_id", "it holds other jobs than the node's own")
    if table.num_rows != told.count:
        raise InvalidInput("count", f"{told.count} jobs were told, and it holds {table.num_rows}")
    if (column_values(table, "flags") & LATE_FLAG).any():
        raise InvalidInput("flags", "a late job has no place in this model")
    strange = rules.calendar.epochs_of(column_values(table, "ended_us")) != epoch
    if strange.any():
        raise InvalidInput("ended_us", f"{int(strange.sum())} jobs do not belong to epoch {epoch}")
    words = np.ascontiguousarray(job_keys(table.column("job_id"))).view(">u8").astype(np.uint64)
    if not _ascending(words):
        raise InvalidInput("job_id", "jobs are not in ascending order of their keys, each once")
    return names[0], table


def _ascending(words: npt.NDArray[np.uint64]) -> bool:
    """Tell whether rows of words ascend strictly."""
    before, after = words[:-1], words[1:]
    undecided = np.ones(len(before), dtype=np.bool_)
    for column in range(words.shape[1]):
        if (undecided & (before[:, column] > after[:, column])).any():
            return False
        undecided &= before[:, column] == after[:, column]
    return not undecided.any()


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
