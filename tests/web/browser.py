"""A real Chromium, driven as a person would, and what no page may do: call elsewhere, break the policy, log an error."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]
MISSING = "chromium is not installed (Debian: apt-get install chromium)"
WAIT_MS = 20_000
SERIOUS = {"serious", "critical"}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; it ends with the context."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Guard:
    """What a page did that it must not."""

    origin: str
    found: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Watch all pages of a context, from before their first script."""
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.found.append(f"error: {error.error}"))
        context.expose_function("reportViolation", self._violation)
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (event) =>"
            " reportViolation(`${event.violatedDirective}: ${event.blockedURI}`));"
        )

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        here = f"{parts.scheme}://{parts.netloc}" == self.origin
        if not here and parts.scheme not in {"data", "blob"}:
            self.found.append(f"request to {request.url}")

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"console: {message.text}")

    def _violation(self, text: str) -> None:
        self.found.append(f"policy: {text}")


@contextmanager
def guarded(browser: Browser, url: str, **more: Any) -> Iterator[tuple[BrowserContext, Guard]]:
    """A fresh context (its own storage) whose pages are watched.

    Args:
        browser: The browser.
        url: The site; no page may ask for anything elsewhere.
        more: Of playwright's `new_context`, such as `color_scheme`.
    """
    parts = urlsplit(url)
    context = browser.new_context(**more)
    context.set_default_timeout(WAIT_MS)
    guard = Guard(f"{parts.scheme}://{parts.netloc}")
    guard.watch(context)
    try:
        yield context, guard
    finally:
        context.close()


def faults_of(page: Page) -> list[str]:
    """What axe finds serious on a page as it stands: rule, and the elements."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in SERIOUS
    ]
