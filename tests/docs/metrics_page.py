"""docs/metrics.md from the code: every family that is made anywhere. `python tests/docs/metrics_page.py --write` renews it."""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "metrics.md"
KINDS = {"GaugeMetricFamily": "gauge", "CounterMetricFamily": "counter"}
WRAPPED = {"_gauge": "gauge", "_counter": "counter"}
"""Of the broadcast node, whose names get a prefix."""

INTRODUCTION = """\
# Metrics

Each server process gives Prometheus metrics at `/metrics`: the measure service, the witness, the explorer's server, the embedded
chain and the broadcast node on their own port, evaluators and watchers on the port of `observe_port` (`--observe-port`). Every process also
gives `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` and the other `process_*` metrics of the Prometheus
client. The broadcast node also counts by name what its links and drivers do (`ephemera_link_*` with the label `member`,
`ephemera_driver_*`, `ephemera_agreement_*`). Counters end in `_total`. Labels have few values, never anything that a stranger chooses.

This page is made from the code, and a test compares it; the [dashboard](../deploy/grafana/meridian.json) and the
[alerts](../deploy/prometheus/alerts.yml) are held against a running network. How to use them: [Operating](operating.md).

| metric | kind | labels | what it is |
|---|---|---|---|
"""


@dataclass(frozen=True, order=True)
class Family:
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def families() -> list[Family]:
    """Every family with a name that stands in the code; `NAME` stands for a part that is counted by name."""
    found = set()
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found |= {one for one in (_family(node, node.func.id),) if one is not None}
    return sorted(found)


def _family(call: ast.Call, function: str) -> Family | None:
    kind = KINDS.get(function) or WRAPPED.get(function)
    if (
        kind is None
        or len(call.args) < 2
        or not isinstance(call.args[1], ast.Constant | ast.JoinedStr)
    ):
        return None
    name, text = _text(call.args[0]), _text(call.args[1])
    if name is None or text is None or (function in KINDS and name.startswith("ephemera_NAME")):
        return None
    prefix = "ephemera_" if function in WRAPPED else ""
    labels = [word.value for word in call.keywords if word.arg == "labels"]
    names = tuple(ast.literal_eval(labels[0])) if labels else ()
    suffix = "_total" if kind == "counter" else ""
    return Family(f"{prefix}{name}{suffix}", kind, names, text)


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (one.value if isinstance(one, ast.Constant) else "NAME" for one in node.values)
        return "".join(map(str, parts))
    return None


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.text} |"
        for one in families()
    ]
    return INTRODUCTION + "\n".join(rows) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    print(page())
