"""The fuzzing programme: see docs/fuzzing.md. ``python -m tests.fuzz frame --seconds 60``."""

import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where the tests find each other

NAMES = (
    "frame",
    "link",
    "certificate",
    "journal",
    "evidence",
    "replica",
    "broadcast",
    "block-replica",
    "ndjson",
    "json",
    "arrow",
    "parquet",
    "compressed",
    "proof",
)


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one target under atheris; the process ends with it."""
    import atheris

    with atheris.instrument_imports(include=["meridian"]):
        from .targets import TARGETS

        target = TARGETS[name]
        seeds = target.seeds()
    with tempfile.TemporaryDirectory(prefix="meridian-fuzz-") as folder:
        for number, data in enumerate(seeds):
            (Path(folder) / f"seed-{number:04}").write_bytes(data)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={target.longest}",
            f"-seed={seed}",
            "-rss_limit_mb=4096",
            "-timeout=20",
            "-print_final_stats=1",
            "-artifact_prefix=fuzz-",
        ]
        atheris.Setup([sys.argv[0], *options, folder], target.run)
        atheris.Fuzz()


def mutate(name: str, seconds: int, seed: int) -> None:
    """Fuzz one target by seeded mutations alone."""
    from .mutation import hunt
    from .targets import TARGETS

    began = time.monotonic()
    count = hunt(TARGETS[name], seed, seconds=seconds)
    print(f"{name}: {count} inputs in {time.monotonic() - began:.0f} s, nothing found")


@click.command()
@click.argument("target", type=click.Choice((*NAMES, "all")))
@click.option("--seconds", type=int, default=60, show_default=True, help="For each target.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--mutations", is_flag=True, help="Seeded mutations, although atheris is there.")
def command(target: str, seconds: int, seed: int, mutations: bool) -> None:
    """Fuzz a target; an input that breaks a promise ends the programme with an error."""
    guided = importlib.util.find_spec("atheris") is not None and not mutations
    if not guided and not mutations:
        print("atheris is not installed: no coverage guides the search, only seeded mutations run")
    if target == "all":
        more = ["--mutations"] if mutations else []
        for name in NAMES:
            options = ["--seconds", str(seconds), "--seed", str(seed), *more]
            command_line = [sys.executable, "-m", "tests.fuzz", name, *options]
            if code := subprocess.run(command_line, check=False).returncode:
                sys.exit(code)
    elif guided:
        fuzz(target, seconds, seed)
    else:
        mutate(target, seconds, seed)


if __name__ == "__main__":
    command()
