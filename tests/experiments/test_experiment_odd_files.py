"""Files of an experiment and of a run folder that hold something else: one line, or a note and a new file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcmr.benchmarks.command import _earlier
from ecgcmr.errors import UserError
from ecgcmr.experiments.chain import encoder_for_task
from ecgcmr.experiments.stage_runs import StageRun, is_finished, marker_state
from ecgcmr.training.metrics_file import earlier_metrics

ODD = [b"[1]", b"3", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1, "a": 2}', b"null"]


@pytest.mark.parametrize("content", ODD)
def test_a_note_of_a_stage_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stage.json").write_bytes(content)
    with pytest.raises(UserError, match=r"stage\.json") as caught:
        is_finished(tmp_path, "f")
    assert "\n" not in str(caught.value)
    assert marker_state(tmp_path / "none") == {}


@pytest.mark.parametrize("content", ODD)
def test_metrics_that_are_none_are_written_anew_with_a_note(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    assert earlier_metrics(path) == {}
    note = capsys.readouterr().err
    assert note.startswith(f"note: {path}")
    assert "written anew" in note
    assert note.count("\n") == 1
    path.write_text('{"fit": {"val/loss": null}}')
    assert earlier_metrics(path) == {"fit": {"val/loss": None}}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", [*ODD, b'{"speed": "fast"}', b'{"speed": null}'])
def test_measurements_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bench\.json"):
        _earlier(path)


@pytest.mark.parametrize("content", ["model: 1", "data: {}", "model: {}", "a: 1"])
def test_a_downstream_config_without_a_model_is_named(tmp_path: Path, content: str) -> None:
    base = tmp_path / "head.yaml"
    base.write_text(content)
    with pytest.raises(UserError, match=r"head\.yaml: has no model"):
        encoder_for_task(base, {"class_path": "B"})


def test_a_stages_config_is_read_within_bounds(tmp_path: Path) -> None:
    config = tmp_path / "mae.yaml"
    config.write_text("[" * 5000)
    with pytest.raises(UserError, match=r"mae\.yaml: config: nested deeper"):
        StageRun("mae", tmp_path, config, {}, {}).fingerprint  # noqa: B018 - it reads the file
