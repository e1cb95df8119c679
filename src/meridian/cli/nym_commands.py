"""`meridian nym`: the simulated Nym-Api system of the founding document."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from meridian.cli.progress import ProgressDisplay
from meridian.errors import InvalidInput, NotFound
from meridian.node.process import bound_recursion

if TYPE_CHECKING:
    from meridian.nym.run import NymOptions, NymRun
    from meridian.nym.stored import Evidence

BROKEN: Final = 1

_AGGREGATES: Final = click.Choice(["mean", "median", "trimmed", "wmedian"])


@click.group()
def nym() -> None:
    """Simulate Nym-Apis that measure mixnodes and settle their averages with a contract."""


def _system(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every run has."""
    options = [
        click.option("--apis", default=4, show_default=True, help="Number of Nym-Apis."),
        click.option(
            "--mixnodes",
            type=click.IntRange(1, 5000),
            default=5,
            show_default=True,
            help="Number of mixnodes.",
        ),
        click.option("--epochs", default=3, show_default=True, help="Epochs until the end."),
        click.option(
            "--epoch-seconds",
            type=click.IntRange(1, 31_536_000),
            default=10,
            show_default=True,
            help="Length of an epoch.",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            help="Where everything is kept; resumes what is there.  [default: a new temporary directory]",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0, max=(1 << 63) - 1),
            default=1,
            show_default=True,
            help="Seed of what is measured.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_aggregate_option = click.option(
    "--aggregate",
    type=_AGGREGATES,
    help="How columns are averaged.  [default: wmedian in quorum, else mean]",
)
_liars_option = click.option(
    "--liars", default=0, show_default=True, help="Nym-Apis 1 to F report chosen extremes."
)


@nym.command()
@_system
@_liars_option
def standalone(*, as_json: bool, **values: Any) -> None:
    """The current way: the first Nym-Api computes and submits, the others only measure."""
    _run("standalone", as_json=as_json, **values)


@nym.command()
@click.option(
    "--mode", type=click.Choice(["race", "quorum"]), required=True, help="How epochs are settled."
)
@_system
@_aggregate_option
@_liars_option
@click.option(
    "--kill-api",
    is_flag=True,
    help="Kill the last Nym-Api with SIGKILL in mid-run; it starts again an epoch later.",
)
@click.option(
    "--chain",
    "on_chain",
    is_flag=True,
    help="Settle on an embedded chain with Meridian's contracts (only with --mode quorum).",
)
def ephemera(*, mode: str, as_json: bool, on_chain: bool, **values: Any) -> None:
    """The way of the founding document: rows go through Ephemera.

    In `race` everyone averages its own finalised block and the contract takes the first result. In `quorum` all decide
    one block, and one report carries the signatures of a quorum.
    """
    if on_chain and mode != "quorum":
        raise InvalidInput(
            "--chain",
            "the contracts take only reports that a quorum signed, and in a race nobody signs another's result;"
            " use --mode quorum",
        )
    _run(mode, as_json=as_json, on_chain=on_chain, **values)


def _run(
    mode: str, *, as_json: bool, data_dir: Path | None, on_chain: bool = False, **values: Any
) -> None:
    from meridian.cli.nym_tables import print_nym_run
    from meridian.nym.acceptance import Mode
    from meridian.nym.run import NymOptions

    options = NymOptions(data_dir=_directory(data_dir), mode=Mode(mode), **values)
    with ProgressDisplay() as display:
        result = _runner(options, display, on_chain=on_chain).run()
    if as_json:
        click.echo(json.dumps(result.document | {"data_dir": str(options.data_dir)}))
    else:
        print_nym_run(result.document, options.data_dir)
    if result.problems:
        raise click.exceptions.Exit(BROKEN)


def _runner(options: "NymOptions", display: ProgressDisplay, *, on_chain: bool) -> "NymRun":
    if on_chain:
        from meridian.nym.onchain.run import ChainRun

        bound_recursion()  # the import has raised it
        return ChainRun(options, display)
    from meridian.nym.run import NymRun

    return NymRun(options, display)


def _directory(data_dir: Path | None) -> Path:
    return data_dir or Path(tempfile.mkdtemp(prefix="meridian-nym-"))


@nym.command()
@_system
def compare(*, as_json: bool, data_dir: Path | None, **values: Any) -> None:
    """Run every way on one seed, honest and with f Nym-Apis that lie, and print the difference."""
    from meridian.cli.nym_tables import print_comparison
    from meridian.nym.acceptance import Mode
    from meridian.nym.compare import Comparison
    from meridian.nym.run import NymOptions

    options = NymOptions(data_dir=_directory(data_dir), mode=Mode.STANDALONE, **values)
    with ProgressDisplay() as display:
        result = Comparison(options, display).run()
    if as_json:
        click.echo(json.dumps(result.document | {"data_dir": str(options.data_dir)}))
    else:
        print_comparison(result.document)
    if result.problems:
        raise click.exceptions.Exit(BROKEN)


@nym.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The run's directory.",
)
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="The epoch's number.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def verify(data_dir: Path, epoch: int, *, as_json: bool) -> None:
    """Check an epoch from stored data alone: who signed the block, who sent the messages, and the result.

    Needs no running process. Exits with 0 when every link holds, else with 1 and the first broken link's name.
    """
    from meridian.cli.nym_tables import print_evidence

    evidence = _evidence(data_dir, epoch)
    broken = evidence.broken
    if as_json:
        links = [
            {
                "name": link.name,
                "state": link.state.value,
                "detail": link.detail,
                "items": list(link.items),
            }
            for link in evidence.links
        ]
        first = None if broken is None else broken.name
        click.echo(json.dumps({"epoch": epoch, "links": links, "broken": first}))
    else:
        print_evidence(evidence)
    if broken is not None:
        click.echo(f"broken: {broken.name}: {broken.detail}", err=True)
        raise click.exceptions.Exit(BROKEN)


def _evidence(data_dir: Path, epoch: int) -> "Evidence":
    from meridian.nym.network import NymNetwork
    from meridian.nym.stored import Evidence, StoredSystem

    network = NymNetwork.load(data_dir)
    if network.chain_genesis_s is None:
        with StoredSystem(data_dir) as stored:
            return stored.verify(epoch)
    from meridian.node.audit_sources import open_source
    from meridian.nym.onchain.evidence import audit_chain_epoch

    bound_recursion()  # the imports have raised it
    with open_source(data_dir) as source:
        if not source.chain.opened(epoch):
            raise NotFound(f"epoch {epoch} is not open on chain")
        _, links = audit_chain_epoch(source, epoch, network)
    return Evidence(tuple(links), (), ())
