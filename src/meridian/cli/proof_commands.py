"""`meridian proof`: proof files about one job, one node, an absence, a claim or the epoch log, made and checked.

They are made from a data directory's publications and its chain, or asked of a measure service (``--from``); nothing that
either says is believed: what is written has been checked, and ``verify`` compares it with the chain.
Exit codes: 0 it holds, 1 it does not, 3 no such epoch, node or job.
"""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from meridian.audit.proof_building import (
    absence_proof,
    claim_proof,
    job_proof,
    log_consistency_proof,
    log_inclusion_proof,
    node_proof,
)
from meridian.audit.proofs import check_file, outside_steps
from meridian.audit.source import EvidenceSource
from meridian.cli.audit_commands import (
    BROKEN,
    data_dir_option,
    epoch_option,
    json_option,
    node_option,
)
from meridian.errors import MeridianError, NotFound, StorageFailure
from meridian.measure.proof_form import encode_binary, encode_json
from meridian.node.audit_sources import open_source
from meridian.node.measure.proof_client import ProofClient, proof_client
from meridian.primitives.ids import parse_digest
from meridian.verifier import FILE_BYTES_MAX, ProofFile, Step, statement

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


@dataclass(frozen=True, slots=True)
class Made:
    """Where a proof comes from, and where it goes."""

    data_dir: Path | None
    url: str | None
    output: Path | None
    form: str


def made_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Made` as its first argument."""

    @functools.wraps(command)
    def run(
        data_dir: Path | None, url: str | None, output: Path | None, form: str, **more: Any
    ) -> None:
        command(Made(data_dir, url, output, form), **more)

    source = click.option(
        "--data-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="A run's directory: network.json and the publications.",
    )
    service = click.option(
        "--from", "url", metavar="URL", help="A measure service that makes the proof instead."
    )
    return source(service(output_option(form_option(run))))


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


Build = Callable[[EvidenceSource], ProofFile]
Ask = Callable[[ProofClient], ProofFile]


def _write_proof(made: Made, build: Build, ask: Ask) -> None:
    """Make a proof from a data directory, or ask a measure service for it, and write it."""
    if (made.data_dir is None) == (made.url is None):
        raise click.UsageError("give either --data-dir DIRECTORY or --from URL")
    if made.data_dir is not None:
        with open_source(made.data_dir) as source:
            file = build(source)
    else:
        with proof_client(made.url or "") as client:
            file = ask(client)
    _write(made.output, made.form, file)


def _of_kind(file: ProofFile, *kinds: str) -> ProofFile:
    """Require a service's answer to say what was wanted."""
    if file.kind in kinds:
        return file
    said = statement(file)
    raise (
        NotFound(said) if file.kind.startswith("absent") else MeridianError(f"not absent: {said}")
    )


@proof.command("job")
@made_options
@node_option
@click.option("--job", "job_id", required=True, metavar="JOBID", help="The job's id.")
@epoch_option
def write_job_proof(made: Made, node_id: str, job_id: str, epoch: int) -> None:
    """Prove that a job of a node was counted in an epoch."""
    _write_proof(
        made,
        lambda source: job_proof(source, epoch, node_id, job_id),
        lambda service: _of_kind(service.prove(epoch, node_id, job_id), "job"),
    )


@proof.command("node")
@made_options
@node_option
@epoch_option
def write_node_proof(made: Made, node_id: str, epoch: int) -> None:
    """Prove a node's number of jobs, sums and job-tree root in an epoch."""
    _write_proof(
        made,
        lambda source: node_proof(source, epoch, node_id),
        lambda service: _of_kind(service.prove(epoch, node_id), "node"),
    )


@proof.command("absent")
@made_options
@node_option
@click.option("--job", "job_id", metavar="JOBID", help="The job's id; without it, any job.")
@epoch_option
def write_absence_proof(made: Made, node_id: str, job_id: str | None, epoch: int) -> None:
    """Prove that a job of a node, or any job of it, was not counted in an epoch."""
    _write_proof(
        made,
        lambda source: absence_proof(source, epoch, node_id, job_id),
        lambda service: _of_kind(
            service.prove(epoch, node_id, job_id), "absent_job", "absent_node"
        ),
    )


@proof.command("log")
@made_options
@epoch_option
def write_log_proof(made: Made, epoch: int) -> None:
    """Prove that an epoch's commitment is in the aggregator's log of all epochs."""
    _write_proof(
        made,
        lambda source: log_inclusion_proof(source, epoch),
        lambda service: service.log_inclusion(epoch),
    )


@proof.command("consistency")
@made_options
@click.option(
    "--old-epoch", type=click.IntRange(min=0), required=True, help="Where the older log ends."
)
@epoch_option
def write_consistency_proof(made: Made, old_epoch: int, epoch: int) -> None:
    """Prove that the log of all epochs up to one only grew since an older one."""
    _write_proof(
        made,
        lambda source: log_consistency_proof(source, old_epoch, epoch),
        lambda service: service.log_consistency(old_epoch, epoch),
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
    with open_source(data_dir) as source:
        file = claim_proof(source, epoch, node_id).file
    _write(output, form, file)


@proof.command("verify")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also compare the root with this run's chain.",
)
@click.option(
    "--root",
    metavar="HEX",
    help="Also compare the root with this one, from a source that you trust.",
)
@json_option
def verify_proof(file: Path, data_dir: Path | None, root: str | None, *, as_json: bool) -> None:
    """Check a proof file, every hash step of it; exits with 0 if it is valid, else with 1."""
    with file.open("rb") as opened:
        checked = check_file(opened.read(FILE_BYTES_MAX + 1))
    steps = list(checked.steps)
    if root is not None and checked.failed is None:
        parts = ("is the one that was given", checked.root, parse_digest(root, "--root"))
        steps.append(Step("your root", "equal", parts, parts[1] == parts[2]))
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
            if data_dir is None and root is None:
                click.echo(
                    "the root was not compared with a chain (--data-dir or --root does that)"
                )
    if failed:
        raise click.exceptions.Exit(BROKEN)


def _print_steps(steps: Sequence[Step]) -> None:
    for number, step in enumerate(steps, 1):
        click.echo(f"{number:3} {'ok  ' if step.ok else 'FAIL'} {step.name}: {step.rule}")
        click.echo(f"         = {step.value}")
