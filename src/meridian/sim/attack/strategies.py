"""What f liars say, who know the truth, each other, and everything that the honest evaluators said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.sim.attack.draws import I64, MISSING, Drawn

SCALE: Final = 10
BIAS: Final = 130
STEALTH: Final = 106
_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to lie."""

    name: str
    says: Callable[[Drawn], I64]
    """Returns liars x trials."""
    description: str
    gains: str
    """Who does, if it works."""


def _all_say(drawn: Drawn, values: I64) -> I64:
    return np.broadcast_to(values, (drawn.liars, len(values)))


def honest_range(drawn: Drawn) -> tuple[I64, I64]:
    """Return the least and the greatest honest value of each trial; an empty range (1, 0) where nobody spoke."""
    spoken = drawn.honest != MISSING
    low = np.where(spoken, drawn.honest, np.iinfo(np.int64).max).min(axis=0)
    high = np.where(spoken, drawn.honest, MISSING).max(axis=0)
    nobody = ~spoken.any(axis=0)
    return np.where(nobody, 1, low), np.where(nobody, 0, high)


def _scaling(drawn: Drawn) -> I64:
    return _all_say(drawn, drawn.truth * SCALE)


def _bias(drawn: Drawn) -> I64:
    return _all_say(drawn, drawn.truth * BIAS // _PERCENT)


def _stealth(drawn: Drawn) -> I64:
    return _all_say(drawn, drawn.truth * STEALTH // _PERCENT)


def _zeroing(drawn: Drawn) -> I64:
    return _all_say(drawn, np.zeros_like(drawn.truth))


def _collusion(drawn: Drawn) -> I64:
    """Say the highest honest value: nothing can tell it from a noisy evaluator's."""
    return _all_say(drawn, honest_range(drawn)[1])


def _copycat(drawn: Drawn) -> I64:
    """Repeat the first evaluator, gaps and all: saves the work, and doubles its errors."""
    return _all_say(drawn, drawn.honest[0])


def _silence(drawn: Drawn) -> I64:
    return _all_say(drawn, np.full_like(drawn.truth, MISSING))


STRATEGIES: Final = (
    Strategy("scaling", _scaling, f"the node's value times {SCALE}", "the node gains"),
    Strategy("bias", _bias, f"the node's value plus {BIAS - _PERCENT} %", "the node gains"),
    Strategy(
        "stealth", _stealth, f"plus {STEALTH - _PERCENT} %, inside the noise", "the node gains"
    ),
    Strategy("zeroing", _zeroing, "the node did nothing", "its rivals gain"),
    Strategy(
        "collusion", _collusion, "the highest value that an honest evaluator said", "the node"
    ),
    Strategy("copycat", _copycat, "what the first evaluator said, without work", "the liars gain"),
    Strategy("silence", _silence, "nothing, so that too few speak", "its rivals gain"),
)
