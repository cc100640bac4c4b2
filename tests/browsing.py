"""A real browser on a real server: what tests of pages need. A page may make no mistake while it is looked at."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fourfold.config import Settings
from fourfold.serve.app import application
from fourfold.serve.server import listening
from fourfold.serve.service import Reach, Service

THEMES = ("light", "dark")
_HERE = Reach()
_TELL = """
addEventListener("securitypolicyviolation", (event) => console.error(
  `policy ${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`))
"""


def chromium() -> str:
    """Where the browser is; the test is skipped without one, but not in continuous integration."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("Chromium is needed for this test")
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless browser."""
    path = chromium()
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextlib.contextmanager
def served(store: Path, project: str, reach: Reach = _HERE) -> Iterator[tuple[str, Service]]:
    """A server of a store in a thread, and where it is."""
    service = Service(Settings(str(store), project), reach)
    bound = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application(service), log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", service
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()


class Tab:
    """A page of a browser, and what went wrong in it."""

    def __init__(self, opened: Any, home: str, theme: str = "light", *, zone: str = "UTC", wide: int = 1280) -> None:
        size = {"width": wide, "height": 900}
        self.context = opened.new_context(viewport=size, color_scheme=theme, timezone_id=zone)
        self.context.add_init_script(_TELL)
        self.page, self.home = self.context.new_page(), home
        self.wrong: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("response", self._answered)
        self.page.on("request", self._asked)
        self.page.on("dialog", self._dialog)

    def go(self, path: str) -> None:
        """Open a page, and wait until it is drawn."""
        self.page.goto(self.home + path)
        self.drawn()

    def drawn(self) -> None:
        """Wait until nothing is on its way to the page."""
        self.page.locator("main").wait_for()
        self.page.locator(".loading, .stale").first.wait_for(state="detached", timeout=60_000)
        self.page.wait_for_load_state("networkidle")

    def links(self) -> list[str]:
        """The addresses that the page leads to, as they are written, without those of files."""
        found = self.page.locator("main a[href^='/']:not([download])").evaluate_all(
            "links => links.map((link) => link.getAttribute('href'))"
        )
        return list(dict.fromkeys(found))

    def text(self) -> str:
        """What can be read."""
        return str(self.page.locator("main").inner_text())

    def at(self) -> str:
        """The address, without the server's."""
        return str(self.page.url.removeprefix(self.home))

    def right(self) -> None:
        """Nothing went wrong: no script of a record's ran, nothing was refused by the policy, no mistake anywhere."""
        assert self.page.evaluate("window.ran ?? null") is None
        assert not self.wrong, (self.page.url, self.wrong)

    def close(self) -> None:
        """Close it."""
        self.context.close()

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console: {message.text}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url[:500]}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.wrong.append(f"foreign: {request.url[:500]}")

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()
