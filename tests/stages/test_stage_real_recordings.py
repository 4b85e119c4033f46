"""Real recordings through the command line: PTB-XL and ACDC prepared and trained on.

There is no public set of paired ECGs and cardiac MRIs. PTB-XL and ACDC are paired here by class, strangers' hearts with
strangers' ECGs: such pairs show that real arrays pass through the alignment and that it can learn them by heart. They
say nothing about patients, and no number from them is a result.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_configs
import yaml

from ecgcmr.cli import main
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.nifti import read_short_axis
from ecgcmr.formats.ptbxl import DATABASE, STATEMENTS, PTBXLRecord, read_ptbxl
from ecgcmr.preparation import CineOptions, clean_ecg, frames_from_short_axis, standardise_record, subject_hash
from ecgcmr.preparation.cine_options import TWO_PHASE_FRAMES
from ecgcmr.shards import CMRLayout, ECGLayout, Layout, ShardIndex, ShardRows, write_index, write_shard

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CLASSES = {"NOR": "NORM", "MINF": "MI", "HCM": "HYP"}
"""Group of ACDC -> diagnostic superclass of PTB-XL."""
SPLITS = ("train",) * 4 + ("val", "test")
KEY = bytes(range(32))


def _pairs(data: Path) -> list[tuple[PTBXLRecord, Path, str]]:
    """Return (ECG, folder of images, split), six pairs of each class; the ECG has no superclass but its own."""
    records = read_ptbxl(data / "ptbxl")
    groups = pd.read_csv(data / "acdc" / "phenotypes.csv").set_index("patient")["group"]
    pairs = []
    for group, superclass in CLASSES.items():
        ecgs = [record for record in records if record.superclasses == {superclass}][: len(SPLITS)]
        hearts = [data / "acdc" / patient for patient in sorted(groups.index[groups == group])][: len(SPLITS)]
        assert len(ecgs) == len(hearts) == len(SPLITS)
        pairs += list(zip(ecgs, hearts, SPLITS, strict=True))
    return pairs


@pytest.fixture(scope="module")
def paired_root(real_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 18 pairs: 12 to train, 3 to validate, 3 to test; two frames of 48 x 48 pixels."""
    pairs = _pairs(real_data_dir)
    options = CineOptions(frames=TWO_PHASE_FRAMES, size=48)
    layout = Layout(ECGLayout(), CMRLayout(options.frames, options.size, options.size, options.spacing_mm))
    rows = ShardRows(
        subject=[subject_hash(heart.name, KEY) for _, heart, _ in pairs],
        split=[split for _, _, split in pairs],
        ecg=np.stack([clean_ecg(standardise_record(read_ecg(record.path))) for record, _, _ in pairs]),
        has_ecg=np.ones(len(pairs), dtype=bool),
        cmr=np.stack([frames_from_short_axis(read_short_axis(heart), options) for _, heart, _ in pairs]),
        has_cmr=np.ones(len(pairs), dtype=bool),
        labels=np.empty((len(pairs), 0), dtype=np.float32),
    )
    root = tmp_path_factory.mktemp("pairs")
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)], extra=None)
    return root


@pytest.mark.long
def test_the_alignment_learns_a_few_real_pairs_by_heart(paired_root: Path, tmp_path: Path) -> None:
    """Below chance level ln(12) on the training pairs, which is all that can be asked of pairs of strangers."""
    config = tiny_configs.write_alignment(tmp_path, paired_root)
    settings = ["--data.labels=[]", "--data.batch_size=12", "--model.cmr_encoder.frames=2", "--trainer.max_epochs=60"]
    rate = ["--model.optimiser.lr=0.003", "--model.optimiser.warmup_epochs=2"]
    assert main(["fit", "-c", str(config), *settings, *rate]) == 0
    metrics = json.loads((tmp_path / "alignment" / "metrics.json").read_text())["fit"]
    assert metrics["train/loss"] < 0.5 * math.log(12)
    assert math.isfinite(metrics["val/loss"])
    assert "val/probe_r2" not in metrics


def test_a_cohort_of_two_frames_does_not_fit_an_encoder_of_three(
    paired_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_configs.write_alignment(tmp_path, paired_root)
    assert main(["fit", "-c", str(config), "--data.labels=[]"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "frames" in errors[0]


@pytest.fixture(scope="module")
def ptbxl_root(real_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards that ``prepare`` made of 60 recordings of PTB-XL, 20 of each of three folds."""
    source = tmp_path_factory.mktemp("ptbxl")
    whole = real_data_dir / "ptbxl"
    table = pd.read_csv(whole / DATABASE, dtype=str)
    table.groupby("strat_fold").head(20).to_csv(source / DATABASE, index=False)
    shutil.copy(whole / STATEMENTS, source)
    (source / "records500").symlink_to(whole / "records500")
    out = tmp_path_factory.mktemp("prepared") / "shards"
    (out.parent / "subject.key").write_bytes(KEY)
    key = ["--key-file", str(out.parent / "subject.key")]
    assert main(["prepare", "--ecg", str(source), "--out", str(out), "--workers", "1", "--strict", *key]) == 0
    return out


def test_ptbxl_is_split_by_fold_and_keeps_no_name(ptbxl_root: Path) -> None:
    index = ShardIndex.load(ptbxl_root)
    assert [index.counts[split] for split in ("train", "val", "test")] == [20, 20, 20]
    assert {"NORM", "MI", "STTC", "CD", "HYP"} <= set(index.label_names)
    assert index.statistics["NORM"]["positives"] > 0


@pytest.mark.parametrize("name", ["mae/ptbxl.yaml", "downstream/ptbxl.yaml"])
def test_the_shipped_configs_train_on_prepared_ptbxl(ptbxl_root: Path, name: str, tmp_path: Path) -> None:
    flags = ["--data.root", str(ptbxl_root), "--data.batch_size", "4", "--trainer.fast_dev_run", "true"]
    flags += ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "-c", str(CONFIGS / name), *flags]) == 0


@pytest.mark.long
def test_the_shipped_experiment_fits_prepared_ptbxl(ptbxl_root: Path, tmp_path: Path) -> None:
    """The file as it stands, with its cohort in place and its stages cut to one epoch."""
    plan = yaml.safe_load((CONFIGS / "experiments" / "ptbxl.yaml").read_text())
    room = CONFIGS / "experiments"
    plan["stages"]["mae"].update(config=str(room / plan["stages"]["mae"]["config"]), set={"trainer.max_epochs": 1})
    task = plan["evaluation"]["tasks"]["superclasses"]
    task.update(finetune=str(room / task["finetune"]), set={"search": None, "budget.most": 4})
    for network in plan["evaluation"]["supervised"].values():
        network["set"] = {}
        if "encoder" in network:
            network["encoder"] = str(room / network["encoder"])
    plan["evaluation"]["resamples"] = 20
    (tmp_path / "ptbxl.yaml").write_text(yaml.safe_dump(plan))
    out = tmp_path / "out"
    command = ["experiment", str(tmp_path / "ptbxl.yaml"), "--root", str(ptbxl_root), "--out", str(out)]
    assert main([*command, "--workers", "1"]) == 0
    rows = json.loads((out / "results.json").read_text())
    means = [row for row in rows if row["target"] == "mean" and row["metric"] == "auroc"]
    assert {(row["method"], row["protocol"]) for row in means} == {
        ("random", "linear_probe"),
        ("mae", "linear_probe"),
        ("scratch", "finetune"),
        ("mae", "finetune"),
        ("cnn", "finetune"),
        ("xresnet1d101", "finetune"),
        ("s4", "finetune"),
        ("measured", "stack"),
        ("everything", "stack"),
        ("age+sex", None),
        ("features", None),
        ("features-boosting", None),
    }
    assert all(0 <= row["ci_low"] <= row["ci_high"] <= 1 for row in means)


@pytest.mark.long
def test_the_six_tasks_of_ptbxl_run_to_their_tables(ptbxl_root: Path, tmp_path: Path) -> None:
    """The file as it stands, found by its name, with few steps and two of its networks."""
    out = tmp_path / "out"
    tasks = ("statement", "diagnostic", "subclass", "superclass", "form", "rhythm")
    settings = ["evaluation.labels=[10, all]", "evaluation.resamples=20", "evaluation.finetune=[cnn, mae]"]
    settings += ["evaluation.supervised.xresnet1d101=null", "evaluation.supervised.s4=null"]
    settings += ["stages.mae.set.trainer.max_epochs=1"]
    settings += [f"evaluation.tasks.{name}.set={{budget.most: 4}}" for name in tasks]
    command = ["experiment", "ptbxl_all", "--root", str(ptbxl_root), "--out", str(out), "--jobs", "1"]
    assert main([*command, *settings]) == 0
    results = json.loads((out / "results.json").read_text())
    means = [row for row in results["scores"] if row["target"] == "mean" and row["metric"] == "auroc"]
    for name in tasks:
        found = [row for row in means if row["task_name"] == name and row["value"] is not None]
        assert {("mae", "linear_probe"), ("random", "linear_probe"), ("cnn", "finetune"), ("mae", "finetune")} <= {
            (row["method"], row["protocol"]) for row in found
        }
        assert all(0 <= row["ci_low"] <= row["ci_high"] <= 1 for row in found)
        assert "S4, from scratch" in {row["method"] for row in results["published"] if row["task_name"] == name}
    assert "(published)" in (out / "results.md").read_text()


def test_acdc_is_prepared_with_its_two_real_frames(real_data_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "acdc"
    source.mkdir()
    for heart in sorted((real_data_dir / "acdc").glob("patient*"))[:6]:
        (source / heart.name).symlink_to(heart)
    (tmp_path / "subject.key").write_bytes(KEY)
    table = str(real_data_dir / "acdc" / "phenotypes.csv")
    command = ["prepare", "--cmr", str(source), "--table", table, "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*command, "--key-file", str(tmp_path / "subject.key"), "--strict", "--size", "64"]) == 0
    index = ShardIndex.load(tmp_path / "out")
    assert index.counts["with_cmr"] == 6
    assert index.counts["with_ecg"] == 0
    assert index.layout.cmr is not None
    assert index.layout.cmr.frames == TWO_PHASE_FRAMES
