"""Pages in a headless Chromium, where it is there; a test that needs it says so where it is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync")  # fmt: skip


@dataclass
class Browsed:
    """A page that is shown: what it logged, what went wrong, what it asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def width(self) -> int:
        """Pixels across that the page takes, beyond the window where it is too wide."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def column(self, table: int, column: int) -> list[str]:
        """Return the texts of a column of a table."""
        script = (
            "([t, c]) => [...document.querySelectorAll('table')[t].tBodies[0].rows].map(r => r.cells[c].textContent)"
        )
        return list(self.page.evaluate(script, [table, column]))


@contextmanager
def shown(address: str | Path, *, width: int = 1280, scheme: str = "light", scripts: bool = True) -> Iterator[Browsed]:
    """Show a page.

    Args:
        address: A file, or an address.
        width: Of the window, in pixels.
        scheme: ``light`` or ``dark``, what the device prefers.
        scripts: Whether scripts run.
    """
    program = os.environ.get("ECGCMR_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed (Debian's package chromium), so no page is looked at")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as machine:
        browser = machine.chromium.launch(executable_path=program, args=list(_QUIET))
        try:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
            )
            page = context.new_page()
            found = Browsed(page)
            page.on("console", lambda message: found.messages.append(message.text))
            page.on("pageerror", lambda error: found.messages.append(str(error)))
            page.on("dialog", lambda dialog: (found.messages.append(dialog.message), dialog.dismiss()))
            page.on("request", lambda request: found.requests.append(request.url))
            page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
            yield found
        finally:
            browser.close()
