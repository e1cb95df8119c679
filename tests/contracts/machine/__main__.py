"""Run the machine at length: ``python -m tests.contracts.machine --examples 20000 --steps 100 --seed 1``.

Every worker runs its share of the examples from its own seed. A failure is shown as the shortest list of steps that
Hypothesis found for it; ``--seed`` and ``--worker`` of the failing worker repeat it. At the end: how often every
function succeeded and every reason was given.
"""

import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where the tests find each other


@click.command()
@click.option("--examples", type=int, default=200, show_default=True)
@click.option("--steps", type=int, default=60, show_default=True, help="At most, in each example.")
@click.option("--seed", "first_seed", type=int, default=1, show_default=True)
@click.option("--workers", type=int, default=os.cpu_count(), show_default="all cores")
@click.option("--worker", type=int, help="Repeat only this worker's share.")
def command(examples: int, steps: int, first_seed: int, workers: int, worker: int | None) -> None:
    """Compare contracts and model over many examples; exit 1 if they differ anywhere."""
    share = -(-examples // workers)
    jobs = [(i, share, steps, first_seed) for i in range(workers) if worker in {None, i}]
    began = time.monotonic()
    from machine.campaign import work

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(jobs), mp_context=context) as pool:
        results = list(pool.map(work, jobs))
    reached: Counter[str] = sum((counter for counter, _ in results), Counter())
    for name, count in sorted(reached.items()):
        print(f"{count:9} {name}")
    failures = [text for _, text in results if text]
    took = time.monotonic() - began
    print(f"{share * len(jobs)} examples of up to {steps} steps in {took:.0f} s, seed {first_seed}")
    for text in failures:
        print(text)
    if failures:
        print(f"repeat: the same options with --workers {workers} --worker N of the failing worker")
        sys.exit(1)


if __name__ == "__main__":
    command()
