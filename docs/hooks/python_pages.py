"""The pages of the Python packages: what each room offers, in full, and its modules by their first lines.

A room offers what its ``__init__`` imports. Sources are read, not run.
"""

from __future__ import annotations

import ast
from pathlib import Path

from markdown_text import docstring

FOLDER = "reference/python"
PACKAGES = ("ecgcmr", "data_modules")
_OVERVIEW = """\
# Python

What can be imported. `import ecgcmr` gives [what a user needs most](ecgcmr.md); every other package offers the names on
its page. Modules below a package may change from one version to the next, the names they lend to it are kept.

| package | what for |
|---|---|
"""


def python_pages(root: Path) -> dict[str, str]:
    """Return the pages by their place below ``docs``.

    Args:
        root: The folder in which the packages lie.
    """
    rooms = sorted(path.parent for package in PACKAGES for path in (root / package).rglob("__init__.py"))
    names = {".".join(room.relative_to(root).parts): room for room in rooms}
    offered = {name: _offered(room, name) for name, room in names.items()}
    pages, rows = {}, []
    for name, room in names.items():
        elsewhere = {home for other in names if other.startswith(f"{name}.") for home in offered[other]}
        pages[f"{FOLDER}/{name}.md"] = _page(room, name, offered[name], elsewhere)
        rows.append(f"| [`{name}`]({name}.md) | {docstring(_summary(room / '__init__.py'))} |")
    return {f"{FOLDER}/index.md": _OVERVIEW + "\n".join(rows) + "\n", **pages}


def _page(room: Path, name: str, offered: list[str], elsewhere: set[str]) -> str:
    """Return the page of a room; what a room below it offers too is described there."""
    parts = [f"# {name}", docstring(ast.get_docstring(_tree(room / "__init__.py")) or "")]
    if offered:
        parts.append("## What it offers")
    links = [f"- [`{name}.{home.rpartition('.')[2]}`][{home}]" for home in offered if home in elsewhere]
    parts += ["\n".join(links), *(f"::: {home}" for home in offered if home not in elsewhere)]
    modules = [path for path in sorted(room.glob("*.py")) if not path.stem.startswith("_")]
    rows = [f"| `{path.stem}` | {docstring(_summary(path))} | {_public(path)} |" for path in modules]
    if rows:
        parts.append("\n".join(["## Modules", "", "| module | what for | names |", "|---|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _offered(room: Path, name: str) -> list[str]:
    """Return the full names of what a package imports from its own modules, in the order of the alphabet."""
    stub = room / "__init__.pyi"
    found = {}
    for node in ast.walk(_tree(stub if stub.is_file() else room / "__init__.py")):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{name}."):
            found |= {alias.name: f"{node.module}.{alias.name}" for alias in node.names if alias.name[0] != "_"}
    return [found[key] for key in sorted(found, key=str.lower) if _is_code(room, name, found[key])]


def _is_code(room: Path, name: str, home: str) -> bool:
    """Return whether a name is a class or function with a docstring; constants and types stand with their modules."""
    module, _, last = home.rpartition(".")
    path = room.joinpath(*module.removeprefix(f"{name}.").split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    if not file.is_file():
        return False
    kinds = (ast.ClassDef, ast.FunctionDef)
    return any(isinstance(node, kinds) and node.name == last for node in _tree(file).body)


def _public(path: Path) -> str:
    nodes = (node for node in _tree(path).body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return ", ".join(f"`{node.name}`" for node in nodes if not node.name.startswith("_"))


def _summary(path: Path) -> str:
    text = ast.get_docstring(_tree(path)) or ""
    return text.partition("\n\n")[0]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
