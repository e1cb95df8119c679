"""`python -m tests.web.newcomer`: the way of a newcomer, timed: clone, demo, explorer, a node's proof checked in the page.

The commands are those of the README's blocks: ``git clone URL … && cd …`` with this repository in URL's place, and
``./dev demo --keep``, which first makes its own environment from the locked dependencies; only a data directory is added.
Then what a person does in the browser, without the time that reading takes.
"""

import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from tests.web.browser import CHROMIUM, MISSING, chromium, guarded
from tests.web.kept_demo import kept

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
START_TIMEOUT_S = 1_200.0
PLACEHOLDER = "URL"


def shown(section: str, beginning: str) -> str:
    """The one line of the README's shell blocks below this heading that begins so, without its comment."""
    _, _, below = README.read_text().partition(f"\n## {section}\n")
    part = below.partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    (line,) = [
        line for block in blocks for line in block.splitlines() if line.startswith(beginning)
    ]
    return shlex.join(shlex.split(line, comments=True)).replace("'&&'", "&&")


def cloned(folder: Path) -> Path:
    """Run the README's first line in `folder`; returns where it ends up."""
    line = shown("Two commands", "git clone ")
    if PLACEHOLDER not in line.split():
        msg = f"the README's clone has no {PLACEHOLDER}: {line}"
        raise AssertionError(msg)
    line = line.replace(PLACEHOLDER, shlex.quote(str(ROOT)), 1)
    done = subprocess.run(
        ["sh", "-c", f"{line} && pwd"], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(done.stdout.strip())


def any_node(page: Any) -> str:
    """Open the oldest epoch of the list, and take the first id of its nodes."""
    epochs = page.locator("table", has=page.get_by_text("All epochs, the newest first"))
    epochs.locator("tbody tr").last.get_by_role("link").first.click()
    node = page.locator("tbody a.name").first
    node.wait_for()
    return str(node.get_attribute("title"))


def check_a_proof(page: Any, url: str) -> None:
    """From the address that the demo prints to a node's checked proof."""
    page.goto(url)
    node = any_node(page)
    page.get_by_role("link", name="Network", exact=True).first.click()
    page.locator("#find-node").fill(node)
    page.keyboard.press("Enter")
    page.locator("h1", has_text=node).wait_for()
    page.get_by_role("link", name="Check the proof in this page").click()
    page.locator(".verdict.ok").wait_for()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option("--here", is_flag=True, help="Use this interpreter: no clone, nothing installed.")
def command(*, as_json: bool, here: bool) -> None:
    """Go the way, and say how long each step took."""
    if CHROMIUM is None:
        click.echo(MISSING, err=True)
        sys.exit(2)
    seconds: dict[str, float] = {}
    words = shlex.split(shown("The explorer", "./dev demo"))
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        net, place = Path(folder) / "net", Path(folder)
        if here:
            words[0:1] = [sys.executable, "-m", "meridian.cli.main"]
        else:
            started = time.monotonic()
            place = cloned(place)
            seconds["clone"] = time.monotonic() - started
        words += ["--data-dir", str(net)]
        with kept(net, words, place) as demo, chromium() as browser:
            demo.wait_for_explorer(START_TIMEOUT_S)
            if not here:
                seconds["environment from the lock"] = demo.installed_after_s
            seconds["demo until the explorer is there"] = demo.url_after_s - demo.installed_after_s
            demo.wait()
            seconds["first epochs paid and verified"] = demo.done_after_s - demo.url_after_s
            started = time.monotonic()
            with guarded(browser, demo.url) as (context, guard):
                check_a_proof(context.new_page(), demo.url)
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
