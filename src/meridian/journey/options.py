"""What a run may be asked for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput
from meridian.networks.definition import JobSource
from meridian.primitives.amounts import ATTO
from meridian.primitives.keys import PrivateKey

SABOTAGE_MODES: Final = ("dead", "garbage")

DEFAULT_BUDGET_ATTO: Final = 1000 * ATTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of `meridian run` and `meridian demo`."""

    data_dir: Path
    evaluators: int = 4
    budget_atto: int | None = None
    """Budget of every epoch; None means the source's own, else `DEFAULT_BUDGET_ATTO`."""
    challenge_seconds: int = 3
    """Length of the challenge window on chain."""
    claims_max: int | None = None
    """Greatest number of nodes that claim in each epoch; None means all."""
    kill_evaluator: bool = False
    """Kill one evaluator with SIGKILL in mid-epoch and restart it later."""
    sabotage: tuple[tuple[int, str], ...] = ()
    """(evaluator number from 1, mode): evaluators that are dead from the start or send garbage."""
    decide_timeout_s: float = 600.0
    """How long an epoch may take from its commitment to its report."""
    keep: bool = False
    """Leave the processes running until interrupted, and serve the explorer from the start."""
    web_port: int = 0
    """Where the explorer should listen with `keep`; if it is taken, or 0, anywhere."""
    following: Callable[[int], JobSource] | None = None
    """With `keep`: makes a further epoch of the network from its number; None: there are none."""
    live_seconds: float = 30.0
    """How long the jobs of a further epoch take to come in."""
    chain_url: str | None = None
    """JSON-RPC endpoint of a chain that runs already; None: an embedded chain of the run's own."""
    private_layers: Path | None = None
    """Directory with the private bundles of sealed fraud layers, for the evaluators."""
    bank: PrivateKey | None = None
    """Gives the run's accounts their coins on such a chain."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; the option is named."""
        if not 1 <= self.evaluators <= 31:
            raise InvalidInput("--evaluators", f"{self.evaluators} is not in 1..31")
        if self.budget_atto is not None and not 0 <= self.budget_atto < 1 << 96:
            raise InvalidInput("--budget-atto", "must be an integer in 0..2^96-1")
        if not 0 <= self.challenge_seconds <= 10**9:
            raise InvalidInput("--challenge-seconds", "must be in 0..10^9")
        if self.claims_max is not None and self.claims_max < 0:
            raise InvalidInput("--claims", f"{self.claims_max} is not a number of nodes")
        if not 0 < self.decide_timeout_s < math.inf:  # a NaN would wait for ever
            raise InvalidInput("--decide-timeout-s", "must be a number of seconds above 0")
        if not 0 <= self.web_port < 1 << 16:
            raise InvalidInput("--web-port", f"{self.web_port} is not in 0..65535")
        if not 0 < self.live_seconds <= 3600:
            raise InvalidInput("--live-seconds", "must be above 0 and at most 3600")
        for number, mode in self.sabotage:
            if not 1 <= number <= self.evaluators:
                raise InvalidInput("--sabotage", f"there is no evaluator {number}")
            if mode not in SABOTAGE_MODES:
                raise InvalidInput("--sabotage", f"{mode!r} is none of {', '.join(SABOTAGE_MODES)}")
        numbers = [number for number, _ in self.sabotage]
        if len(set(numbers)) != len(numbers):
            raise InvalidInput("--sabotage", "an evaluator is named twice")
        if (self.chain_url is None) != (self.bank is None):
            raise InvalidInput(
                "--bank-key", "goes with --chain-url: it pays for the run's accounts"
            )
        if self.kill_evaluator and len(numbers) == self.evaluators:
            raise InvalidInput("--kill-evaluator", "no evaluator is left to kill")
