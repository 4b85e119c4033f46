"""The documentation as a site: it builds without a warning, its links lead somewhere, is searched, fits a phone."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import shown

from ecgcmr.cli import COMMANDS

pytestmark = [pytest.mark.slow, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[2]
LOOKED_AT = ("", "data/", "reference/commands/prepare/", "reference/python/ecgcmr.encoders/", "results/")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: a warning is an error."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed; make long installs it")
    out = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return out


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of what is asked for."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site over HTTP, which its search needs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class _Links(HTMLParser):
    """What a page refers to, and the names of its own places."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.named: set[str] = set()
        self.to: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.named |= {str(found[key]) for key in ("id", "name") if found.get(key)}
        self.to += [str(found[key]) for key in ("href", "src") if found.get(key)]


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: _Links(path) for path in site.rglob("*.html") if path.name != "404.html"}
    wrong = []
    for page, links in pages.items():
        for link in links.to:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in pages and place not in pages[target].named):
                wrong.append(f"{page.relative_to(site)}: {link}")
    assert len(pages) > 60
    assert wrong == []


def test_every_command_config_and_package_has_its_place(site: Path) -> None:
    reference = site / "reference"
    for name in COMMANDS:
        assert (reference / "commands" / name / "index.html").is_file()
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"configs/{path.parent.name}/{path.name}" in (
            (reference / "configs" / path.parent.name / "index.html").read_text()
        )
    for package in (*(ROOT / "ecgcmr").rglob("__init__.py"), ROOT / "data_modules" / "__init__.py"):
        name = ".".join(package.parent.relative_to(ROOT).parts)
        assert (reference / "python" / name / "index.html").is_file()
    assert "patch_size" in (reference / "python" / "ecgcmr.encoders" / "index.html").read_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_fit_their_window_and_fetch_nothing_from_elsewhere(address: str, width: int, scheme: str) -> None:
    with shown(address, width=width, scheme=scheme) as found:
        for page in LOOKED_AT:
            found.page.goto(address + page)
            assert found.width() <= width, page
            scheme_shown = found.page.evaluate("document.body.getAttribute('data-md-color-scheme')")
            assert scheme_shown == {"light": "default", "dark": "slate"}[scheme]
        assert [request for request in found.requests if not request.startswith((address, "data:", "blob:"))] == []
        assert found.messages == []


def test_the_search_finds_a_word_of_the_text_and_a_class(address: str) -> None:
    with shown(address) as found:
        for words, expected in (("oracle", "synthesis"), ("PatchMasking", "reference/python/ecgcmr.encoders")):
            found.page.goto(address)
            found.page.fill("input.md-search__input", words)
            link = f".md-search-result__link[href*='{expected}']"
            found.page.wait_for_selector(link, timeout=20_000, state="attached")
            assert re.search(expected, found.page.get_attribute(link, "href"))
