"""Renews the tables of `docs/models.md` from a comparison that was run, kept in `docs/models.json`.

``python docs/record_models.py FILE`` first takes over the output of ``meridian models compare --json``.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from meridian.cli.model_tables import (
    Row,
    columns,
    cost_rows,
    extrapolations,
    fraud_rows,
    verdict,
)
from meridian.journey.models.comparison import Comparison, read_comparison
from meridian.journey.models.frauds import FRAUDS
from meridian.primitives.amounts import ATTO

ROOT = Path(__file__).resolve().parent
FIGURES, PAGE = ROOT / "models.json", ROOT / "models.md"
BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Take over a comparison, and write the tables."""
    if len(sys.argv) > 1:
        document = json.loads(Path(sys.argv[1]).read_text())
        FIGURES.write_text(json.dumps(document, indent=1) + "\n")
    PAGE.write_text(renewed(PAGE.read_text(), read_comparison(known())))


def known() -> dict[str, object]:
    """Return the comparison that the page shows, as it was printed."""
    document: dict[str, object] = json.loads(FIGURES.read_text())
    document.pop("same_result")
    return document


def renewed(text: str, comparison: Comparison) -> str:
    """Return the page with its measured blocks written anew."""
    made = blocks(comparison)
    return BLOCK.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n\n{match[3]}", text)


def blocks(comparison: Comparison) -> dict[str, str]:
    """Return the page's measured blocks by name."""
    return {
        "summary": _summary(comparison),
        "costs": _table(
            ["what", *(name for name, _ in columns(comparison))], cost_rows(comparison), "---:"
        ),
        "trust": _trust(comparison),
        "frauds": _table(
            ["fraud", *(one.model for one in comparison.models)], fraud_rows(comparison), "---"
        ),
        "endings": _endings(comparison),
    }


def _summary(comparison: Comparison) -> str:
    first = (
        f"{comparison.jobs:,} jobs of {comparison.nodes:,} nodes, one epoch; {verdict(comparison)}."
    )
    return "\n".join([first, *extrapolations(comparison)])


def _table(header: list[str], rows: Iterable[Row], align: str) -> str:
    lines = [header, ["---", *[align] * (len(header) - 1)], *([name, *row] for name, row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _trust(comparison: Comparison) -> str:
    rows = [
        (
            f"`{one.model}`",
            [
                one.facts.summary,
                one.facts.public,
                one.facts.hidden,
                "<br>".join(f"**{party}**: {what}" for party, what in one.facts.trust.items()),
            ],
        )
        for one in comparison.models
    ]
    return _table(["model", "what it is", "public", "hidden", "trust"], rows, "---")


def _endings(comparison: Comparison) -> str:
    lines = []
    for fraud, what in FRAUDS.items():
        lines += [f"**{fraud}**: {what}.", ""]
        for one in comparison.models:
            outcome = one.frauds.get(fraud)
            if outcome is None:
                continue
            word = "Gain" if outcome.gain_atto > 0 else "Loss"
            gain = (
                f" {word}: {abs(outcome.gain_atto) / ATTO:,.2f} coins." if outcome.gain_atto else ""
            )
            otherwise = f" Otherwise: {outcome.otherwise}." if outcome.otherwise else ""
            lines.append(
                f"- `{one.model}`: {outcome.ending.value} ({outcome.by}): {outcome.how}.{gain}{otherwise}"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main()
