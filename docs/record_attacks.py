"""Renews `docs/attacks.svg`: draws 100,000 trials of each attack on seven evaluators, and the sleepers.

Run it from the checkout: ``.venv/bin/python docs/record_attacks.py``.
"""

import io
from pathlib import Path

from record import WIDTH, without_fonts
from rich.console import Console

from meridian.cli.average_tables import print_cells, print_slept
from meridian.sim.attack.sleeper import run_sleepers
from meridian.sim.attack.strategies import STRATEGIES
from meridian.sim.attack.trials import run_trials

TRIALS, WORLDS, SEED = 100_000, 400, 1
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Draw the table and write the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    print_cells(console, run_trials(7, TRIALS, SEED), STRATEGIES)
    print_slept(console, [run_sleepers(n, WORLDS, SEED) for n in (4, 7, 13, 31)])
    picture = without_fonts(console.export_svg(title="meridian attack-sim"))
    (ROOT / "docs" / "attacks.svg").write_text(picture)


if __name__ == "__main__":
    main()
