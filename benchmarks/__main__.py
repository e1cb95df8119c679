"""`python -m benchmarks NAME`: one command for every measurement.

A benchmark is a module with `configure(parser)`, which adds its options, and either `measure(**options)` and
`report(result)`, or `run(arguments)`, which prints by itself. Its docstring is its help.
"""

import argparse
import importlib
import json
import sys
from typing import Final

BENCHMARKS: Final = {
    "aggregation": "aggregation",
    "agreement_latency": "agreement_table",
    "capacity": "capacity",
    "commitments_compared": "commitments_compared",
    "day": "day",
    "decode": "decode",
    "evaluation": "evaluation",
    "explorer": "explorer",
    "explorer_pages": "explorer_pages",
    "hashing": "hashing",
    "hidden": "hidden",
    "ingest": "ingest",
    "proofs": "proofs",
    "rows": "large_rows",
    "scale_out": "scale_out",
    "seal": "seal",
    "servers": "servers",
    "spark": "spark_rounds",
    "verification": "verification",
    "while_sealing": "while_sealing",
}
"""Name -> module; a line for each benchmark."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("name", choices=sorted(BENCHMARKS), help="which benchmark")
    name = parser.parse_args(sys.argv[1:2]).name
    module = importlib.import_module(f"benchmarks.{BENCHMARKS[name]}")
    own = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=module.__doc__)
    module.configure(own)
    own.add_argument("--json", action="store_true", help="everything that was measured")
    arguments = own.parse_args(sys.argv[2:])
    if hasattr(module, "run"):
        module.run(arguments)
        return
    options = vars(arguments)
    as_json = options.pop("json")
    result = module.measure(**options)
    print(json.dumps(result, indent=1)) if as_json else module.report(result)


main()
