"""The pictures of the explorer in the docs: the end-to-end test takes them of its own network where MERIDIAN_PICTURES=1."""

import json
import os
from pathlib import Path
from typing import Any

from tests.web.kept_demo import SETTINGS, KeptDemo

from meridian.primitives.ids import node_key

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WANTED = os.environ.get("MERIDIAN_PICTURES") == "1"
WINDOW = {"width": 1160, "height": 720}
NETWORK = SETTINGS | {"nodes": 80, "jobs": 40_000, "epochs": 8, "claims": 60, "sabotage": "4:dead"}
"""What the test runs then: large enough that there is something to see."""


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
