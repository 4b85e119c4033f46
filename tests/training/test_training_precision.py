"""``--compile`` says in one line what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_configs

from ecgcmr.cli import main

QUICK = ("--trainer.fast_dev_run=1", "--trainer.enable_model_summary=false")


def test_compile_without_compiler_is_one_line(
    cohort_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    assert main(["fit", "-c", str(config), "--compile", "true", *QUICK]) == 2
    error = capsys.readouterr().err.strip()
    assert "C++ compiler" in error
    assert "\n" not in error
