"""The cases of `agreement_latency`, each beside its alternatives, as a table."""

import argparse
import json
from typing import Any

from benchmarks.agreement_latency import CASES, Case, Result, measure

ALTERNATIVES: dict[str, dict[str, bool]] = {
    "production": {},
    "equal bodies": {"distinct": False},
    "plain TCP": {"tls": False},
    "synchronous=OFF": {"durable": False},
    "n instances": {"parallel": True},
}

HEAD = "n    row bytes  variant          min ms  median     max  decided  cpu ms  ratio  load"
COUNTERS = (
    "messages_in",
    "frames_out",
    "bytes_out",
    "signature_checks",
    "transactions",
    "records",
    "disk_us",
    "disk_cpu_us",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--n", type=int, nargs="*", help="members; default: the cases of README.md")
    parser.add_argument("--body-bytes", type=int, help="bytes of a row; default: of the case")
    parser.add_argument("--epochs", type=int, default=7, help="measured epochs")
    parser.add_argument(
        "--versus",
        nargs="*",
        default=["production", "equal bodies", "plain TCP", "synchronous=OFF"],
        choices=list(ALTERNATIVES),
        help="what to measure in the same run",
    )
    parser.add_argument("--profile", type=int, default=0, help="epochs under the sampler, apart")
    parser.add_argument("--functions", action="store_true", help="print the sampled functions")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print, case by case."""
    results: list[Result] = []
    if not arguments.json:
        print(HEAD)
    for case in _cases(arguments.n, arguments.body_bytes):
        base_ms: float | None = None
        for name in arguments.versus:
            changes = ALTERNATIVES[name]
            result = measure(case, arguments.epochs, profile=arguments.profile, **changes)
            base_ms = base_ms or result["median_ms"]
            results.append({"name": name, "ratio": result["median_ms"] / base_ms} | result)
            if not arguments.json:
                _print(results[-1], functions=arguments.functions)
    if arguments.json:
        print(json.dumps(results, indent=1))


def _cases(members: list[int] | None, body_bytes: int | None) -> list[Case]:
    known = {case.n: case for case in CASES}
    out = []
    for n in members or known:
        case = known.get(n, Case(n, 1 << 10, 0))
        out.append(case if body_bytes is None else Case(n, body_bytes, 0))
    return out


def _print(result: Result, *, functions: bool) -> None:
    r, c = result, result["counters"]
    print(
        f"{r['n']:<4} {r['body_bytes']:>9}  {r['name']:<15} {r['min_ms']:>7.1f} {r['median_ms']:>7.1f}"
        f" {r['max_ms']:>7.1f} {r['decided_median_ms']:>8.1f} {r['cpu_ms']:>7.0f}"
        f" {r['ratio']:>6.2f} {r['load']:>5.1f}"
    )
    print("     ", ", ".join(f"{name} {c.get(name, 0)}" for name in COUNTERS), flush=True)
    if r["profile"] is not None:
        _print_profile(r["profile"], functions=functions)


def _print_profile(profile: dict[str, Any], *, functions: bool) -> None:
    total = sum(profile["subjects"].values())
    shares = sorted(profile["subjects"].items(), key=lambda item: -item[1])
    print("     ", ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in shares))
    if functions:
        for name, count in sorted(profile["functions"].items(), key=lambda item: -item[1]):
            print(f"{count:9d} {name}")
