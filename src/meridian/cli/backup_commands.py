"""`meridian backup`: copies of a process's directory that can be brought back."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from meridian.cli.chain_session import json_option, passphrase_option
from meridian.node.backup.manifest import Manifest, Risk


@click.group()
def backup() -> None:
    """Back up the directory of a process, running or stopped, and restore it without signing twice."""


@backup.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Keys too, under a passphrase.")
@passphrase_option
@json_option
def create(
    source: Path, target: Path, passphrase_file: Path | None, *, with_keys: bool, as_json: bool
) -> None:
    """Back up the directory SOURCE into the new file TARGET (.tar or .tar.zst).

    SOURCE is that of a measure service, an evaluator, a witness, an Ephemera node, a watcher, an embedded chain, or a whole
    run. It is copied beside TARGET first. Keys are left out unless asked for.
    """
    from meridian.cli.chain_session import read_passphrase
    from meridian.node.backup.archive import create as write
    from meridian.node.backup.snapshot import Passphrase

    text = read_passphrase(passphrase_file, new=True) if with_keys else None
    manifest = write(
        source,
        target,
        None if text is None else Passphrase(text),
        lambda what: click.echo(what, err=True),
    )
    _tell(manifest, as_json=as_json, file=str(target))


@backup.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def check(file: Path, *, as_json: bool) -> None:
    """Read the backup FILE and verify every byte; nothing is written. Ends with 2 if it is damaged."""
    from meridian.node.backup.archive import read

    _tell(read(file), as_json=as_json, file=str(file))


@backup.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Restore its keys too; needs their passphrase.")
@click.option("--accept-risk", "risks", multiple=True, type=click.Choice([one.value for one in Risk]),
              help="What nothing can guard against, and you know to be harmless; may be repeated.")  # fmt: skip
@passphrase_option
@json_option
def restore(
    file: Path,
    directory: Path,
    risks: tuple[str, ...],
    passphrase_file: Path | None,
    *,
    with_keys: bool,
    as_json: bool,
) -> None:
    """Restore the backup FILE into DIRECTORY, which must not exist.

    All of FILE is verified first. Says what is lost, and what keeps its processes from signing twice; where nothing does, it
    refuses unless told with --accept-risk.
    """
    from meridian.cli.chain_session import read_passphrase
    from meridian.node.backup.restoring import restore as write

    text = read_passphrase(passphrase_file) if with_keys else None
    manifest, decision = write(
        file, directory, tuple(map(Risk, risks)), None if text is None else lambda: text
    )
    skipped = [{"path": one.path, "reason": one.reason} for one in decision.skipped]
    _tell(
        manifest,
        as_json=as_json,
        directory=str(directory),
        skipped=skipped,
        notes=list(decision.notes),
    )


def _tell(manifest: Manifest, *, as_json: bool, **more: Any) -> None:
    kinds = Counter(str(one.kind) for one in manifest.files)
    size = sum(one.bytes for one in manifest.files)
    made = datetime.fromtimestamp(manifest.made_at_s, UTC).isoformat()
    left_out = [{"path": one.path, "reason": one.reason} for one in manifest.left_out]
    document = {"made_at": made, "files": len(manifest.files), "bytes": size, "kinds": kinds}
    if as_json:
        click.echo(json.dumps(document | {"left_out": left_out} | more))
        return
    click.echo(
        f"{more.get('file') or more['directory']}: {len(manifest.files)} files, {size} bytes, as of {made}"
    )
    click.echo("  " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    for one in (*left_out, *more.get("skipped", ())):
        click.echo(f"  not there: {one['path']} ({one['reason']})")
    for note in more.get("notes", ()):
        click.echo(note)
