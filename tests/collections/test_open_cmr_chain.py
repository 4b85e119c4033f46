"""An image encoder on open data alone: a download prepared, the encoder pre-trained on it and judged on images alone.

The commands are those of docs/open_cmr.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from acdc_folder import write_acdc
from dsb2015_folder import write_patient, write_tables
from mnms2_folder import write_mnms2
from mnms_folder import write_mnms
from small_hearts import hearts

from ecgcmr.cli import main
from ecgcmr.shards import ShardIndex, read_cmr, read_labels, read_masks
from ecgcmr.shards.layout import MASK_UNKNOWN

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT = ["--data.batch_size=8", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]


def write_dsb2015(root: Path) -> Path:
    """Write three patients that train, three that validate."""
    for patient, heart in enumerate(hearts(6)):
        write_patient(root, "train" if patient < 3 else "validate", patient + 1, heart)
    rows = {patient + 1: (50.0 + patient, 140.0 + patient) for patient in range(6)}
    parts = {"train": {patient: rows[patient] for patient in (1, 2, 3)}}
    write_tables(root, {**parts, "validate": {patient: rows[patient] for patient in (4, 5, 6)}})
    return root


MADE: dict[str, tuple[Callable[[Path], Path], int, int]] = {
    "acdc": (lambda root: write_acdc(root, hearts(6), hearts(8)[6:]), 8, 8),
    "mnms": (lambda root: write_mnms(root, hearts(8)), 8, 6),
    "mnms2": (lambda root: write_mnms2(root, dict(zip((1, 2, 161, 201), hearts(4), strict=True))), 4, 4),
    "dsb2015": (write_dsb2015, 6, 0),
}
"""Name -> what writes a download, its rows, those with masks."""


@pytest.mark.parametrize("name", MADE)
def test_a_download_is_prepared_by_its_name(
    name: str, tmp_path: Path, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, rows, masked = MADE[name]
    words = ["--cmr", str(make(tmp_path / "raw")), "--out", str(tmp_path / "out"), "--key-file", str(key_file)]
    assert main(["prepare", "--collection", name, *words, "--workers", "1", "--size", "32"]) == 0
    index = ShardIndex.load(tmp_path / "out")
    assert (index.counts["total"], index.counts["with_cmr"]) == (rows, rows)
    assert index.counts.get("with_cmr_mask", 0) == masked
    assert index.layout.cmr is not None
    assert index.layout.cmr.frames == ("ES", "mid", "ED")
    everybody = index.positions(None, ["cmr"])
    frames = read_cmr(index, everybody)
    assert (frames.reshape(rows, -1).max(axis=1) == 255).all()
    if masked:
        known = read_masks(index, everybody) != MASK_UNKNOWN
        assert (known.any(axis=(1, 2, 3)).sum(), known[:, 1].any()) == (masked, False)  # nobody segments mid-beat
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["skipped"] == []
    raw, other = str(tmp_path / "raw"), ["--out", str(tmp_path / "other")]
    capsys.readouterr()
    assert main(["prepare", "--collection", name, "--ecg", raw, *other]) == 2
    assert f"--ecg: is not used with --collection {name}, which takes --cmr" in capsys.readouterr().err
    assert main(["prepare", "--cmr", raw, *other, "--key-file", str(key_file)]) == 2
    assert f"add --collection {name}, see docs/open_cmr.md" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.long
def test_an_encoder_is_pre_trained_and_judged_on_images_alone(
    tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_acdc(tmp_path / "raw", hearts(20), hearts(26)[20:])
    words = ["--cmr", "raw", "--out", "data", "--key-file", str(key_file), "--workers", "1", "--size", "48"]
    assert main(["prepare", "--collection", "acdc", *words]) == 0
    small = ["--data.root=data", "--data.image_size=48", *SHORT]
    assert main(["fit", "-c", str(CONFIGS / "unimodal" / "cmr_simclr.yaml"), *small, "--trainer.max_epochs=1"]) == 0
    pretrained = ["--model.encoder_weights=runs/unimodal/cmr_simclr", "--budget.most=4"]
    scores = {}
    for name, labels in (("cmr_images", "[lv_edv, lv_ef]"), ("cmr_groups", "[group]")):
        config = ["-c", str(CONFIGS / "downstream" / f"{name}.yaml"), *small, f"--data.labels={labels}"]
        assert main(["fit", *config, *pretrained]) == 0
        assert main(["test", *config]) == 0
        scores[name] = json.loads(Path("runs", "downstream", name, "metrics.json").read_text())["test"]
    numbers = [value for section in scores.values() for value in section.values() if isinstance(value, float)]
    assert numbers
    assert np.isfinite([value for name, value in scores["cmr_images"].items() if "loss" in name]).all()
    index = ShardIndex.load(tmp_path / "data")
    volumes = read_labels(index, ["lv_edv", "lv_esv"], index.positions(None, ["cmr"]))
    assert (volumes[:, 0] > volumes[:, 1]).all()
