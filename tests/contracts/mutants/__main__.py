"""Would the machine notice? ``python -m tests.contracts.mutants`` plants one fault after the other and runs it.

Each fault is put into a temporary copy of the sources, the contract is compiled anew, and the machine runs with it
until contracts and model differ, for at most ``--examples`` examples. Exit 1 if a fault is not noticed.
"""

import importlib.util
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import click

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests" / "contracts"))  # where the tests find each other


def builder(folder: Path) -> ModuleType:
    """The build script, for the sources in a folder."""
    spec = importlib.util.spec_from_file_location("contracts_build", ROOT / "contracts/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SOURCES = folder
    return module


def examples_until_noticed(contract: str, document: dict, examples: int) -> tuple[int, str]:
    """Run the machine with another code of one contract; return the examples it took, and what it saw."""
    import contract_world
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test
    from machine.different import different_examples
    from machine.network_machine import NetworkMachine

    from meridian.contracts.artefact import Artefact, load

    changed = Artefact(
        name=contract,
        abi=document["abi"],
        bytecode=bytes.fromhex(document["bytecode"].removeprefix("0x")),
        runtime=bytes.fromhex(document["runtime"].removeprefix("0x")),
    )
    contract_world.load = lambda name: changed if name == contract else load(name)
    count = 0

    class Counting(NetworkMachine):
        shared: dict = {}  # noqa: RUF012 - a world of its own for each fault

        def __init__(self) -> None:
            nonlocal count
            count += 1
            super().__init__()

    chosen = settings(
        max_examples=examples,
        stateful_step_count=60,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    try:
        with different_examples():
            run_state_machine_as_test(Counting, settings=chosen)
    except AssertionError as error:
        return count, str(error).splitlines()[0][:110] if str(error) else "an invariant fails"
    finally:
        contract_world.load = load
    return count, ""


@click.command()
@click.option("--examples", type=int, default=400, show_default=True, help="At most, for each.")
@click.option("--only", default="", help="Faults whose story contains this.")
def command(examples: int, only: str) -> None:
    """Plant each fault and see whether the machine notices it."""
    from mutants.planted_faults import FAULTS

    missed = 0
    chosen = [fault for fault in FAULTS if only in fault.story]
    for fault in chosen:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="meridian-mutant-") as name:
            folder = Path(name)
            for source in (ROOT / "contracts").glob("*.vy"):
                shutil.copy(source, folder)
            path = folder / f"{fault.contract}.vy"
            text = path.read_text()
            if fault.old not in text:
                raise click.ClickException(f"{fault.story}: the source has changed")
            path.write_text(text.replace(fault.old, fault.new))
            contract = fault.inside or fault.contract
            document = builder(folder).compile_contract(contract)
        count, seen = examples_until_noticed(contract, document, examples)
        missed += not seen
        verdict = f"noticed in example {count}: {seen}" if seen else f"NOT noticed in {count}"
        took = time.monotonic() - began
        print(f"{fault.contract}: {fault.story}\n    {verdict} ({took:.0f} s)", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults noticed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    command()
