"""The examples of docs/spec: computed from the code, written into the pages.

    .venv/bin/python tests/docs/spec_examples.py            compare the pages with the code
    .venv/bin/python tests/docs/spec_examples.py --write    bring the pages up to date

In a page an example is a fenced block that opens with ``` and `example name=NAME`; what stands in it is replaced.
"""

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import spec_agreement
import spec_broadcast
import spec_chains
import spec_evaluation
import spec_measure
import spec_nym
import spec_reward
import spec_site
import spec_stores
from spec_layout import Example, Layout

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"

PAGES: dict[str, Callable[[], dict[str, Example]]] = {
    "01-encodings-and-tags.md": spec_measure.encodings,
    "02-jobs-and-records.md": spec_measure.jobs,
    "03-commitment.md": spec_measure.commitments,
    "04-receipts-and-ingest.md": spec_measure.receipts,
    "05-evaluation.md": spec_evaluation.evaluation,
    "06-ephemera.md": spec_agreement.ephemera,
    "07-report-and-claims.md": spec_reward.reports,
    "08-contracts.md": spec_reward.contracts,
    "09-publication-and-proofs.md": spec_reward.files,
    "10-broadcast-and-blocks.md": spec_broadcast.broadcast,
    "11-nym.md": spec_nym.nym,
    "12-signature-chains.md": spec_chains.chains,
    "13-columns.md": spec_site.columns,
    "14-stores.md": spec_stores.stores,
}

BLOCK = re.compile(r"^```example name=(?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def examples(page: str) -> dict[str, Example]:
    """The examples of a page, by name."""
    return PAGES[page]()


def rendered(example: Example) -> str:
    return "".join(line.rstrip() + "\n" for line in example.render())


def blocks(text: str) -> dict[str, str]:
    """The examples that stand in a page."""
    found = BLOCK.findall(text)
    names = [name for name, _ in found]
    assert len(set(names)) == len(names), f"twice: {names}"
    return dict(found)


def refreshed(page: str, text: str) -> str:
    """The page with every example as the code has it."""

    def replace(match: re.Match[str]) -> str:
        return f"```example name={match['name']}\n{rendered(examples(page)[match['name']])}```"

    return BLOCK.sub(replace, text)


def layouts(page: str) -> dict[str, Layout]:
    return {name: item for name, item in examples(page).items() if isinstance(item, Layout)}


def main() -> int:
    """Compare or write all pages."""
    write = "--write" in sys.argv[1:]
    stale = 0
    for page in PAGES:
        path = SPEC / page
        text = path.read_text()
        unused = examples(page).keys() - blocks(text).keys()
        if unused:
            print(f"{page}: not shown: {', '.join(sorted(unused))}")
        if refreshed(page, text) != text:
            stale += not write
            print(f"{page}: {'written' if write else 'differs'}")
            if write:
                path.write_text(refreshed(page, text))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
