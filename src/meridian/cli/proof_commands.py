"""`meridian proof`: proof files about one job, one node, an absence, a claim or the epoch log, made and checked.

They are made from a data directory's publications and its chain, or asked of a measure service (``--from``); nothing that
either says is believed: what is written has been checked, and ``verify`` compares it with the chain.
Exit codes: 0 it holds, 1 it does not, 3 no such epoch, node or job.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from meridian.audit.proof_building import absence_proof, claim_proof, job_proof, node_proof
from meridian.audit.proofs import check_file, outside_steps
from meridian.audit.source import EvidenceSource
from meridian.cli.audit_commands import (
    BROKEN,
    data_dir_option,
    epoch_option,
    json_option,
    node_option,
)
from meridian.errors import StorageFailure
from meridian.measure.proof_form import encode_binary, encode_json
from meridian.node.audit_sources import open_source
from meridian.verifier import FILE_BYTES_MAX, ProofFile, Step

_ENCODERS: Final = {"json": encode_json, "binary": encode_binary}

output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File; standard output without it.",
)
form_option = click.option(
    "--form",
    type=click.Choice(list(_ENCODERS)),
    default="json",
    show_default=True,
    help="How the file is written; the binary form is less than half as long.",
)


@click.group()
def proof() -> None:
    """Write and check self-contained proof files."""


def _write(output: Path | None, form: str, file: ProofFile) -> None:
    data = _ENCODERS[form](file)
    if output is None:
        click.echo(data, nl=False)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise StorageFailure(f"{output}: {error.strerror or error}") from error
    click.echo(f"{output}: check it with `meridian proof verify {output}`", err=True)


def _write_proof(
    data_dir: Path, output: Path | None, form: str, build: Callable[[EvidenceSource], ProofFile]
) -> None:
    with open_source(data_dir) as source:
        file = build(source)
    _write(output, form, file)


@proof.command("job")
@data_dir_option
@node_option
@click.option("--job", "job_id", required=True, metavar="JOBID", help="The job's id.")
@epoch_option
@output_option
@form_option
def write_job_proof(
    data_dir: Path, node_id: str, job_id: str, epoch: int, output: Path | None, form: str
) -> None:
    """Prove that a job of a node was counted in an epoch."""
    _write_proof(data_dir, output, form, lambda source: job_proof(source, epoch, node_id, job_id))


@proof.command("node")
@data_dir_option
@node_option
@epoch_option
@output_option
@form_option
def write_node_proof(
    data_dir: Path, node_id: str, epoch: int, output: Path | None, form: str
) -> None:
    """Prove a node's number of jobs, sums and job-tree root in an epoch."""
    _write_proof(data_dir, output, form, lambda source: node_proof(source, epoch, node_id))


@proof.command("absent")
@data_dir_option
@node_option
@click.option("--job", "job_id", metavar="JOBID", help="The job's id; without it, any job.")
@epoch_option
@output_option
@form_option
def write_absence_proof(
    data_dir: Path, node_id: str, job_id: str | None, epoch: int, output: Path | None, form: str
) -> None:
    """Prove that a job of a node, or any job of it, was not counted in an epoch."""
    _write_proof(
        data_dir, output, form, lambda source: absence_proof(source, epoch, node_id, job_id)
    )


@proof.command("claim")
@data_dir_option
@node_option
@epoch_option
@output_option
@form_option
def write_claim_proof(
    data_dir: Path, node_id: str, epoch: int, output: Path | None, form: str
) -> None:
    """Prove what a node had earned in all by an epoch's report; the chain pays against this proof."""
    _write_proof(data_dir, output, form, lambda source: claim_proof(source, epoch, node_id).file)


@proof.command("verify")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also compare the root with this run's chain.",
)
@json_option
def verify_proof(file: Path, data_dir: Path | None, *, as_json: bool) -> None:
    """Check a proof file, every hash step of it; exits with 0 if it is valid, else with 1."""
    with file.open("rb") as opened:
        checked = check_file(opened.read(FILE_BYTES_MAX + 1))
    steps = list(checked.steps)
    if data_dir is not None and checked.failed is None:
        with open_source(data_dir) as source:
            steps += outside_steps(checked, source)
    failed = next((step for step in steps if not step.ok), None)
    if as_json:
        value = {
            "valid": failed is None,
            "failed": failed.name if failed else None,
            "kind": checked.kind,
            "epoch": checked.epoch,
            "statement": "" if failed else checked.statement,
            "root": checked.root.hex(),
            "compared_with_chain": data_dir is not None and checked.failed is None,
            "steps": [
                {"name": step.name, "rule": step.rule, "value": step.value, "ok": step.ok}
                for step in steps
            ],
        }
        click.echo(json.dumps(value))
    else:
        _print_steps(steps)
        if failed:
            click.echo(f"invalid: {failed.name}")
        else:
            click.echo(f"valid: {checked.statement}")
            if data_dir is None:
                click.echo("the root was not compared with a chain (--data-dir does that)")
    if failed:
        raise click.exceptions.Exit(BROKEN)


def _print_steps(steps: Sequence[Step]) -> None:
    for number, step in enumerate(steps, 1):
        click.echo(f"{number:3} {'ok  ' if step.ok else 'FAIL'} {step.name}: {step.rule}")
        click.echo(f"         = {step.value}")
