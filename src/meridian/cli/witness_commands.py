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
@click.option("--port", default=7370, show_default=True, type=click.IntRange(0, 65535),
              help="Port to listen on; 0: any that is free.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def init(
    directory: Path, name: str, vkeys: tuple[str, ...], host: str, port: int, *, as_json: bool
) -> None:
    """Make a witness: its key, an empty memory and its configuration, and print its verifier key.

    Logs that come later are added to `logs` in witness.toml. A directory that has a witness already is left alone: a key
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


@witness.command()
@click.argument("place", metavar="DIRECTORY|URL")
@click.option("--log", "vkey", metavar="VKEY", required=True, help="The log's verifier key.")
@click.option("--witness", "witnesses", multiple=True, metavar="VKEY",
              help="Verifier key of a witness that you trust; may be repeated.")  # fmt: skip
@click.option("--quorum", type=click.IntRange(min=0),
              help="How many of them must have cosigned.  [default: all]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def check(
    place: str, vkey: str, witnesses: tuple[str, ...], quorum: int | None, *, as_json: bool
) -> None:
    """Check a published log: its signature, who has cosigned it, and whether its tiles lead to its root.

    DIRECTORY or URL is the `log` of a publication. Exits with 1 if the tiles lead elsewhere, or the quorum is missing.
    """
    from datetime import UTC, datetime

    from meridian.measure.signed_note import COSIGNATURE, Verifier
    from meridian.node.witness.following import LogPlace, follow

    known = [Verifier.parse(one, COSIGNATURE) for one in witnesses]
    needed = len(known) if quorum is None else quorum
    found = follow(LogPlace(place), Verifier.parse(vkey), known)
    good = found.tiles_hold and len(found.cosignatures) >= needed
    times = {
        one.name: datetime.fromtimestamp(signature.time, UTC).isoformat()
        for one, signature in found.cosignatures
    }
    document = {
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "root": found.checkpoint.root.hex(),
        "tiles": "hold" if found.tiles_hold else "lead elsewhere",
        "cosigned": times,
        "quorum": needed,
        "good": good,
    }
    if as_json:
        print(json.dumps(document))
    else:
        print(f"{document['origin']}: {document['size']} entries under {document['root']}")
        print(f"its tiles {document['tiles']}")
        for name, at in times.items():
            print(f"cosigned by {name} at {at}")
        print(f"{len(times)} of {needed} needed cosignatures")
    sys.exit(0 if good else 1)
