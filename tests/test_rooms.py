"""The order of rooms: imports run downwards only, and no module imports itself by a detour."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("ecgcmr", "data_modules")

# Each level may import those before it, and nothing of its own level or above.
LEVELS = (
    ("ground",),  # the files beside the folders of ecgcmr
    ("formats", "metrics", "encoders", "objectives", "augmentations"),
    ("shards", "speed_choices"),
    ("preparation", "evaluation"),
    ("data_modules",),
    ("probes",),
    ("synthesis", "inspection", "verification", "reports", "provenance", "installation"),
    ("inference",),
    ("interpretation",),
    ("stages",),
    ("weights_import", "training", "pages"),
    ("experiments", "benchmarks"),
    ("sweeps",),
    ("cli",),
)


def _modules() -> dict[str, Path]:
    """Return every module of the packages by its dotted name."""
    files = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    return {_dotted(path): path for path in files}


def _dotted(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    package, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    if package == "data_modules":
        return package
    if first in ("cli", "__main__"):
        return "cli"
    return first if (REPOSITORY / "ecgcmr" / first).is_dir() and first else "ground"


def _imports(path: Path, modules: dict[str, Path], *, lazily: bool) -> set[str]:
    """Return the modules of the packages that a file imports, those inside functions only if asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if lazily else _at_import(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in whole}
    return {name for name in found if name in modules}


def _at_import(tree: ast.Module) -> list[ast.stmt]:
    """Return the statements that run when a module is imported; those for type checkers do not."""
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_every_folder_has_a_place_in_the_order_of_rooms():
    folders = {path.parent.name for path in (REPOSITORY / "ecgcmr").glob("*/__init__.py")} | {"data_modules"}
    placed = [room for level in LEVELS for room in level]
    assert len(placed) == len(set(placed))
    assert folders == set(placed) - {"ground", "cli"}


@pytest.mark.slow
def test_no_room_imports_upwards_or_beside_itself():
    modules = _modules()
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    wrong = [
        f"{name} imports {other}"
        for name, path in modules.items()
        for other in _imports(path, modules, lazily=True)
        if _room(other) != _room(name) and level[_room(other)] >= level[_room(name)]
    ]
    assert wrong == []


@pytest.mark.slow
def test_no_module_imports_itself_by_a_detour():
    modules = _modules()
    graph = {name: _imports(path, modules, lazily=False) - {name} for name, path in modules.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert set(order) == set(modules)


@pytest.mark.parametrize("room", ["formats", "metrics", "shards", "evaluation", "probes"])
def test_rooms_of_numpy_know_no_torch(room: str):
    for path in (REPOSITORY / "ecgcmr" / room).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            name.partition(".")[0]
            for node in _at_import(tree)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        assert not names & {"torch", "lightning"}, path
