"""Puts the folder ``configs`` into the wheel, as ``ecgcmr/configs``; an editable one reads the repository's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Configs(BuildHookInterface):
    """Adds every config file to a wheel that is no editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files, by their path in the repository and that in the wheel."""
        if version != "standard":
            return
        root = Path(self.root)
        for path in sorted((root / "configs").rglob("*.yaml")):
            name = path.relative_to(root).as_posix()
            build_data["force_include"][name] = f"ecgcmr/{name}"
