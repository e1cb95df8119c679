"""`python -m tests.web.newcomer`: the way of a newcomer, timed: clone, demo, explorer, a node's proof checked in the page.

Every step is the one of the README: ``./dev demo --keep`` in a fresh clone, which first makes its own environment from
the locked dependencies; then what a person does in the browser, without the time that reading takes.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from tests.web.browser import CHROMIUM, MISSING, chromium, guarded
from tests.web.kept_demo import kept_demo

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 1_200.0
DEFAULTS = {"jobs": 200_000, "nodes": 300, "epochs": 3}
"""What the README's command does: the demo's own size."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option("--here", is_flag=True, help="Use this interpreter: no clone, nothing installed.")
def command(*, as_json: bool, here: bool) -> None:
    """Go the way, and say how long each step took."""
    if CHROMIUM is None:
        click.echo(MISSING, err=True)
        sys.exit(2)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        started = time.monotonic()
        start = (sys.executable, "-m", "meridian.cli.main")
        if not here:
            clone = Path(folder) / "meridian"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            seconds["clone"] = time.monotonic() - started
            started = time.monotonic()
            subprocess.run(
                [clone / "dev", "meridian", "--version"], check=True, capture_output=True
            )
            seconds["environment from the lock"] = time.monotonic() - started
            start = (str(clone / "dev"),)
        with kept_demo(Path(folder) / "net", start, DEFAULTS) as demo, chromium() as browser:
            demo.wait_for_explorer(START_TIMEOUT_S)
            seconds["demo until the explorer is there"] = demo.url_after_s
            demo.wait()
            seconds["first epochs paid and verified"] = demo.done_after_s - demo.url_after_s
            started = time.monotonic()
            path = demo.data_dir / "results" / "epoch-000001.json"
            node = json.loads(path.read_text())["payees"][0]["node_id"]
            with guarded(browser, demo.url) as (context, guard):
                page = context.new_page()
                page.goto(demo.url)
                page.locator("#find-node").fill(node)
                page.keyboard.press("Enter")
                page.locator("h1", has_text=node).wait_for()
                page.get_by_role("link", name="Check the proof in this page").click()
                page.locator(".verdict.ok").wait_for()
                assert guard.found == []
            seconds["a node found, its proof checked"] = time.monotonic() - started
    seconds["all"] = sum(seconds.values())
    if as_json:
        click.echo(json.dumps({name: round(value, 1) for name, value in seconds.items()}))
        return
    for name, value in seconds.items():
        click.echo(f"{value:7.1f} s  {name}")


if __name__ == "__main__":
    command()
