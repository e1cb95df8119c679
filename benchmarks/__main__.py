"""`python -m benchmarks NAME`: one command for every measurement."""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import aggregation, agreement_latency, evaluation, spark_rounds, verification
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


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    latency = commands.add_parser("agreement_latency", help=agreement_latency.__doc__)
    latency.add_argument(
        "--n", type=int, nargs="*", help="members; default: the cases of README.md"
    )
    latency.add_argument("--body-bytes", type=int, help="bytes of a row; default: of the case")
    latency.add_argument("--epochs", type=int, default=7, help="measured epochs")
    latency.add_argument(
        "--versus",
        nargs="*",
        default=["production", "equal bodies", "plain TCP", "synchronous=OFF"],
        choices=list(ALTERNATIVES),
        help="what to measure in the same run",
    )
    latency.add_argument("--profile", type=int, default=0, help="epochs under the sampler, apart")
    latency.add_argument("--functions", action="store_true", help="print the sampled functions")
    latency.add_argument("--json", action="store_true")
    rounds = commands.add_parser("spark", help=spark_rounds.__doc__)
    rounds.add_argument("--measurements", type=int, default=1_000_000)
    rounds.add_argument("--stations", type=int, default=20_000)
    rounds.add_argument("--tasks", type=int, default=1_000)
    rounds.add_argument("--json", action="store_true")
    jobs = commands.add_parser("evaluation", help=evaluation.__doc__)
    jobs.add_argument("--jobs", type=int, default=3_000_000)
    jobs.add_argument("--nodes", type=int, default=3_000)
    jobs.add_argument("--threads", type=int, default=1)
    jobs.add_argument("--ways", nargs="*", default=list(evaluation.WAYS), choices=evaluation.WAYS)
    jobs.add_argument(
        "--data", type=Path, help="keep the segments here; use them if they are there"
    )
    jobs.add_argument("--json", action="store_true")
    averages = commands.add_parser("aggregation", help=aggregation.__doc__)
    averages.add_argument("--rows", type=int, default=31)
    averages.add_argument("--nodes", type=int, default=100_000)
    averages.add_argument("--json", action="store_true")
    audit = commands.add_parser("verification", help=verification.__doc__)
    audit.add_argument("--jobs", type=int, default=570_000)
    audit.add_argument("--nodes", type=int, default=3_000)
    audit.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.name == "evaluation":
        found = evaluation.measure(
            arguments.jobs, arguments.nodes, arguments.threads, arguments.ways, arguments.data
        )
        print(json.dumps(found, indent=1)) if arguments.json else evaluation.report(found)
        return
    if arguments.name == "aggregation":
        averaged = aggregation.measure(arguments.rows, arguments.nodes)
        print(json.dumps(averaged, indent=1)) if arguments.json else aggregation.report(averaged)
        return
    if arguments.name == "verification":
        audited = verification.measure(arguments.jobs, arguments.nodes)
        print(json.dumps(audited, indent=1)) if arguments.json else verification.report(audited)
        return
    if arguments.name == "spark":
        result = spark_rounds.measure(arguments.measurements, arguments.stations, arguments.tasks)
        print(json.dumps(result, indent=1)) if arguments.json else spark_rounds.report(result)
        return
    _agreement_latency(arguments)


def _agreement_latency(arguments: argparse.Namespace) -> None:
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


main()
