"""What an evaluator of `offchain-store` does: everything from chain and store, then a signature that a quorum shares."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import RemoteFault
from meridian.journey.models import offchain_network
from meridian.journey.models.offchain_network import StoreNetwork
from meridian.journey.models.offchain_stores import RunStore
from meridian.measure.columns import one_chunk
from meridian.measure.epoch import Calendar
from meridian.models.offchain import Rules, StoreOutcome, evaluate_store
from meridian.models.offchain_statements import StoreResult
from meridian.networks.definition import JobSource
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey


def rules_of(source: JobSource) -> Rules:
    """Return the rules of a source's network.

    Raises:
        InvalidInput: If the model cannot evaluate it.
    """
    definition = source.definition
    return Rules(
        schema=definition.schema,
        calendar=Calendar(source.genesis_s, source.epoch_seconds, source.first_epoch),
        function=definition.evaluation_function,
        parameters=definition.parameters,
        layers=definition.active_layers,
    )


def artefacts_of(source: JobSource) -> list[bytes]:
    """Return what the sponsor publishes, so that an outsider can evaluate."""
    definition = source.definition
    return [
        definition.evaluation_function.bundle,
        definition.parameters.encode(),
        definition.schema.encode(),
        *definition.layer_bundles.values(),
    ]


def evaluate_on_chain(
    network: StoreNetwork, store: RunStore, rules: Rules, epoch: int
) -> StoreOutcome:
    """Return what one evaluator finds: everything from chain and store, nothing from anybody else."""
    contract = network.contract
    operators = offchain_network.operators_of(contract)
    return evaluate_store(
        rules,
        epoch,
        offchain_network.located_in(contract, epoch),
        offchain_network.payees_of(contract),
        contract.read("budgets", epoch),
        lambda one: store.fetch(operators[one.node_key], one.object),
    )


def sign_result(
    network: StoreNetwork, keys: Sequence[PrivateKey], results: Sequence[StoreResult]
) -> tuple[StoreResult, dict[Address, bytes]]:
    """Return the result that most evaluators found, with their signatures.

    Args:
        network: The network.
        keys: The evaluators'.
        results: What each of them found.

    Raises:
        RemoteFault: If no quorum found the same.
    """
    most = max(results, key=results.count)
    digest = most.digest(network.domain, network.network)
    signatures = {
        key.address: key.sign(digest)
        for key, found in zip(keys, results, strict=True)
        if found == most
    }
    if len(signatures) < network.contract.read("quorum"):
        raise RemoteFault(f"no quorum of evaluators finds the same about epoch {most.epoch}")
    return most, signatures


def by_node(jobs: pa.Table) -> dict[str, pa.Table]:
    """Return an epoch's records by node id, in the order of ids."""
    # Stable: of two records of one job the first one counts.
    ordered = jobs.take(pc.sort_indices(jobs, sort_keys=[("node_id", "ascending")]))
    found, start = {}, 0
    for run in pc.value_counts(one_chunk(ordered.column("node_id"))):
        size = run["counts"].as_py()
        found[run["values"].as_py()] = ordered.slice(start, size)
        start += size
    return found
