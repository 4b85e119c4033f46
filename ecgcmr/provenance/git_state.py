"""Which commit the code of a run was, where it lies in a git repository."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

_PATIENCE_S = 5.0
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "diff.external=")
"""Nothing that a repository names is run to describe it."""


def git_state(file: Path) -> dict[str, Any] | None:
    """Return commit and changes of the repository that keeps a file.

    Args:
        file: Such as a module of the package; one that its repository ignores or does not know is not kept by it.

    Returns:
        ``commit``, ``dirty`` (whether a known file differs from it) and, where it does, ``changes``, the SHA-256 of the
        difference; no names, no remote. None where there is no git or no such repository, or it does not answer soon.
    """
    folder = file.parent
    if _git(folder, "ls-files", "--error-unmatch", "--", file.name) is None:
        return None
    return _state(folder)


def folder_state(folder: Path) -> dict[str, Any] | None:
    """Return the same of the repository that a folder lies in."""
    return _state(folder)


def _state(folder: Path) -> dict[str, Any] | None:
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD")
    found: dict[str, Any] = {"commit": commit.decode("ascii", "replace").strip(), "dirty": changes != b""}
    if changes:
        found["changes"] = hashlib.sha256(changes).hexdigest()
    return found


def _git(folder: Path, *words: str) -> bytes | None:
    """Return what git answers; None where it refuses, is not there or takes too long."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *_QUIET, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
