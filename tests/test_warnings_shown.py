"""A deprecation that concerns our own code is shown; only those of named packages are not."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", [DeprecationWarning, FutureWarning])
def test_deprecations_are_silenced_by_module(kind: type[Warning]) -> None:
    settings = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())
    for line in settings["tool"]["pytest"]["ini_options"]["filterwarnings"]:
        assert line.count(":") >= 3, f"{line} silences a whole kind"
    for module, shown in (("ecgcmr.stages.contrast", 1), ("data_modules.base", 1), ("torch.nn.modules", 0)):
        with warnings.catch_warnings(record=True) as seen:
            warnings.warn_explicit("soon gone", kind, "file.py", 1, module=module, registry={})
        assert len(seen) == shown
