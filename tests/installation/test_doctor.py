"""``ecgcmr doctor``: what is missing, too old or broken is found and ends with 3; all else is described."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ecgcmr
from ecgcmr.cli import main
from ecgcmr.installation import machine, requirements
from ecgcmr.installation.speed import speeds

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
QUICK = ["doctor", "--without-speed", "--json"]
PRETENDED = {"lightning": "2.6.2", "h5py": None}


def _found(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def _pretend(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None]) -> None:
    """Let packages be missing (None) or of another version."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        pretended = versions.get(name, "real")
        if pretended is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name) if pretended == "real" else pretended

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_every_requirement_is_looked_up_and_a_whole_installation_ends_with_zero(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(QUICK) == 0
    found = _found(capsys)
    assert len(found["packages"]) == len(PROJECT["dependencies"])
    assert all(package["fits"] for package in found["packages"])
    assert found["problems"] == []
    assert found["backends"]["gloo"]
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory_gb"] >= found["machine"]["memory_free_gb"] > 0


def test_every_extra_for_users_is_known_with_its_packages() -> None:
    extras = {name: set() for name in set(PROJECT["optional-dependencies"]) - {"all", "dev", "docs"}}
    assert set(requirements.USES) == set(extras)
    found = requirements.extras()
    assert {package.name for package in found["serve"]} == {"fastapi", "uvicorn", "python-multipart"}
    assert all(found.values())


def test_what_is_missing_or_of_a_refused_version_ends_with_three(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend(monkeypatch, PRETENDED)
    assert main(QUICK) == 3
    problems = _found(capsys)["problems"]
    assert [problem.split()[0] for problem in problems] == ["lightning", "h5py"]
    assert problems[0].endswith("2.6.2 is installed")
    assert problems[1].endswith("is missing")


def test_an_extra_counts_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend(monkeypatch, {"uvicorn": "0.1"})
    assert main(QUICK) == 0
    assert not _found(capsys)["extras"]["serve"]["installed"]
    assert main([*QUICK, "--needs", "serve"]) == 3
    found = _found(capsys)
    assert found["problems"] == ["uvicorn >=0.30: 0.1 is installed"]
    assert found["remedy"] == "pip install 'uvicorn>=0.30'"
    assert main([*QUICK, "--needs", "tea"]) == 2
    assert "--needs tea: is no extra; choose of compression, " in capsys.readouterr().err


def test_the_column_of_uses_is_as_wide_as_the_longest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(requirements.USES, "serve", "s" * 60)
    assert main(["doctor", "--without-speed"]) == 0
    lines = capsys.readouterr().out.split("extras:\n")[1].split("\n\n")[0].splitlines()
    assert len(lines) == len(requirements.USES)
    assert {line[15 + 60 : 15 + 62] for line in lines} == {"  "}


@pytest.mark.parametrize("missing", [None, "absent"])
def test_without_torch_the_packages_are_told_and_nothing_else(
    missing: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing is None:
        _pretend(monkeypatch, {"torch": None})
    else:
        monkeypatch.setattr(importlib, "import_module", _failing("torch", OSError("libgomp.so.1: cannot open")))
    assert main(["doctor"]) == 3
    text = capsys.readouterr().out
    assert "problem: torch" in text
    assert "speed" not in text


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ImportError("built for\nanother NumPy"), "built for another NumPy"), (ModuleNotFoundError(name="numba"), None)],
)
def test_a_module_that_does_not_load_is_named_and_one_that_is_not_there_left_out(
    error: Exception, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib, "import_module", _failing("numba", error))
    broken = requirements.broken_imports()
    assert broken == ({} if reason is None else {"numba": reason})
    assert requirements.remedy([], broken) == (None if reason is None else "pip install --force-reinstall numba")


def test_an_installed_package_says_itself_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [
        "torch>=2.8",
        "tomli; python_version < '3'",
        "ecgcmr[serve]; extra == 'all'",
        "wandb>=0.19; extra == 'wandb'",
    ]
    monkeypatch.setattr(ecgcmr, "__file__", str(tmp_path / "site-packages" / "ecgcmr" / "__init__.py"))
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines if name == "ecgcmr" else None)
    assert [package.name for package in requirements.needed()] == ["torch"]
    assert [package.name for package in requirements.extras()["wandb"]] == ["wandb"]


def test_what_will_not_run_as_expected_is_warned_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    described = {"shared_memory_gb": 0.1, "disk_free_gb": 1.0, "open_files": 256}
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_NVIDIA", tmp_path)
    said = " ".join(machine.warnings_about(described, []))
    for word in ("NVIDIA driver", "C++ compiler", "/dev/shm", "disk", "ulimit"):
        assert word in said
    card = {"device": "cuda:0", "name": "a card"}
    plenty = {"shared_memory_gb": None, "disk_free_gb": 100.0, "open_files": 4096}
    assert machine.warnings_about(plenty, [card]) == []


@pytest.mark.slow
def test_a_device_is_timed_and_people_read_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = speeds("cpu", seconds=0.05)
    assert set(found) == {"float32_gflops", "bfloat16_gflops", "ecg_per_second"}
    assert all(math.isfinite(rate) and rate > 0 for rate in found.values())
    monkeypatch.setattr("ecgcmr.installation.speed.speeds", lambda device, seconds: found)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "ECGs/s trained" in text
    assert f"torch {importlib.metadata.version('torch')}" in text
    assert text.endswith("all that is needed is there; try: ecgcmr demo\n")


def _failing(name: str, error: Exception) -> Callable[[str], ModuleType]:
    real = importlib.import_module

    def import_module(asked: str, package: str | None = None) -> ModuleType:
        if asked == name:
            raise error
        return real(asked, package)

    return import_module
