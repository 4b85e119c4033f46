"""Digest of the user's own code that a config names, so that a stage whose class was changed is run afresh.

Nothing is imported. What is installed is known by its version; what lies in a folder of the user's, by the text of all
modules of its top-level package, since a class rarely stands alone.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

_CLASS = "class_path"
_KNOWN = frozenset(("ecgcmr", "data_modules", "torch", "lightning", "torchmetrics", "monai"))
"""Packages whose versions are those of the installation; a fingerprint names that of this one alone."""
_MOST_FILES = 2000
_PACKAGE = Path(__file__).resolve().parent
_PROGRAM = (_PACKAGE, _PACKAGE.parent / "data_modules")


def own_code_of(content: Any) -> dict[str, str]:
    """Return top-level package -> digest of what a config, or a part of one, names beside this package's classes.

    Args:
        content: Mappings, lists and plain values; keys may be dotted, as overrides are.

    Returns:
        Empty where all classes are of this package or of those that it stands on. A package that is not found has the
        digest "missing": the command that imports it says so.
    """
    return own_code_of_names(_class_paths(content))


def own_code_of_names(names: Iterable[str]) -> dict[str, str]:
    """Return the same of names of classes and objects, ``package.module:NAME`` or with a point."""
    packages = {re.split("[.:]", name)[0] for name in names} - _KNOWN
    return {name: _digest(name) for name in sorted(packages) if name.isidentifier()}


def _class_paths(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(value, str) and str(key).rpartition(".")[2] == _CLASS:
                yield value
            else:
                yield from _class_paths(value)
    elif isinstance(content, Sequence) and not isinstance(content, str):
        for value in content:
            yield from _class_paths(value)


def _digest(package: str) -> str:
    places = [Path(place or ".") for place in (*sys.path, "")]
    for place in places:
        for found in (place / package / "__init__.py", place / f"{package}.py", place / package):
            if found.exists() and (found.suffix == ".py" or any(found.glob("*.py"))):
                return _installed_version(package) if _is_installed(found) else _text_digest(found)
    return "missing"


def _is_installed(path: Path) -> bool:
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    return any(path.resolve().is_relative_to(Path(folder).resolve()) for folder in folders if folder)


def _installed_version(package: str) -> str:
    names = importlib.metadata.packages_distributions().get(package, ())
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names))) or "standard library"


def _text_digest(found: Path) -> str:
    if found.name == "__init__.py":
        found = found.parent
    files = [found] if found.is_file() else sorted(found.rglob("*.py"))[:_MOST_FILES]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(found.parent).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def own_place(error: BaseException) -> str:
    """Return the last line of the user's own code that an error came through, as ``mine.py, line 7``; else empty."""
    for frame in reversed(extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        if path.is_file() and not _is_installed(path) and not any(map(path.is_relative_to, _PROGRAM)):
            return f"{path.name}, line {frame.lineno}"
    return ""
