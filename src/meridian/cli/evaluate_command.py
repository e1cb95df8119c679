"""`meridian evaluate`: old epochs again, from what is published and the chain, under their own function or another one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from meridian.audit.difference import EpochDifference, node_object, parts_object, totals
from meridian.audit.reevaluated import Question
from meridian.cli.end_signals import ended_by_sigterm
from meridian.cli.epoch_range import EPOCHS
from meridian.cli.evidence_options import evidence_options, one_place
from meridian.cli.function_commands import json_map
from meridian.cli.progress import ProgressDisplay, counting
from meridian.errors import InvalidInput
from meridian.evaluate.registry import FUNCTIONS
from meridian.node.durable_file import write_durably
from meridian.node.reevaluation import Answer, Published, Reevaluation, reported_epochs
from meridian.primitives.cid import cid_text, parse_cid
from meridian.scale.pool import open_pool
from meridian.scale.settings import WORKERS_MAX, EngineKind, EngineSettings

INCOMPLETE: Final = 1
OWN: Final = "its own function"

EPILOG: Final = """\b
Examples:
  meridian evaluate --epochs 1..500 --data-dir DIR                           does every epoch give what was paid?
  meridian evaluate --epochs 6 --function my-function --data-dir DIR         what would epoch 6 have paid under mine?
  meridian evaluate --epochs 1..500 --function CID --from URL --out results  kept by epoch; a second run goes on

\b
Nothing is written to the chain or into the data directory. Exit codes: 0 every reported epoch was evaluated,
1 some could not be (they are named), 3 no such network, function or reported epoch, 130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--epochs", type=EPOCHS, required=True, metavar="N[..M]", help="One epoch, or from N to M."
)
@click.option(
    "--function",
    "named",
    metavar="NAME|PATH|CID",
    help="A function that ships, a folder or bundle, or one of the publications.  [default: each epoch's own]",
)
@click.option(
    "--function-parameters",
    "parameters_text",
    metavar="JSON",
    help="The function's parameters.  [default: the schedule's for its own function, none for another]",
)
@evidence_options
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    help="So many epochs at once, each in a process of its own with that memory.",
)
@click.option(
    "--scheduler",
    metavar="tls://HOST:PORT",
    help="Instead: on the workers of this Dask scheduler; they must reach the same paths, URL and chain.",
)
@click.option(
    "--certificates",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    help="With --scheduler: ca.pem, client.pem and client-key.pem, as `meridian scale keys` makes them.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    help="Keep each epoch's result here, and the pictures; what is there already is not made again.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all rows.")
def evaluate(
    epochs: range,
    named: str | None,
    parameters_text: str | None,
    data_dir: Path | None,
    url: str | None,
    rpc_url: str | None,
    private_layers: Path | None,
    memory_mib: int,
    workers: int,
    scheduler: str | None,
    certificates: Path | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Evaluate old epochs again: what would they have paid under another function?

    Shows each node's difference and rank, the largest gainers and losers, and which jobs would be judged otherwise.
    """
    one_place(data_dir, url)
    question, engine = _question(named, parameters_text), _engine(workers, scheduler, certificates)
    published = Published(data_dir, url, rpc_url, memory_mib)
    with ended_by_sigterm(), published.served() as served:
        with served.open() as source:
            function = question.function_from(source, source.run_python)
            wanted = reported_epochs(source, epochs)
        call = Reevaluation(served, question, out, private_layers)
        with ProgressDisplay(quiet=as_json) as display, open_pool(engine) as pool:
            done = counting(display, "epochs", len(wanted))
            done(0)
            answers = pool.map(call, wanted, done)
    found = [one.difference for one in answers if one.difference is not None]
    lacking = [one for one in answers if one.difference is None]
    name = OWN if function is None else f"{function.name} version {function.version}"
    if out is not None and found:
        _draw(out, found, name)
    if as_json:
        click.echo(json.dumps(document(name, found, lacking)))
    else:
        from meridian.cli.evaluate_tables import print_differences

        print_differences(name, epochs, answers)
    if lacking:
        raise click.exceptions.Exit(INCOMPLETE)


def _engine(workers: int, scheduler: str | None, certificates: Path | None) -> EngineSettings:
    """Return where epochs are evaluated.

    Raises:
        InvalidInput: If the scheduler's address is wrong, or it is named without certificates.
    """
    if scheduler is not None:
        return EngineSettings(
            kind=EngineKind.DASK, scheduler=scheduler, certificates_dir=certificates
        )
    kind = EngineKind.PROCESSES if workers > 1 else EngineKind.INLINE
    return EngineSettings(kind=kind, workers=workers)


def _question(named: str | None, parameters_text: str | None) -> Question:
    """Return what the options ask.

    Raises:
        InvalidInput: If the function is neither a name, a path nor a CID, or the parameters are no JSON object.
    """
    from meridian.networks.function_folder import read_bundle

    parameters = (
        None if parameters_text is None else json_map(parameters_text, "--function-parameters")
    )
    if named is None:
        return Question(parameters=parameters)
    if named in FUNCTIONS:
        return Question(FUNCTIONS[named].digest, None, parameters)
    if Path(named).exists():
        bundle = read_bundle(Path(named))
        return Question(bundle.digest, bundle.encode(), parameters)
    try:
        return Question(parse_cid(named)[1], None, parameters)
    except InvalidInput:
        raise InvalidInput(
            "--function",
            f"{named!r} is no file, no CID, and none of {', '.join(sorted(FUNCTIONS))}",
        ) from None


def _draw(out: Path, epochs: Sequence[EpochDifference], name: str) -> None:
    from meridian.explorer.difference_plot import draw_epoch, draw_epochs

    out.mkdir(parents=True, exist_ok=True)
    for epoch in epochs:
        write_durably(out / f"epoch-{epoch.epoch:06d}.svg", draw_epoch(epoch, name).encode())
    write_durably(out / "epochs.svg", draw_epochs(epochs, name).encode())
    write_durably(out / "differences.json", json.dumps(document(name, epochs, ())).encode())


def document(
    name: str, epochs: Sequence[EpochDifference], lacking: Sequence[Answer]
) -> dict[str, Any]:
    """Return the object that ``--json`` prints; amounts and weights are decimal text."""
    sums = totals(epochs)
    return {
        "function": name,
        "cids": sorted({cid_text(epoch.function_would) for epoch in epochs}),
        "epochs": [epoch.encode() for epoch in epochs],
        "not_evaluated": [
            {"epoch": one.epoch, "reason": one.problem, "items": list(one.items)} for one in lacking
        ],
        "totals": {
            "budget_atto": str(sums.budget),
            "paid": parts_object(sums.paid),
            "would": parts_object(sums.would),
            "moved_atto": str(sums.moved),
            "nodes": [node_object(node) for node in sums.nodes],
            "verdicts": [
                {"was": one.was, "would": one.would, "jobs": one.jobs} for one in sums.verdicts
            ],
        },
    }
