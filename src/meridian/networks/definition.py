"""What a network is to Meridian, and what its jobs are when they come from files or a generator.

A network is data: the schema of its records and how they are evaluated, averaged and paid. Nothing of a network may
stand in the layers below.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.flagging import ActiveLayer, check_columns
from meridian.evaluate.function import EvaluationFunction
from meridian.evaluate.layer import Layer
from meridian.evaluate.layered import runnable_layers
from meridian.evaluate.own_functions import function_of
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import function_named
from meridian.evaluate.sealed_layer import SealedLayer, is_sealed
from meridian.evaluate.shipped_layers import layer_named, resolve_layers
from meridian.measure.columns import segment_columns
from meridian.measure.schema import NetworkSchema
from meridian.node.sandbox.runner import PythonSandbox
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address
from meridian.reward.economy import Economy

BATCH_RECORDS: Final = 10_000
"""Records in one batch of a source, at most."""

EPOCHS_MAX: Final = 10_000
"""A file that spans more epochs than this holds a wrong time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDefinition:
    """A network: what is measured and how it is evaluated."""

    name: str
    schema: NetworkSchema
    function: str
    """The name of a shipped function, or of the bundle's."""
    bundle: bytes | None = None
    """A function that the network wrote itself (`evaluate.bundle`)."""
    function_parameters: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Names of fraud layers in the order in which they decide -> their parameters."""
    own_layers: Mapping[str, bytes] = field(default_factory=dict)
    """Artefacts of those that do not ship, public or sealed, by name."""
    aggregate: str = "wmedian"
    allocation: str = "largest_remainder"
    description: str = ""
    """One line for people."""
    scores: Callable[[Mapping[str, int]], Mapping[str, int]] | None = None
    """How the network shows what payees earned, from the sums of their nodes' weights (above 0, by the payee's address in
    lower case); None where weights say it all."""

    reliability: Mapping[str, int] = field(default_factory=dict)
    """How evaluators' reliability is learnt; empty: all count the same for ever."""
    economy: Mapping[str, Any] = field(default_factory=dict)
    """Growth pool, collateral and what is owed (`meridian.reward.economy`)."""

    def __post_init__(self) -> None:
        self.evaluation_function.check(self.function_parameters)
        Economy.of(self.economy)
        if self.economy and self.reward_rule:
            raise InvalidInput("economy", "the contracts recompute this network's rewards")
        check_columns(self.active_layers, segment_columns(self.schema))

    @property
    def evaluation_function(self) -> EvaluationFunction:
        """The function itself."""
        if self.bundle is None:
            return function_named(self.function)
        return function_of(Bundle.decode(self.bundle), PythonSandbox())

    def with_function(self, bundle: bytes, parameters: Mapping[str, Any]) -> "NetworkDefinition":
        """Return the same network with a function of its own.

        Raises:
            InvalidInput: If the bundle is no function, reads a field that the records do not have, or refuses the
                parameters.
        """
        function = Bundle.decode(bundle)
        fields = {"node_id", "job_id", "started_us", "ended_us"}
        fields |= {
            one.name for one in (*self.schema.evaluation_fields, *self.schema.additional_fields)
        }
        for name, field_name in function.columns.items():
            if field_name not in fields:
                raise InvalidInput(f"columns.{name}", f"the records have no field {field_name!r}")
        return replace(
            self, function=function.name, bundle=bundle, function_parameters=dict(parameters)
        )

    @property
    def reward_rule(self) -> int:
        """How a contract can recompute a node's weight from its committed annotation: `deployment.Terms.rule`.

        1, the number of jobs, where that is the function; else 0, not at all: the function reads more than the
        annotation holds.
        """
        own = self.bundle is not None or self.function_parameters or self.layers
        return int(self.function == "count" and not own)

    @property
    def parameters(self) -> EvaluationParameters:
        """The artefact whose digest the contract's schedule holds."""
        return EvaluationParameters(
            dict(self.function_parameters),
            self.aggregate,
            self.allocation,
            self.schema.digest,
            dict(self.reliability),
            dict(self.economy),
            [
                {"layer": digest_of(self.layer_bundles[name]), "parameters": dict(values)}
                for name, values in self.layers.items()
            ],
        )

    @property
    def active_layers(self) -> tuple[ActiveLayer, ...]:
        """The public fraud layers, ready to run."""
        artefacts = {digest_of(data): data for data in self.own_layers.values()}
        return runnable_layers(resolve_layers(self.parameters.layers, artefacts.__getitem__))

    def with_layer(self, artefact: bytes, parameters: Mapping[str, Any]) -> "NetworkDefinition":
        """Return the same network with one more fraud layer, behind those that it has.

        Args:
            artefact: Of a public layer, or the public one of a sealed layer.
            parameters: Of a public layer.

        Raises:
            InvalidInput: If it is no layer, has a name that is taken, or does not suit the records or the parameters.
        """
        name = (SealedLayer if is_sealed(artefact) else Layer).decode(artefact).name
        if name in self.layers:
            raise InvalidInput("layers", f"the network has a layer {name!r} already")
        layers = {**self.layers, name: dict(parameters)}
        return replace(self, layers=layers, own_layers={**self.own_layers, name: artefact})

    @property
    def layer_bundles(self) -> dict[str, bytes]:
        """The artefacts of the fraud layers by name, to be published beside the parameters."""
        return {
            name: self.own_layers.get(name) or layer_named(name).encode() for name in self.layers
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSource:
    """Jobs of a network over some epochs, ready to be submitted in the order of time."""

    definition: NetworkDefinition
    genesis_s: int
    """Start of `first_epoch`, Unix seconds."""
    epoch_seconds: int
    first_epoch: int
    n_epochs: int
    nodes: Mapping[str, Address | None]
    """Node id -> payee, None where the data names none."""
    jobs: int
    """Records in all batches."""
    batches: Callable[[], Iterator[bytes]]
    """Starts an iteration over NDJSON batches of at most `BATCH_RECORDS` records, in the order of ``ended_at``; the last
    record of each batch always has one."""
    budgets_atto: Mapping[int, int] = field(default_factory=dict)
    """Epoch -> its real budget; epochs that are missing have none of their own."""
    inputs: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)
    """Epoch -> auxiliary inputs of its evaluation, by name."""

    def __post_init__(self) -> None:
        if self.epoch_seconds < 1:
            raise InvalidInput("epoch_seconds", f"{self.epoch_seconds} is not a length")
        if not 1 <= self.n_epochs <= EPOCHS_MAX:
            raise InvalidInput(
                "epochs", f"the jobs span {self.n_epochs} epochs, not 1..{EPOCHS_MAX}"
            )

    @property
    def epochs(self) -> range:
        """The epochs, in order; some may be empty."""
        return range(self.first_epoch, self.first_epoch + self.n_epochs)

    def budget_atto(self, epoch: int) -> int | None:
        """Return the real budget of an epoch, None where the data has none."""
        return self.budgets_atto.get(epoch)
