"""A run takes bfloat16 where the hardware has it and nobody says otherwise; ``--compile`` is told what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_configs

from ecgcmr.cli import main
from ecgcmr.stages.command import StageCLI

QUICK = ("--trainer.fast_dev_run=1", "--trainer.enable_model_summary=false")


@pytest.mark.parametrize(
    ("multiplies", "said", "taken"),
    [(True, "null", "bf16-mixed"), (False, "null", "32-true"), (True, "32-true", "32-true")],
)
def test_precision_follows_hardware_unless_said(
    cohort_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multiplies: bool, said: str, taken: str
) -> None:
    monkeypatch.setattr("ecgcmr.stages.precision.cpu_multiplies_bfloat16", lambda: multiplies)
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    cli = StageCLI(["fit", "-c", str(config), f"--trainer.precision={said}", *QUICK])
    assert cli.trainer.precision == taken
    assert all(weight.dtype.itemsize == 4 for weight in cli.model.encoder.parameters())


def test_compile_without_compiler_is_one_line(
    cohort_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    assert main(["fit", "-c", str(config), "--compile", "true", *QUICK]) == 2
    error = capsys.readouterr().err.strip()
    assert "C++ compiler" in error
    assert "\n" not in error
