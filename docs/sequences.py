"""The sequence diagrams of docs/explanation/sequences.md: `python docs/sequences.py` draws them anew."""

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "explanation"
COLUMN, ROW, TOP = 170, 44, 56

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2733}.b{fill:#eef2f8;stroke:#5b6b80}.l{stroke:#b9c3d0;stroke-dasharray:4 4}"
    ".a{stroke:#2f5d9b;stroke-width:1.5;fill:none}.h{fill:#2f5d9b}"
    "@media(prefers-color-scheme:dark){text{fill:#dde5ee}.b{fill:#253040;stroke:#8796aa}.l{stroke:#4a5666}"
    ".a{stroke:#8db4ea}.h{fill:#8db4ea}}"
)

Step = tuple[int, int, str]

DIAGRAMS: dict[str, tuple[tuple[str, ...], tuple[Step, ...]]] = {
    "registration": (
        ("operator", "relayer", "Registry"),
        (
            (0, 0, "key; signs node key, payee, nonce"),
            (0, 1, "signed registration"),
            (1, 2, "register_nodes, with the stakes"),
            (2, 2, "checks signature and nonce"),
            (2, 0, "NodeRegistered"),
        ),
    ),
    "job": (
        ("gateway or node", "measure service", "its disk"),
        (
            (0, 1, "POST /v1/jobs: a batch, token or signature"),
            (1, 1, "schema, epoch, seen before?"),
            (1, 2, "one frame, one sync"),
            (1, 0, "reasons for refused records"),
            (1, 0, "signed receipt: root over the accepted"),
            (0, 0, "checks it against its records, keeps it"),
        ),
    ),
    "commitment": (
        ("aggregator", "publication", "Commitments", "anybody"),
        (
            (0, 0, "sort by node and job; hash the trees"),
            (0, 1, "segments, nodes, manifest, log entry"),
            (0, 2, "commit: root, sums, number of nodes, manifest"),
            (2, 3, "Committed"),
            (3, 1, "fetch by digest"),
            (3, 3, "rebuild the root; compare"),
        ),
    ),
    "evaluation": (
        ("evaluator", "other evaluators", "Ephemera", "Evaluations"),
        (
            (0, 0, "rebuild, evaluate: weights, verdicts"),
            (0, 1, "salted hash of the row"),
            (0, 1, "the row, when a quorum has committed"),
            (1, 2, "proposal, votes"),
            (2, 0, "block: one matrix, certificate of q"),
            (0, 0, "weighted median, amounts, claim tree"),
            (0, 1, "signature over the report"),
            (0, 3, "report with q signatures; the first wins"),
        ),
    ),
    "dispute": (
        ("watcher", "Disputes", "aggregator", "referees"),
        (
            (0, 0, "verifies; finds a fault in the window"),
            (0, 1, "proof by arithmetic: judged at once"),
            (0, 1, "or challenge, with a bond: show the row"),
            (2, 1, "answer: row and path; or silence, and guilty"),
            (0, 1, "or escalate, with a bond: a case"),
            (3, 1, "ruling with a quorum of signatures"),
            (1, 2, "stake taken; void; a new term"),
        ),
    ),
    "claim": (
        ("payee", "whoever has gas", "Rewards"),
        (
            (0, 0, "proof from the published claims"),
            (0, 1, "the proof (signed, if for a fee)"),
            (1, 2, "claim: node, cumulative sum, path"),
            (2, 2, "window over? root? more than drawn?"),
            (2, 0, "the difference"),
        ),
    ),
}


def draw(name: str) -> str:
    """One diagram as SVG."""
    lanes, steps = DIAGRAMS[name]
    width, height = COLUMN * len(lanes) + 60, TOP + ROW * len(steps) + 24
    said = escape("; ".join(f"{lanes[a]} to {lanes[b]}: {text}" for a, b, text in steps))
    size = f'viewBox="0 0 {width} {height}" width="{width}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{name}: {said}">',
        f"<style>{STYLE}</style>",
    ]
    for at, lane in enumerate(lanes):
        x = _x(at)
        parts.append(f'<line class="l" x1="{x}" y1="36" x2="{x}" y2="{height - 8}"/>')
        parts.append(f'<rect class="b" x="{x - 72}" y="8" width="144" height="28" rx="5"/>')
        parts.append(f'<text x="{x}" y="27" text-anchor="middle">{escape(lane)}</text>')
    for number, (start, end, text) in enumerate(steps):
        y = TOP + ROW * number + 24
        x, to = _x(start), _x(end)
        if start == end:
            parts.append(f'<path class="a" d="M{x} {y - 12}h26v14h-22"/>')
            parts.append(f'<path class="h" d="M{x + 3} {y + 2}l7 -4v8z"/>')
            anchor, at_x = ("start", x + 32) if start < len(lanes) - 1 else ("end", x - 8)
        else:
            way = 1 if to > x else -1
            parts.append(f'<path class="a" d="M{x} {y}H{to - 4 * way}"/>')
            parts.append(f'<path class="h" d="M{to} {y}l{-8 * way} -4v8z"/>')
            anchor, at_x = ("start", min(x, to) + 8)
        lift = 0 if start == end else 6
        parts.append(
            f'<text x="{at_x}" y="{y - lift}" text-anchor="{anchor}">{escape(text)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _x(lane: int) -> int:
    return 84 + lane * COLUMN


if __name__ == "__main__":
    for one in DIAGRAMS:
        (FOLDER / f"{one}.svg").write_text(draw(one))
