"""Good files of every kind that a user can hand in, made once; each mutant is a copy of some with one change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import yaml
from good_command import command
from raw_file_writers import cardiosoft_xml, sample_counts, write_cine_folder
from raw_material import make_lists, make_ptbxl, make_raw, make_tables
from result_material import make_predictions, make_weights

SUBJECTS = 20
ENCODER = {
    "class_path": "ecgcmr.encoders.ECGVisionTransformer",
    "init_args": {"samples": 1000, "patch_size": [12, 100], "width": 16, "depth": 1, "heads": 2},
}


def make_material(folder: Path) -> None:
    """Make all good files in ``folder``, by the program's own commands where it is the program that writes them."""
    for make in (
        make_raw,
        make_lists,
        make_tables,
        make_ptbxl,
        _cohort,
        _runs,
        _experiment,
        make_predictions,
        make_weights,
    ):
        make(folder)


def _cohort(folder: Path) -> None:
    """Twenty subjects prepared from raw files, and the raw files of which they were."""
    place = folder / "cohort"
    rows = ["eid,31-0.0,21003-2.0,24100-2.0,24103-2.0"]
    for number in range(SUBJECTS):
        path = place / "ecg" / f"{1000000 + number}_20205_2_0.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cardiosoft_xml(sample_counts(number)))
        rows.append(f"{1000000 + number},{number % 2},{50 + number},{120 + 3 * number},{55 + number % 7}")
    (place / "table.csv").write_text("\n".join(rows) + "\n")
    (place / "key").write_bytes(bytes(range(32)))
    for number in range(3):
        write_cine_folder(place / "cmr" / str(1000000 + number), number)
    inputs = ["--ecg", place / "ecg", "--cmr", place / "cmr", "--table", place / "table.csv"]
    sizes = ["--size", 16, "--shard-size", 10, "--workers", 1, "--key-file", place / "key"]
    command("prepare", *inputs, *sizes, "--out", place / "prepared")


def fit_config(stage: str, labels: list[str], data: str, **arguments: object) -> str:
    """A stage's config with paths as they are within a mutant's folder."""
    return yaml.safe_dump(
        {
            "model": {"class_path": f"ecgcmr.stages.{stage}", "init_args": {"encoder": ENCODER, **arguments}},
            "data": {
                "class_path": f"data_modules.{data}",
                "init_args": {"root": "prepared", "batch_size": 4, "samples": 1000, "labels": labels},
            },
            "trainer": {
                "max_epochs": 1,
                "accelerator": "cpu",
                "precision": "32-true",
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "log_every_n_steps": 1,
            },
        },
        sort_keys=False,
    )


DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}


def _runs(folder: Path) -> None:
    """A run folder of the masked autoencoder and one of a regression, beside the prepared cohort."""
    place = folder / "run"
    shutil.copytree(folder / "cohort" / "prepared", place / "prepared")
    (place / "mae.yaml").write_text(fit_config("ECGMaskedAutoencoder", ["lv_edv", "age"], "ECGDataModule", **DECODER))
    (place / "regression.yaml").write_text(
        fit_config("PhenotypeRegression", ["lv_edv", "age"], "LabelledDataModule", protocol="finetune")
    )
    here = Path.cwd()
    os.chdir(place)
    try:
        command("fit", "-c", "mae.yaml", "--trainer.default_root_dir", "mae")
        command("fit", "-c", "regression.yaml", "--trainer.default_root_dir", "regression")
        command("test", "-c", "regression.yaml", "--trainer.default_root_dir", "regression")
        command("predict", "-c", "regression.yaml", "--trainer.default_root_dir", "regression")
    finally:
        os.chdir(here)


def _experiment(folder: Path) -> None:
    """A small experiment that is finished: one stage, one baseline, one fine-tuning."""
    place = folder / "experiment"
    shutil.copytree(folder / "cohort" / "prepared", place / "prepared")
    for name in ("mae.yaml", "regression.yaml"):
        shutil.copy(folder / "run" / name, place / name)
    plan = {
        "description": "A trial",
        "cohort": {"root": "prepared"},
        "stages": {"mae": {"config": "mae.yaml", "set": {"trainer.max_epochs": 1}}},
        "evaluation": {
            "tasks": {
                "phenotypes": {"task": "regression", "targets": ["lv_edv", "lv_ef"], "finetune": "regression.yaml"}
            },
            "labels": ["all"],
            "linear_probe": ["random", "mae"],
            "baselines": ["age+sex"],
            "seeds": [0],
            "resamples": 20,
        },
    }
    (place / "trial.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    here = Path.cwd()
    os.chdir(place)
    try:
        command("experiment", "trial.yaml", "--out", "out", "--workers", 1)
    finally:
        os.chdir(here)
    # The same with its stage finished and the rest to be done again, and a plan that asks for that of the whole.
    shutil.copytree(place, folder / "plan")
    (folder / "plan" / "out" / "stage.json").unlink()
    plan["evaluation"]["resamples"] = 21
    (place / "other.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
