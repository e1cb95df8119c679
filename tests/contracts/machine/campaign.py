"""One worker's share of a long run of the machine."""

import traceback
from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test
from machine.network_machine import NetworkMachine
from machine.stage import REACHED


def work(job: tuple[int, int, int, int]) -> tuple[Counter[str], str]:
    """Run one worker's examples; return what was reached, and the failure's text, if any."""
    worker, examples, steps, first_seed = job
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    test = get_state_machine_test(NetworkMachine, settings=chosen)
    test = seed(first_seed * 1_000_003 + worker)(test)
    try:
        test()
    except Exception:  # noqa: BLE001 - whatever it is, it is the result
        return REACHED, f"worker {worker}:\n{traceback.format_exc()}"
    return REACHED, ""
