"""``ecgcmr report`` of a single stage's run, and what is no folder of either kind."""

from __future__ import annotations

from pathlib import Path

import finished_experiment
import pytest

from ecgcmr.cli import main


def test_a_run_shows_its_curves_and_settings(tmp_path: Path) -> None:
    finished_experiment.stage(tmp_path / "mae")
    assert main(["report", str(tmp_path / "mae")]) == 0
    page = (tmp_path / "mae" / "report.html").read_text()
    assert "<title>Run mae</title>" in page
    assert page.count("<polyline") == 2
    assert "train from 1 to 0.08333; val from 1 to 0.08333" in page
    assert "ECGVisionTransformer" in page
    assert "swordfish" not in page


def test_weights_that_were_never_trained_are_a_page_too(tmp_path: Path) -> None:
    finished_experiment.stage(tmp_path / "random")
    (tmp_path / "random" / "config.yaml").unlink()
    assert main(["report", str(tmp_path / "random")]) == 0
    assert "never trained" in (tmp_path / "random" / "report.html").read_text()


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "root"])
def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    run = tmp_path / ("empty" if kind == "root" else kind)
    assert main(["report", str(run), *(["--root", str(tmp_path)] if kind == "root" else [])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert {"missing": "no such folder", "file": "no such folder", "empty": "no run of a stage",
            "root": "no experiment's folder"}[kind] in line  # fmt: skip
