"""What a measurement model is to whoever runs or compares it: run jobs, verify an epoch, play a named fraud.

The law: what a model says about itself is measured. Costs are read from its chain, its files and its processes when the
work is done; the outcome of a fraud is what happened when it was played.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from meridian.audit.evidence import Link
from meridian.errors import InvalidInput
from meridian.journey.options import DEFAULT_BUDGET_ATTO
from meridian.journey.watching import Watcher
from meridian.networks.definition import JobSource

COMMITMENTS: Final = ("merkle", "kzg")
MAIN_CHAIN: Final = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Options of a model's run; each model takes those of `COMMON_OPTIONS` and of its own `takes`."""

    data_dir: Path
    budget_atto: int | None = None
    """Budget of every epoch; None means the source's own, else `DEFAULT_BUDGET_ATTO`."""
    claims_max: int | None = None
    """Greatest number of nodes that are paid in each epoch; None means all."""
    batch: bool = True
    """Many jobs in one transaction; else each in its own (naive)."""
    store: str = "local"
    """Driver of the store (offchain-store)."""
    relay: bool = True
    """One party sends the nodes' signed summaries together; else each node sends its own (summary)."""
    commitment: str = "merkle"
    """How a node commits to its jobs: one of `COMMITMENTS` (summary)."""
    evaluators: int = 4
    """Evaluators who sign a result (orchestrator, offchain-store), or validators (subnet)."""
    challenge_seconds: int = 3
    """Length of the challenge window on chain."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; the option is named."""
        if self.budget_atto is not None and not 0 <= self.budget_atto < 1 << 96:
            raise InvalidInput("--budget-atto", "must be an integer in 0..2^96-1")
        if self.claims_max is not None and self.claims_max < 0:
            raise InvalidInput("--claims", f"{self.claims_max} is not a number of nodes")
        if self.commitment not in COMMITMENTS:
            raise InvalidInput("--commitment", f"{self.commitment!r} is none of {COMMITMENTS}")
        if not 1 <= self.evaluators <= 31:
            raise InvalidInput("--evaluators", f"{self.evaluators} is not in 1..31")
        if not 0 <= self.challenge_seconds <= 10**9:
            raise InvalidInput("--challenge-seconds", "must be in 0..10^9")

    def budget_of(self, source: JobSource, epoch: int) -> int:
        """Return what an epoch pays, atto."""
        if self.budget_atto is not None:
            return self.budget_atto
        real = source.budget_atto(epoch)
        return DEFAULT_BUDGET_ATTO if real is None else real


COMMON_OPTIONS: Final = frozenset({"data_dir", "budget_atto", "claims_max"})
"""Options that every model takes."""


class Phase(enum.StrEnum):
    """When a transaction is paid for."""

    SET_UP = "set up"
    """Once for a network: contracts, registrations, stakes, funds."""
    EPOCH = "epoch"
    """For each epoch."""
    PAYMENT = "payment"
    """When a node takes its money out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What the transactions of one kind cost together."""

    name: str
    """As ``Contract.function``, or ``deploy Contract``."""
    phase: Phase
    transactions: int
    gas: int
    calldata_bytes: int
    chain: str = MAIN_CHAIN
    """Another name where the transactions are on a chain of the model's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a run cost. Sums over steps are those of the main chain."""

    steps: Sequence[StepCost]
    stored_bytes: int
    """Published off chain, for everybody to read."""
    private_bytes: int
    """Kept by nodes, shown to nobody unless asked."""
    cpu_s: Mapping[str, float]
    """Party (``nodes``, ``chain``, ``evaluators``, ...) -> processor seconds."""

    def of(self, *phases: Phase, chain: str = MAIN_CHAIN) -> list[StepCost]:
        """Return the steps of some phases (none named: all) on a chain."""
        wanted = phases or tuple(Phase)
        return [one for one in self.steps if one.chain == chain and one.phase in wanted]

    @property
    def transactions(self) -> int:
        """Transactions on the main chain."""
        return sum(one.transactions for one in self.of())

    @property
    def gas(self) -> int:
        """Gas on the main chain."""
        return sum(one.gas for one in self.of())

    @property
    def calldata_bytes(self) -> int:
        """Bytes of call data and of creation code on the main chain."""
        return sum(one.calldata_bytes for one in self.of())


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    """What a run did."""

    result: dict[str, Any]
    """``{"epochs": [...]}`` as `reward.result` makes it; fields that a model does not have are empty or null."""
    costs: Costs
    broken: Mapping[int, str] = field(default_factory=dict)
    """Epoch -> the first link of its chain of evidence that breaks; empty when all verify."""


class Ending(enum.StrEnum):
    """How a fraud ended."""

    PREVENTED = "prevented"
    """It was refused or had no effect; nobody had to look."""
    CAUGHT = "caught"
    """It had an effect, and somebody could show it from what is public, before or after it paid."""
    UNNOTICED = "unnoticed"
    """It paid, and nothing that is public shows it."""
    IMPOSSIBLE = "impossible"
    """Nobody is in the place to do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FraudOutcome:
    """How a fraud ended when it was played."""

    fraud: str
    """One of `frauds.FRAUDS`."""
    ending: Ending
    by: str
    """Who or what ended it: ``contract``, ``verify``, ``challenger``, ...; ``nobody`` where nothing did."""
    how: str
    """One line of what happened: the reason of the revert, the broken link, the slashing transaction."""
    gain_atto: int = 0
    """What the cheat was paid beyond the honest run, in the end."""
    otherwise: str = ""
    """Where a second play ended differently: what was different, and how it ended (a fraud layer, say)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What no run can measure: what is public, and who is believed."""

    summary: str
    """One line."""
    public: str
    """What everybody can read."""
    hidden: str
    """What nobody else can."""
    trust: Mapping[str, str]
    """Party -> what it must be trusted for."""


class Model(Protocol):
    """A measurement model."""

    @property
    def name(self) -> str:
        """As in ``meridian run --model``."""

    @property
    def facts(self) -> Facts:
        """What no run can measure."""

    @property
    def takes(self) -> frozenset[str]:
        """Fields of `ModelOptions` that it takes beyond the common ones."""

    def run(self, source: JobSource, options: ModelOptions, watcher: Watcher) -> ModelRun:
        """Take jobs to payments; on the same directory again it does only what is missing, and pays nothing twice.

        Raises:
            InvalidInput: If the directory holds another network or model, or the model cannot evaluate the network.
        """

    def verify(self, data_dir: Path, epoch: int) -> list[Link]:
        """Recompute an epoch from what is public.

        Raises:
            NotFound: If there is no such epoch.
        """

    def fraud(self, name: str, root: Path) -> FraudOutcome:
        """Play a fraud of `frauds.FRAUDS` in a small world of its own under an empty directory.

        Raises:
            NotFound: If there is no fraud of that name.
        """
