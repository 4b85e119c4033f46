"""What our own code and the tests are warned of is an error; only deprecations of named packages are silent."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path

import pytest

KINDS = [DeprecationWarning, FutureWarning, RuntimeWarning, UserWarning]


def _warn(kind: type[Warning], module: str) -> None:
    warnings.warn_explicit("soon gone", kind, "file.py", 1, module=module, registry={})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "module", ["ecgcmr", "ecgcmr.stages.contrast", "data_modules.base", "test_warnings_shown", "conftest", "warm_runs"]
)
def test_a_warning_of_our_own_code_is_an_error(kind: type[Warning], module: str) -> None:
    with pytest.raises(kind, match="soon gone"):
        _warn(kind, module)


@pytest.mark.parametrize("module", ["numpy.lib", "ecgcmrs", "lightning.ecgcmr", "test_warnings_shown_elsewhere"])
def test_a_warning_of_a_library_is_shown(module: str) -> None:
    with pytest.warns(UserWarning, match="soon gone"):
        _warn(UserWarning, module)


@pytest.mark.parametrize("kind", [DeprecationWarning, FutureWarning])
def test_deprecations_are_silenced_by_module(kind: type[Warning]) -> None:
    settings = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())
    for line in settings["tool"]["pytest"]["ini_options"]["filterwarnings"]:
        assert line.count(":") >= 3, f"{line} concerns every package"
    with warnings.catch_warnings(record=True) as seen:
        _warn(kind, "torch.nn.modules")
        assert seen == []
        _warn(kind, "pydicom.values")
        assert len(seen) == 1
