"""`python -m tests.web.pictures`: the pictures of the explorer in the docs, taken from a real network in a real browser."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from tests.web.browser import CHROMIUM, MISSING, chromium, guarded
from tests.web.kept_demo import SETTINGS, KeptDemo, kept_demo

from meridian.primitives.ids import node_key

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WINDOW = {"width": 1160, "height": 720}
NETWORK = SETTINGS | {"nodes": 80, "jobs": 40_000, "epochs": 8, "claims": 60, "sabotage": "4:dead"}


def busiest(demo: KeptDemo) -> str:
    """The node with the largest share of the last epoch."""
    path = demo.data_dir / "results" / f"epoch-{NETWORK['epochs']:06d}.json"
    payees = json.loads(path.read_text())["payees"]
    return max(payees, key=lambda one: float(one["proportion"]))["node_id"]


def take(page: Any, folder: Path, name: str, at: str = "") -> None:
    """Take a picture of what is in the window, from the heading `at` on."""
    page.wait_for_function("() => !document.querySelector('main .loading')")
    if at:
        page.locator("h2, h3", has_text=at).first.evaluate("one => one.scrollIntoView()")
    page.wait_for_timeout(300)  # plots and heat maps draw after the frame
    path = folder / f"{name}.png"
    page.screenshot(path=path)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def take_all(demo: KeptDemo, page: Any, folder: Path) -> None:
    """Take every picture."""
    last, node = NETWORK["epochs"], node_key(busiest(demo)).hex()
    page.goto(demo.url)
    page.locator("canvas").first.wait_for()
    take(page, folder, "explorer-network")
    page.goto(f"{demo.url}#/epoch/{last}")
    page.locator("canvas").first.wait_for()
    take(page, folder, "explorer-epoch", "Weights, evaluators by nodes")
    page.goto(f"{demo.url}#/node/{node}/{last}")
    page.locator("table", has_text="What it means").wait_for()
    take(page, folder, "explorer-node", f"In epoch {last}")
    page.get_by_role("link", name="Check the proof in this page").click()
    page.locator(".verdict.ok").wait_for()
    field = page.locator("#proof-text")
    document = json.loads(field.input_value())
    path = document["node"]["path"]
    path[-1] = format(int(path[-1][0], 16) ^ 1, "x") + path[-1][1:]
    field.fill(json.dumps(document))
    page.locator("#failed-step").wait_for()
    page.locator("#failed-step").evaluate("one => one.scrollIntoView({block: 'center'})")
    take(page, folder, "explorer-broken-proof")


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=IMAGES)
def command(out: Path) -> None:
    """Run a network, and take the pictures."""
    if CHROMIUM is None:
        click.echo(MISSING, err=True)
        sys.exit(2)
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="pictures-") as folder,
        kept_demo(Path(folder) / "net", settings=NETWORK) as demo,
        chromium() as browser,
    ):
        demo.wait()
        with guarded(browser, demo.url, viewport=WINDOW, color_scheme="light") as (context, _):
            take_all(demo, context.new_page(), out)


if __name__ == "__main__":
    command()
