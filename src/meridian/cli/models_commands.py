"""`meridian models`: the measurement models, and their comparison on the same jobs."""

import json
import tempfile
from pathlib import Path

import click

from meridian.cli.progress import ProgressDisplay
from meridian.errors import InvalidInput

UNEQUAL = 1


@click.group()
def models() -> None:
    """The measurement models: ways from the same jobs to the same payments."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def list_models(*, as_json: bool) -> None:
    """List the models, and what must be believed in each."""
    from meridian.cli.model_tables import print_facts
    from meridian.journey.models.registry import MODELS, is_built, model_named

    found = {name: model_named(name).facts for name in MODELS if is_built(name)}
    if as_json:
        shown = {
            name: {
                "summary": facts.summary,
                "public": facts.public,
                "hidden": facts.hidden,
                "trust": dict(facts.trust),
            }
            for name, facts in found.items()
        }
        click.echo(json.dumps(shown))
        return
    print_facts(found)
    for name in MODELS:
        if name not in found:
            click.echo(f"{name} is not built yet")


@models.command("compare")
@click.option("--jobs", default=10_000, show_default=True, help="Jobs to generate, in one epoch.")
@click.option("--nodes", default=50, show_default=True, help="Nodes to generate.")
@click.option("--seed", default=1, show_default=True, help="Seed of the generator.")
@click.option(
    "--models",
    "chosen",
    metavar="NAME,NAME",
    help="Compare only these.  [default: all that are built]",
)
@click.option(
    "--frauds/--no-frauds",
    default=True,
    help="Also play the ten frauds against each model.  [default: frauds]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything is kept; goes on with what is there.  [default: a temporary directory]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def compare_models(
    jobs: int,
    nodes: int,
    seed: int,
    chosen: str | None,
    *,
    frauds: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Run the same generated jobs by every model, and print what each costs, shows, trusts and lets pass.

    Exits with 0 if all give every node the same weight, every chain of evidence holds, and every fraud could be played.
    """
    from meridian.cli.model_tables import print_comparison
    from meridian.journey.models.comparison import compare
    from meridian.journey.models.registry import built
    from meridian.networks.generator import Traffic

    names = [name.strip() for name in chosen.split(",")] if chosen else built()
    if len(set(names)) != len(names):
        raise InvalidInput("--models", "a model is named twice")
    traffic = Traffic(seed=seed, jobs=jobs, nodes=nodes, epochs=1)
    with tempfile.TemporaryDirectory(prefix="meridian-models-") as temporary:
        root = data_dir or Path(temporary) / "comparison"
        with ProgressDisplay() as display:
            done = compare(traffic, names, root, display, frauds=frauds)
    if as_json:
        click.echo(json.dumps(done.document()))
    else:
        print_comparison(done)
    if not done.holds:
        raise click.exceptions.Exit(UNEQUAL)
