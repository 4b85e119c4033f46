"""``tuning.json``: sections are merged, whole and plain; a damaged file is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ecgcmr.errors import UserError
from ecgcmr.training import tuning_record


def test_sections_are_merged_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert tuning_record.read(folder) == {}

    tuning_record.record(folder, "budget", {"least": 100, "most": 400})
    tuning_record.record(folder, "start", {"scores": {"val/loss": np.float32(0.5), "val/r2": torch.tensor(0.25)}})
    tuning_record.record(folder, "budget", {"most": 300, "steps": np.int64(250)})

    assert tuning_record.read(folder) == {
        "budget": {"least": 100, "most": 300, "steps": 250},
        "start": {"scores": {"val/loss": 0.5, "val/r2": 0.25}},
    }
    assert [path.name for path in folder.iterdir()] == ["tuning.json"]


def test_what_json_has_no_number_for_becomes_null(tmp_path: Path) -> None:
    values = {"nan": float("nan"), "all": [1.0, float("inf")], "scores": torch.tensor([torch.nan, 2.0])}
    tuning_record.record(tmp_path, "final_weights", values)

    assert tuning_record.read(tmp_path) == {
        "final_weights": {"nan": None, "all": [1.0, None], "scores": [None, 2.0]},
    }


@pytest.mark.parametrize("content", ["{", "[1]", '{"start": 3}'])
def test_a_damaged_record_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "tuning.json").write_text(content)

    with pytest.raises(UserError, match="tuning") as refused:
        tuning_record.record(tmp_path, "start", {"score": 1.0})

    assert "\n" not in str(refused.value)
    assert (tmp_path / "tuning.json").read_text() == content
