"""One batch of a long run of the machine."""

import traceback
from collections import Counter
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test
from machine.different import different_examples
from machine.network_machine import NetworkMachine
from machine.stage import REACHED


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples with a seed of their own: what repeats a failure."""

    number: int
    examples: int
    steps: int
    seed: int


def run(batch: Batch) -> tuple[Batch, Counter[str], str]:
    """Run a batch; return what was reached, and the failure's text, if any."""
    REACHED.clear()
    chosen = settings(
        max_examples=batch.examples,
        stateful_step_count=batch.steps,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    test = get_state_machine_test(NetworkMachine, settings=chosen)
    test = seed(batch.seed * 1_000_003 + batch.number)(test)
    try:
        with different_examples():
            test()
    except Exception:  # noqa: BLE001 - whatever it is, it is the result
        return batch, Counter(REACHED), traceback.format_exc()
    return batch, Counter(REACHED), ""
