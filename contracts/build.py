"""Compile the contracts into the artefacts that the package ships.

Nothing is compiled at run time: the package holds ABI, bytecode and storage layout, and a test compiles the sources
again and compares every byte. The output depends on the sources and the compiler's version only, not on paths, time
or hash seeds.

    python contracts/build.py            write src/meridian/contracts/artefacts/*.json
    python contracts/build.py --check    compare, write nothing, exit 1 if anything differs
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import vyper
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle

SOURCES = Path(__file__).resolve().parent
ARTEFACTS = SOURCES.parent / "src" / "meridian" / "contracts" / "artefacts"
CONTRACTS = (
    "Registry",
    "Commitments",
    "Evaluations",
    "Rewards",
    "Disputes",
    "CommitmentProofs",
    "ReportProofs",
    "Referees",
)
ALONE = (
    "ImpactEvaluator",
    "SparkImpactEvaluator",
    "Naive",
    "Subnet",
    "SubnetGateway",
    "KzgSummaries",
    "Summaries",
    "Locations",
)
EVM = "cancun"

_IMPORT = re.compile(r"^import (\w+)$", re.MULTILINE)


def _libraries(name: str) -> set[str]:
    """Return the libraries that a source imports, and those that they import."""
    direct = set(_IMPORT.findall((SOURCES / f"{name}.vy").read_text()))
    return direct.union(*map(_libraries, direct))


def source_sha256(name: str) -> str:
    """Return the SHA-256 of a contract's source and of the libraries it imports, each with its length."""
    state = hashlib.sha256()
    for part in (name, *sorted(_libraries(name))):
        source = (SOURCES / f"{part}.vy").read_bytes()
        state.update(f"{part}.vy {len(source)}\n".encode() + source)
    return state.hexdigest()


def _outputs(name: str, *formats: str) -> dict[str, Any]:
    bundle = FilesystemInputBundle([SOURCES])
    source = bundle.load_file(f"{name}.vy")
    return dict(compile_from_file_input(source, input_bundle=bundle, output_formats=list(formats)))


def _experimental(name: str) -> bool:
    return "# pragma experimental-codegen\n" in (SOURCES / f"{name}.vy").read_text()


def compile_contract(name: str) -> dict[str, Any]:
    """Compile one contract; the EVM version and the optimisation are pragmas of the source."""
    output = _outputs(
        name, "abi", "bytecode", "layout", *[] if _experimental(name) else ["bytecode_runtime"]
    )
    if _experimental(name):
        # In a run of its own: the experimental code generator changes what it has worked on, so a
        # second code from one run is not the one inside the first.
        output |= _outputs(name, "bytecode_runtime")
    return {
        "name": name,
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime": output["bytecode_runtime"],
        "layout": output["layout"],
        "compiler": f"vyper {vyper.__version__}",
        "evm": EVM,
        "source_sha256": source_sha256(name),
    }


def artefact_text(name: str) -> str:
    """Return the exact text of a contract's artefact file."""
    return json.dumps(compile_contract(name), indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write the artefacts, or with ``--check`` compare them."""
    check = "--check" in sys.argv[1:]
    stale = 0
    texts = {name: artefact_text(name) for name in (*CONTRACTS, *ALONE)}  # all or nothing
    for name, text in texts.items():
        path = ARTEFACTS / f"{name}.json"
        if path.exists() and path.read_text() == text:
            print(f"{name}: unchanged")
        elif check:
            print(f"{name}: differs from its source")
            stale += 1
        else:
            ARTEFACTS.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"{name}: written")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
