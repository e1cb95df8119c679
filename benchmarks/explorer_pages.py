"""The explorer's pages over a made-up site in a real Chromium: first paint, and how long until a page is drawn.

The site is served on loopback by the explorer's own file server, compressed as for any browser. A cold page has an empty
cache; a page that is gone to comes from another page of the same tab. Each figure is the least and the median of several.
`busy` is the processor time of the page's main thread, which the load of others does not change.
"""

import argparse
import asyncio
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.web.browser import CHROMIUM, MISSING, chromium

from benchmarks.explorer_site import make_site
from meridian.node.web import headers
from meridian.node.web.static_files import StaticFiles
from meridian.primitives.ids import node_key

DRAWN = """
const has = (selector, text) =>
  [...document.querySelectorAll(selector)].some((one) => one.textContent.includes(text));
const pages = {
  network: () => document.querySelector("main canvas") && has("main caption", "All epochs"),
  epoch: () => document.querySelector("main canvas") && has("main h3", "Weights"),
  node: () => has("main th", "What it means"),
  evaluators: () => has("main h1", "Evaluators") && document.querySelector("main table"),
  money: () => has("main h1", "Money") && document.querySelector("main canvas"),
};
window.drawn = {};
const look = () => {
  for (const [name, test] of Object.entries(pages)) {
    if (name in window.drawn || !test()) continue;
    window.drawn[name] = Infinity;
    // The frame with it is drawn before the task after the next animation frame.
    requestAnimationFrame(() => setTimeout(() => { window.drawn[name] = performance.now(); }));
  }
};
new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });
"""
GO = """async ([hash, name]) => {
  window.drawn = {};
  const began = performance.now();
  location.hash = hash;
  while (!(window.drawn[name] < Infinity)) await new Promise((wake) => setTimeout(wake, 5));
  return window.drawn[name] - began;
}"""
LOADED = """() => {
  const found = performance.getEntriesByType("resource");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return { paint: paint.startTime, requests: found.length, bytes: found.reduce((sum, one) => sum + one.transferSize, 0) };
}"""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The site on loopback, by the file server that `meridian web` has."""
    files, loop = StaticFiles(), asyncio.new_event_loop()

    async def get(request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"] or "index.html"
        return await files.answer(request, site, name, headers.REVALIDATE)

    @web.middleware
    async def absent(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:
            raise web.HTTPNotFound from error

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application(middlewares=[absent])
        app.router.add_get("/{path:.*}", get)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, runner.addresses[0][1]

    runner, port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        files.close()
        loop.close()


def cold(browser: Any, url: str, name: str) -> dict[str, float]:
    """Load a page with an empty cache; milliseconds from the start of its navigation."""
    context = browser.new_context()
    try:
        context.add_init_script(DRAWN)
        page = context.new_page()
        engine = context.new_cdp_session(page)
        engine.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(url)
        page.wait_for_function(f"() => window.drawn.{name} < Infinity", polling=20)
        counted = engine.send("Performance.getMetrics")["metrics"]
        (busy_s,) = [one["value"] for one in counted if one["name"] == "TaskDuration"]
        times = {"drawn": page.evaluate(f"window.drawn.{name}"), "busy": 1_000 * busy_s}
        return page.evaluate(LOADED) | times
    finally:
        context.close()


def gone_to(browser: Any, url: str, ways: list[tuple[str, str]]) -> list[float]:
    """Go through the pages of one tab; milliseconds from each change of address until it is drawn."""
    context = browser.new_context()
    try:
        context.add_init_script(DRAWN)
        page = context.new_page()
        page.goto(url)
        page.wait_for_function("() => window.drawn.network < Infinity", polling=20)
        return [page.evaluate(GO, list(way)) for way in ways]
    finally:
        context.close()


def pages_of(nodes: int, epochs: int) -> dict[str, str]:
    """Name -> address of what is measured; the node is one in the middle, the epoch a decided one."""
    key = node_key(f"node-{nodes // 2:06}").hex()
    epoch = epochs - 4
    return {
        "network": "#/",
        "epoch": f"#/epoch/{epoch}",
        "node": f"#/node/{key}",
        "evaluators": "#/evaluators",
        "money": "#/money",
    }


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--nodes", type=int, default=10_000, help="nodes in every epoch")
    parser.add_argument("--epochs", type=int, default=1_000, help="epochs")
    parser.add_argument("--site", type=Path, help="a site that `explorer --out` has made")
    parser.add_argument("--turns", type=int, default=5, help="how often each page is loaded")


def measure(nodes: int, epochs: int, site: Path | None, turns: int) -> dict[str, Any]:
    """Load every page."""
    if CHROMIUM is None:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        if site is None:
            site = Path(folder)
            make_site(site, nodes, epochs)
        addresses = pages_of(nodes, epochs)
        with served(site) as url, chromium() as browser:
            loads = {
                name: [cold(browser, url + hash_, name) for _ in range(turns)]
                for name, hash_ in addresses.items()
            }
            ways = [(hash_, name) for name, hash_ in addresses.items() if name != "network"]
            walks = [gone_to(browser, url, ways) for _ in range(turns)]
    gone = {name: [walk[at] for walk in walks] for at, (_, name) in enumerate(ways)}
    return {
        "nodes": nodes,
        "epochs": epochs,
        "turns": turns,
        "cold": {
            name: {key: _both([one[key] for one in found]) for key in found[0]}
            for name, found in loads.items()
        },
        "gone_to": {name: _both(found) for name, found in gone.items()},
    }


def _both(found: list[float]) -> dict[str, int]:
    return {"least": round(min(found)), "median": round(statistics.median(found))}


def report(result: dict[str, Any]) -> None:
    """Print what was measured."""
    print(
        f"{result['nodes']} nodes x {result['epochs']} epochs, ms, least / median of {result['turns']}"
    )
    print(
        f"{'page':<12}{'first paint':>14}{'drawn, cold':>14}{'busy, cold':>14}{'gone to':>14}{'requests':>10}{'KB':>7}"
    )
    for name, found in result["cold"].items():
        gone = result["gone_to"].get(name)
        cells = [found["paint"], found["drawn"], found["busy"], gone]
        texts = ["" if one is None else f"{one['least']} / {one['median']}" for one in cells]
        line = "".join(f"{text:>14}" for text in texts)
        print(
            f"{name:<12}{line}{found['requests']['least']:>10}{found['bytes']['least'] // 1000:>7}"
        )
