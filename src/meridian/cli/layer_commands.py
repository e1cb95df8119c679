"""`meridian layer`: fraud layers, the shipped ones and a network's own, public or sealed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.layer import BUNDLE_BYTES_MAX, Layer
from meridian.evaluate.sealed_layer import SALT_BYTES, PrivateLayer, is_sealed
from meridian.evaluate.shipped_layers import layer_named, layer_of_toml, shipped_layers
from meridian.primitives.cid import cid_text

EPILOG: Final = """\b
Examples:
  meridian layer list                                   the shipped layers
  meridian layer show bot-requests                      what one reads, and its parameters
  meridian layer build my-layer.toml -o my-layer.cbor   check a definition and write its artefact
  meridian layer seal my-layer.toml --parameters '{"limit": 7}' --private my-layer.private.cbor --public my-layer.cbor
  meridian layer open --data-dir run-1 --epoch 2 --node NODE --job JOB --private-dir DIR -o opening.json
  meridian layer check opening.json --data-dir run-1
"""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The run's directory: network.json and the publications.",
)


@click.group(epilog=EPILOG)
def layer() -> None:
    """Fraud layers: what flags jobs before the evaluation function sees them."""


@layer.command(name="list")
@json_option
def list_(*, as_json: bool) -> None:
    """Show the layers that this version ships."""
    layers = list(shipped_layers().values())
    if as_json:
        click.echo(json.dumps([_about(one) for one in layers]))
        return
    table = Table(title="Shipped fraud layers", title_justify="left")
    for column in ("name", "version", "reads", "reasons"):
        table.add_column(column, overflow="fold")
    for one in layers:
        fields = ", ".join(column.field for column in one.columns.values()) or "-"
        table.add_row(one.name, str(one.version), fields, ", ".join(one.reasons))
    Console(highlight=False).print(table)


@layer.command()
@click.argument("which")
@json_option
def show(which: str, *, as_json: bool) -> None:
    """Show a layer: a shipped one by name, a definition (TOML) or an artefact."""
    about = _about(_read(which))
    if as_json:
        click.echo(json.dumps(about))
        return
    for name, value in about.items():
        click.echo(f"{name}: {value if isinstance(value, str | int) else json.dumps(value)}")


@layer.command()
@click.argument("definition", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File for the artefact.",
)
def build(definition: Path, output: Path) -> None:
    """Check a definition and write the artefact that can be published."""
    made = _read(str(definition))
    output.write_bytes(made.encode())
    click.echo(f"{made.name} version {made.version}: {cid_text(made.digest)}")


@layer.command()
@click.argument("definition", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--parameters", default="{}", help="The secret values of its parameters, JSON.")
@click.option(
    "--private",
    "private_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="New file for the private bundle: for every evaluator, and for nobody else.",
)
@click.option(
    "--public",
    "public_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File for the artefact that is published.",
)
def seal(definition: Path, parameters: str, private_file: Path, public_file: Path) -> None:
    """Seal a layer under a new random salt."""
    import secrets

    try:
        values = json.loads(parameters)
    except json.JSONDecodeError as error:
        raise InvalidInput("--parameters", str(error)) from error
    if not isinstance(values, dict):
        raise InvalidInput("--parameters", "is not a JSON object")
    sealed = PrivateLayer(_read(str(definition)), values, secrets.token_bytes(SALT_BYTES))
    private_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        private_file.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise InvalidInput(
            str(private_file), "is there already; salts are not used twice"
        ) from None
    private_file.write_bytes(sealed.encode())
    public_file.write_bytes(sealed.public.encode())
    click.echo(
        f"{sealed.layer.name}: {cid_text(sealed.public.digest)}, sealed under {sealed.public.sealed.hex()}"
    )


@layer.command(name="open")
@data_dir_option
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="The epoch's number.")
@click.option("--node", "node_id", required=True, metavar="ID", help="The node's id.")
@click.option("--job", "job_id", required=True, metavar="ID", help="The job's id.")
@click.option(
    "--private-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Directory with the private bundles, *.cbor.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File; standard output without it.",
)
def open_(
    data_dir: Path, epoch: int, node_id: str, job_id: str, private_dir: Path, output: Path | None
) -> None:
    """Open one job's true reason, for a dispute; nothing is said of any other job."""
    from meridian.audit.opened_reason import open_job
    from meridian.node.audit_sources import open_source
    from meridian.node.private_layers import load_private_layers

    with open_source(data_dir) as source:
        made = open_job(source, epoch, node_id, job_id, load_private_layers(private_dir))
    text = json.dumps(made, indent=1)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n")
        click.echo(f"{job_id}: {made['reason']}")


@layer.command()
@click.argument("opening", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@data_dir_option
def check(opening: Path, data_dir: Path) -> None:
    """Check an opened reason against the report that the chain accepted."""
    from meridian.audit.opened_reason import check_opened
    from meridian.node.audit_sources import open_source

    try:
        document = json.loads(opening.read_bytes())
    except ValueError as error:
        raise InvalidInput(str(opening), f"is not JSON: {error}") from error
    with open_source(data_dir) as source:
        reason = check_opened(source, document)
    click.echo(f"job {document['job_id']} of node {document['node_id']}: {reason}")


def _read(which: str) -> Layer:
    """Return a shipped layer, or the one of a file."""
    data = layer_artefact(which)
    if is_sealed(data):
        raise NotFound(f"{which}: the layer is sealed; its rules are in the private bundle")
    return Layer.decode(data)


def layer_artefact(which: str) -> bytes:
    """Return the artefact of a shipped layer, of a definition (TOML), or a file that is one.

    Raises:
        NotFound: If there is neither such a file nor such a layer.
        InvalidInput: If a definition is wrong or a file too long.
    """
    path = Path(which)
    if not path.is_file():
        return layer_named(which).encode()
    if path.stat().st_size > BUNDLE_BYTES_MAX:
        raise InvalidInput(which, f"is longer than {BUNDLE_BYTES_MAX} bytes")
    data = path.read_bytes()
    if path.suffix == ".toml":
        return layer_of_toml(_decoded(which, data.decode)).encode()
    return data


def _decoded(which: str, decode: Callable[[], str]) -> str:
    try:
        return decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(which, str(error)) from error


def _about(one: Layer) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "digest": one.digest.hex(),
        "cid": cid_text(one.digest),
        "reasons": list(one.reasons),
        "columns": {name: column.field for name, column in one.columns.items()},
        "parameters": {name: parameter.default for name, parameter in one.parameters.items()},
        "verdict": one.verdict.strip(),
    }
