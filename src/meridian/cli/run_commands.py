"""`meridian run` and `meridian demo`: the whole system, from job logs to paid claims."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from meridian.cli.chain_session import passphrase_option, read_passphrase
from meridian.cli.function_commands import json_map
from meridian.cli.model_run import model_options
from meridian.cli.progress import ProgressDisplay
from meridian.errors import InvalidInput
from meridian.journey.options import SABOTAGE_MODES, Options
from meridian.node.process import bound_recursion
from meridian.node.web.options import DEFAULT_PORT

BROKEN: Final = 1
LIVE_JOBS_MAX: Final = 5_000
"""Jobs of a further epoch of a demo, so that it may go on for days."""
LIVE_BATCHES: Final = 60
"""In how many batches they come."""

_SABOTAGE = re.compile(r"(\d+):(\w+)")


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both commands have."""
    options = [
        click.option(
            "--evaluators", default=4, show_default=True, help="Number of evaluator processes."
        ),
        click.option(
            "--budget-atto",
            type=int,
            help="Budget of every epoch in atto.  [default: the data's own, else 1000 coins]",
        ),
        click.option(
            "--challenge-seconds",
            default=3,
            show_default=True,
            help="Length of the challenge window on chain.",
        ),
        click.option(
            "--claims",
            "claims_max",
            type=int,
            help="Nodes that claim in each epoch.  [default: all]",
        ),
        click.option(
            "--kill-evaluator",
            is_flag=True,
            help="Kill one evaluator with SIGKILL in mid-epoch; it catches up later.",
        ),
        click.option(
            "--sabotage",
            multiple=True,
            metavar="N:MODE",
            help=f"Evaluator N is {' or '.join(SABOTAGE_MODES)} from the start (repeatable).",
        ),
        click.option(
            "--decide-timeout-s",
            default=600.0,
            show_default=True,
            help="Longest wait for the next report.",
        ),
        click.option(
            "--chain-url",
            metavar="URL",
            help="Use a chain that runs already (anvil, Ethereum-like, Filecoin).  [default: an embedded one]",
        ),
        click.option(
            "--bank-key",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Key of an account on that chain which pays for the run's accounts.",
        ),
        passphrase_option,
        click.option(
            "--keep",
            is_flag=True,
            help="Serve the explorer from the start, and leave everything running until Ctrl-C.",
        ),
        click.option(
            "--web-port",
            default=DEFAULT_PORT,
            show_default=True,
            help="The explorer's port with --keep; a free one if it is taken.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _options(
    data_dir: Path,
    sabotage: tuple[str, ...],
    bank_key: Path | None,
    passphrase_file: Path | None,
    **values: Any,
) -> Options:
    if bank_key is not None:
        from meridian.node.encrypted_key import open_key

        values["bank"] = open_key(bank_key, lambda: read_passphrase(passphrase_file))
    parsed = []
    for text in sabotage:
        match = _SABOTAGE.fullmatch(text)
        if not match:
            raise InvalidInput("--sabotage", f"{text!r} is not like 4:dead")
        parsed.append((int(match[1]), match[2]))
    return Options(data_dir=data_dir, sabotage=tuple(parsed), **values)


def _run(source: Any, options: Options, *, as_json: bool) -> None:
    from meridian.cli.tables import print_run
    from meridian.journey.run import Journey, RunResult

    bound_recursion()  # the imports above have raised it
    with ProgressDisplay() as display:

        def show(result: RunResult) -> None:
            display.stop()
            if as_json:
                click.echo(json.dumps(result.document))
            else:
                print_run(result, options.data_dir)

        result = Journey(source, options, display).run(show)
    if result.broken:
        raise click.exceptions.Exit(BROKEN)


@click.command()
@click.option(
    "--network", required=True, help="saturn, spark, spark-chain, nym, attestation or worldcup."
)
@click.option(
    "--jobs",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="File with jobs (repeatable; .gz too).",
)
@click.argument("more", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where everything is kept; resumes what is there.",
)
@click.option("--epoch-seconds", type=int, help="Length of an epoch.  [default: the network's own]")
@click.option(
    "--function",
    "own",
    type=click.Path(path_type=Path, exists=True),
    help="Evaluate with a function of one's own: folder or bundle (meridian function --help).",
)
@click.option(
    "--function-parameters",
    default="{}",
    help="Parameters of the function, JSON; others stay as the network has them.",
)
@click.option(
    "--layer",
    "own_layers",
    multiple=True,
    metavar="FILE[=JSON]",
    help="One more fraud layer: definition or artefact, with parameters (repeatable; meridian layer --help).",
)
@click.option(
    "--private-layers",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The evaluators' directory with private bundles of sealed layers.",
)
@model_options
@_shared
def run(
    network: str,
    paths: tuple[Path, ...],
    more: tuple[Path, ...],
    data_dir: Path,
    epoch_seconds: int | None,
    own: Path | None,
    function_parameters: str,
    own_layers: tuple[str, ...],
    private_layers: Path | None,
    as_json: bool,
    model: str,
    batch: bool,
    store: str,
    relay: bool,
    commitment: str,
    **values: Any,
) -> None:
    """Run a network on real job files: measure, evaluate, agree, report, claim, publish.

    Starts an embedded chain, a measure service and the evaluators as processes on loopback. The same command on the
    same --data-dir resumes and never pays twice. Further files may follow the options.

    With --model the same jobs go another way to the same result (meridian models list).
    """
    from meridian.cli.model_run import chosen_model, run_model
    from meridian.networks.sources import load

    chosen = chosen_model(click.get_current_context(), model)

    source = load(network, [*paths, *more], epoch_seconds=epoch_seconds)
    if own is not None:
        from meridian.networks.function_folder import read_bundle

        bundle = read_bundle(own).encode()
        parameters = json_map(function_parameters, "--function-parameters")
        definition = source.definition.with_function(bundle, parameters)
        source = replace(source, definition=definition)
    elif function_parameters != "{}":
        parameters = json_map(function_parameters, "--function-parameters")
        known = {**source.definition.function_parameters, **parameters}
        source = replace(source, definition=replace(source.definition, function_parameters=known))
    for text in own_layers:
        from meridian.cli.layer_commands import layer_artefact

        name, _, given = text.partition("=")
        parameters = json_map(given or "{}", "--layer")
        definition = source.definition.with_layer(layer_artefact(name), parameters)
        source = replace(source, definition=definition)
    if chosen is not None:
        own_values = {"batch": batch, "store": store, "relay": relay, "commitment": commitment}
        run_model(chosen, source, data_dir, {**own_values, **values}, as_json=as_json)
        return
    options = _options(data_dir, private_layers=private_layers, **values)
    _run(source, options, as_json=as_json)


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything is kept.  [default: a new temporary directory]",
)
@click.option(
    "--network",
    type=click.Choice(["saturn", "spark", "spark-chain", "nym"]),
    default="saturn",
    show_default=True,
    help="Whose jobs are made up.",
)
@click.option("--jobs", "jobs", default=200_000, show_default=True, help="Jobs to generate.")
@click.option("--nodes", default=300, show_default=True, help="Nodes to generate.")
@click.option("--epochs", default=3, show_default=True, help="Epochs to generate.")
@click.option("--seed", default=1, show_default=True, help="Seed of the generator.")
@click.option(
    "--live-seconds",
    type=click.FloatRange(min=0.0, max=3600.0),
    default=30.0,
    show_default=True,
    help="With --keep: further epochs follow (saturn), the jobs of each over so many seconds; 0: none.",
)
@_shared
def demo(
    data_dir: Path | None,
    network: str,
    jobs: int,
    nodes: int,
    epochs: int,
    seed: int,
    live_seconds: float,
    as_json: bool,
    **values: Any,
) -> None:
    """Show the whole system on generated jobs, with some fraud and some missing data.

    With --keep the explorer is served meanwhile, and epochs go on until Ctrl-C: watch one from open to paid.
    """
    from meridian.networks import generator, nym, spark_chain, spark_generator
    from meridian.networks.definition import JobSource
    from meridian.networks.generator import Traffic

    made_up = {
        "saturn": generator.generate,
        "spark": spark_generator.generate,
        "spark-chain": spark_chain.generate,
        "nym": nym.generate,
    }
    traffic = Traffic(seed=seed, jobs=jobs, nodes=nodes, epochs=epochs)
    source = made_up[network](traffic)
    if values["keep"] and network == "saturn" and live_seconds:
        share = min(max(1, jobs // epochs), LIVE_JOBS_MAX)
        batch = -(-share // LIVE_BATCHES)

        def following(epoch: int) -> JobSource:
            return generator.following(traffic, epoch, share, batch)

        values |= {"following": following, "live_seconds": live_seconds}
    directory = data_dir or Path(tempfile.mkdtemp(prefix="meridian-demo-"))
    try:
        _run(source, _options(directory, **values), as_json=as_json)
    except InvalidInput:
        if data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)
        raise
