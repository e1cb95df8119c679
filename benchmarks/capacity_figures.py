"""What the capacity model rests on: measured figures with their source, and assumptions with their reason.

Everything is of one machine with two cores; processor figures are of one core's seconds.
"""

from dataclasses import dataclass
from typing import Final

GIB: Final = 1 << 30
DAY_S: Final = 86_400
MONTH_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its unit, and where it comes from."""

    value: float
    unit: str
    source: str

    @property
    def is_assumed(self) -> bool:
        """Whether nobody measured it here."""
        return self.source.startswith("assumed")


_INGEST: Final = "python -m benchmarks ingest, 2026-11-26, load 2.8 (decision 55)"
_ROWS: Final = "python -m benchmarks rows, docs/capacity.json"
_GAS: Final = "docs/costs.md, tests/contracts/gas.md"

MEASURED: Final = {
    "ingest arrow": Figure(1.71, "us a job", f"{_INGEST}: 583,333 jobs a processor second"),
    "ingest ndjson": Figure(2.97, "us a job", f"{_INGEST}: 336,538 jobs a processor second"),
    "wire arrow": Figure(239.4, "bytes a job", _INGEST),
    "wire ndjson": Figure(758.8, "bytes a job", _INGEST),
    "remembered": Figure(26.6, "bytes a job", "benchmarks/README.md, hashing"),
    "log": Figure(299.4, "bytes a job", "python -m benchmarks seal --jobs 400000 --folder DIR"),
    "tuple": Figure(290, "bytes a job", "docs/decisions/0045-jobs-sorted-as-tuples.md"),
    "segment": Figure(40.8, "bytes a job", "python -m benchmarks day --jobs 600000 --folder DIR"),
    "store": Figure(100.3, "bytes a job", "benchmarks/README.md, proofs"),
    "evaluate": Figure(2.0, "us a job", "docs/scale.md: checks and evaluates 5.7M jobs"),
    "row": Figure(49, "bytes a node", "docs/spec/05-evaluation.md; 49,000,206 bytes of 1M"),
    "gas commit": Figure(79_860, "gas", _GAS),
    "gas report": Figure(306_531, "gas", f"{_GAS}, 31 signatures"),
    "gas open": Figure(66_614, "gas", f"{_GAS}, members as before"),
    "gas settle": Figure(36_602, "gas", f"{_GAS}, budget as before"),
    "gas claim": Figure(71_878, "gas", f"{_GAS}, in a tree of 1,048,576 leaves"),
}
"""By name; what docs/capacity.json measures of rows and claims is read from there."""

SEAL_CURVE: Final = (
    (600_000, 1.67),
    (2_000_000, 1.22),
    (5_700_000, 1.25),
    (30_000_000, 2.02),
)
"""Jobs sealed in one piece -> us a job (docs/scale.md, benchmarks/README.md; 2M: 2026-11-26, load 2.3)."""

ASSUMED: Final = {
    "peak": Figure(1.6, "times the mean", "assumed: a day's curve; no real one is at hand"),
    "headroom": Figure(0.7, "of a resource", "assumed: more is not planned for, at the peak"),
    "cores": Figure(2, "cores", "assumed: the machine that was measured on has two"),
    "memory": Figure(8 * GIB, "bytes", "assumed: 4 GiB for each core"),
    "disk": Figure(250e6, "bytes a second", "assumed: sustained writes of a network SSD"),
    "network": Figure(125e6, "bytes a second", "assumed: 1 Gbit/s each way"),
    "chain gas": Figure(5e6, "gas a second", "assumed: 60M gas each 12 s, as Ethereum's blocks"),
    "chain share": Figure(0.05, "of the chain", "assumed: the rest is other people's"),
    "core hour": Figure(0.04, "USD", "assumed: list prices of large providers are 0.02 to 0.05"),
    "GiB hour": Figure(0.005, "USD", "assumed: memory of such machines"),
    "disk month": Figure(0.08, "USD a GB", "assumed: list price of network SSD"),
    "object month": Figure(0.023, "USD a GB", "assumed: S3 Standard, us-east-1, list price"),
    "egress": Figure(0.09, "USD a GB", "assumed: S3 to the internet, list price; 0 in one region"),
    "gas price": Figure(1e-9, "coins a gas", "assumed: 1 gwei"),
    "coin": Figure(3_000, "USD", "assumed: ether"),
    "keep": Figure(30, "days", "assumed: segments and proof stores are kept so long"),
    "remembered epochs": Figure(3, "epochs", "assumed: the open one and two before (default)"),
    "claims": Figure(1, "a node and month", "assumed: one claim takes all epochs before it"),
}
"""Assumptions by name: `--assume NAME=VALUE` replaces any of them."""


def seal_us(jobs: float) -> float:
    """Return what one job costs when so many are sealed in one piece: between measured points a line, beyond them the last."""
    before = SEAL_CURVE[0]
    for point in SEAL_CURVE:
        if jobs <= point[0]:
            if point[0] == before[0]:
                return point[1]
            part = (jobs - before[0]) / (point[0] - before[0])
            return before[1] + part * (point[1] - before[1])
        before = point
    return before[1]
