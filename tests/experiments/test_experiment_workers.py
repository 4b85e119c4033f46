"""A number of processes that cannot be is refused before an experiment begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcmr.cli import main


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_an_experiment_without_processes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    assert main(["experiment", "your_data", "--out", str(tmp_path / "out"), f"--workers={workers}"]) == 2
    assert f"--workers {workers}: must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
