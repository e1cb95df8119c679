"""`meridian scenario`: stories of liars who are found, with real processes."""

import json
from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything is kept; must be new.  [default: a temporary directory]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the story.")
def scenario(name: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Play the scenario NAME, or `list` them.

    Starts a chain, two aggregators, evaluators and a watcher as processes on loopback. Exits with 0 only if the story
    ended as it must: the lie was proven, the liar's stake moved, the honest result was paid, and no money was lost.
    """
    from meridian.scenario.catalogue import SCENARIOS, describe, play

    if name == "list":
        if as_json:
            click.echo(json.dumps({one: describe(one) for one in SCENARIOS}))
        else:
            for one in SCENARIOS:
                click.echo(f"{one:18} {describe(one)}")
        return
    document = play(name, (lambda _: None) if as_json else click.echo, data_dir)
    if as_json:
        click.echo(json.dumps(document))
    elif document["ended_well"]:
        click.echo(f"{name} ended as it must: {len(document['held'])} facts held")
    if not document["ended_well"]:
        raise click.exceptions.Exit(1)
