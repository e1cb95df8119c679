"""`meridian witness`: watch over logs of others, and cosign what only grows."""

import json
import sys
from pathlib import Path

import click


@click.group()
def witness() -> None:
    """Cosign the checkpoints of logs, and never two histories of one (C2SP tlog-witness)."""


@witness.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="The witness's directory; made when absent.")  # fmt: skip
@click.option("--name", required=True, help="Name of its key: a URL without scheme, yours alone.")
@click.option("--log", "vkeys", multiple=True, metavar="VKEY", required=True,
              help="Verifier key of a log that is witnessed; may be repeated.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7380, show_default=True, type=click.IntRange(0, 65535),
              help="Port to listen on; 0: any that is free.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def init(
    directory: Path, name: str, vkeys: tuple[str, ...], host: str, port: int, *, as_json: bool
) -> None:
    """Make a witness: its key, an empty memory and its configuration, and print its verifier key.

    Logs that come later are added to `logs` in witness.json. A directory that has a witness already is left alone: a key
    whose memory is gone must not cosign again.
    """
    from meridian.errors import InvalidInput
    from meridian.measure.signed_note import COSIGNATURE, verifier_of
    from meridian.node.keystore import load_or_create_secret
    from meridian.node.witness.config import WitnessConfig, WitnessedLog
    from meridian.node.witness.memory import Memory
    from meridian.node.witness.service import CONFIG_NAME, KEY_NAME, MEMORY_NAME

    if any((directory / name).exists() for name in (CONFIG_NAME, KEY_NAME, MEMORY_NAME)):
        raise InvalidInput("--dir", f"{directory} has a witness already, or parts of one")
    logs = tuple(WitnessedLog(keys=(vkey,)) for vkey in vkeys)
    config = WitnessConfig(name=name, logs=logs, listen_host=host, listen_port=port)
    config.trusted()
    directory.mkdir(parents=True, exist_ok=True)
    seed = load_or_create_secret(directory / KEY_NAME)
    verifier = verifier_of(name, seed, COSIGNATURE)
    Memory.create(directory / MEMORY_NAME)
    config.save(directory / CONFIG_NAME)
    print(json.dumps({"vkey": verifier.text}) if as_json else verifier.text)


@witness.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False, exists=True),
              required=True, help="The witness's directory.")  # fmt: skip
def run(directory: Path) -> None:
    """Serve until Ctrl-C; the first line of output says where."""
    from meridian.node.process import start_logging
    from meridian.node.witness.service import run as serve

    start_logging("witness")
    sys.exit(serve(directory))
