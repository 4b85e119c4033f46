"""The hook of mkdocs.yml: adds the pages that are made from the program, its configs and committed results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmark_tables import with_tables
from command_pages import command_pages
from config_pages import config_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebook_pages import notebook_pages
from project_pages import project_pages
from python_pages import python_pages
from result_pages import result_pages
from schema_pages import schema_pages

_MADE = "made_pages"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages, and put those of a folder where the navigation says ``folder/*``."""
    docs = Path(config.docs_dir)
    root = docs.parent
    made: dict[str, str | bytes] = {
        **command_pages(),
        **config_pages(root / "configs"),
        **python_pages(root),
        **schema_pages(docs),
        **result_pages(docs / "results"),
        **notebook_pages(docs),
        **project_pages(root),
    }
    config.extra[_MADE] = made
    config.nav = _expanded(config.nav, [name for name in made if name.endswith(".md")])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that lie in ``docs``."""
    for name, content in config.extra[_MADE].items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files beside ``docs`` lead to the pages made of them, and put tables where a page asks for them."""
    markdown = with_tables(markdown, Path(config.docs_dir) / "results")
    up = "../" * page.file.src_uri.count("/")
    return re.sub(r"\]\(\.\./configs/README\.md\)", f"]({up}reference/configs/index.md)", markdown)


def _expanded(entry: Any, made: list[str]) -> Any:
    """Return an entry of the navigation with ``folder/*`` as the list of that folder's pages."""
    if isinstance(entry, dict):
        return {title: _expanded(item, made) for title, item in entry.items()}
    if isinstance(entry, list):
        items = [_expanded(item, made) for item in entry]
        return [single for item in items for single in (item if isinstance(item, list) else [item])]
    if isinstance(entry, str) and entry.endswith("/*"):
        return [name for name in made if name.startswith(entry[:-1])]
    return entry
