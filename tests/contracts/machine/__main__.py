"""Run the machine at length: ``python -m tests.contracts.machine --examples 20000 --steps 100 --seed 1``.

The examples are run in batches, each from a seed of its own, on all cores. A line for each batch says how far it is. A
failure is shown as the shortest list of steps that Hypothesis found for it; the same ``--seed`` and ``--batch N`` run
that batch alone. At the end: how often every function succeeded and every reason was given.
"""

import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

import click

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where the tests find each other

BATCH = 50
"""Examples; so few that a failing batch is repeated in a minute."""


@click.command()
@click.option("--examples", type=click.IntRange(1), default=200, show_default=True)
@click.option("--steps", type=int, default=60, show_default=True, help="At most, in each example.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--workers", type=int, default=os.cpu_count(), show_default="all cores")
@click.option("--batch", type=int, help="Run only this batch.")
@click.option("--minutes", type=float, help="Begin no further batch after this time.")
def command(
    examples: int, steps: int, seed: int, workers: int, batch: int | None, minutes: float | None
) -> None:
    """Compare contracts and model over many examples; exit 1 if they differ anywhere."""
    from machine.campaign import Batch, run

    began = time.monotonic()
    numbers = range(-(-examples // BATCH)) if batch is None else [batch]
    waiting = [Batch(i, min(BATCH, examples - i * BATCH), steps, seed) for i in numbers]
    of, done, failed = len(waiting), 0, ""
    reached: Counter[str] = Counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = set()
        while not failed and (waiting or running):
            over = minutes is not None and time.monotonic() - began > 60 * minutes
            waiting = [] if over else waiting
            while waiting and len(running) < workers:
                running.add(pool.submit(run, waiting.pop(0)))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                ended, counts, text = future.result()
                reached += counts
                done += 0 if text else ended.examples
                took = time.monotonic() - began
                said = "they DIFFER" if text else f"{done} examples without a difference"
                print(f"batch {ended.number} of {of}: {said} ({took:.0f} s)", flush=True)
                if text:
                    failed = f"batch {ended.number}:\n{text}"
    for name, count in sorted(reached.items()):
        print(f"{count:9} {name}")
    took = time.monotonic() - began
    print(
        f"{done} examples of up to {steps} steps without a difference in {took:.0f} s, seed {seed}"
    )
    if failed:
        print(f"{failed}\nrepeat: the same options with --batch and the batch's number")
        sys.exit(1)


if __name__ == "__main__":
    command()
