"""Good files of every kind that a user can hand in, made once; each mutant is a copy of some with one change."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import yaml
from cine_zip_writer import write_cine_zip
from fuzzer import good_ecgs
from raw_file_writers import (
    beating_disc,
    cardiosoft_xml,
    sample_counts,
    write_cine_folder,
    write_wfdb_record,
)

SUBJECTS = 20
SHORT = 1500  # samples: three seconds, which '--short pad' takes
CODES = "heart_failure:\n  title: heart failure\n  prefixes: [I50, I11.0]\nstroke:\n  prefixes: [I6]\n"
CLEANING = """steps:
  - fill: {method: line}
  - clip: {deviations: 4}
  - als: {lambda_: 1.0e+7, p: 0.3, solves: 5}
  - bandpass: {low: 0.5, high: 40, order: 2}
  - notch: {frequency: 50, quality: 30}
  - zscore: {groups: leads}
"""
ENCODER = {
    "class_path": "ecgcmr.encoders.ECGVisionTransformer",
    "init_args": {"samples": 1000, "patch_size": [12, 100], "width": 16, "depth": 1, "heads": 2},
}


def make_material(folder: Path) -> None:
    """Make all good files in ``folder``, by the program's own commands where it is the program that writes them."""
    for make in (_raw, _lists, _tables, _ptbxl, _cohort, _runs, _experiment, _predictions, _weights):
        make(folder)


def command(*words: object) -> None:
    """Run a command that has to succeed."""
    from ecgcmr.cli import main

    code = main([str(word) for word in words])
    if code:
        raise RuntimeError(f"the good files cannot be made: {words} ended with {code}")


def _raw(folder: Path) -> None:
    for kind, files in good_ecgs(folder / "made").items():
        (folder / "raw" / kind).mkdir(parents=True)
        for name, content in files.items():
            (folder / "raw" / kind / name).write_bytes(content)
    for kind, files in good_ecgs(folder / "made", SHORT).items():
        place = folder / "ecgs" / kind / "ecg"
        place.mkdir(parents=True)
        for name, content in files.items():
            (place / name).write_bytes(content)
        (place / "z.xml").write_bytes(cardiosoft_xml(sample_counts(1, SHORT)))
        (folder / "ecgs" / kind / "key").write_bytes(bytes(range(32)))
    shutil.rmtree(folder / "made")
    write_cine_folder(folder / "nifti" / "cmr" / "1000000", 0, four_dimensional_labels=True)
    cine, _ = beating_disc(size=16, slices=3, frames=6, centre=(7, 8))
    write_cine_zip(folder / "zip" / "cmr" / "1000000_20209_2_0.zip", cine)
    for kind in ("nifti", "zip"):
        write_cine_folder(folder / kind / "cmr" / "1000001", 1)
        (folder / kind / "key").write_bytes(bytes(range(32)))


def _lists(folder: Path) -> None:
    """Three short recordings with all lists that a preparation takes."""
    place = folder / "lists"
    (place / "ecg").mkdir(parents=True)
    rows = ["eid,41270-0.0,41280-0.0,24100-2.0,53-2.0"]
    for number in range(3):
        (place / "ecg" / f"100000{number}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(number, SHORT)))
        rows.append(f"100000{number},I500,2012-03-0{number + 1},{120 + number},2015-05-05")
    (place / "table.csv").write_text("\n".join(rows) + "\n")
    (place / "subjects.csv").write_text(
        "file,subject\n" + "".join(f"100000{n}_20205_2_0.xml,person{n}\n" for n in range(3))
    )
    (place / "withdrawn.csv").write_text("1000001\n1000009\n")
    (place / "codes.yaml").write_text(CODES)
    (place / "cleaning.yaml").write_text(CLEANING)
    (place / "key").write_bytes(bytes(range(32)))


def _tables(folder: Path) -> None:
    from ecgcmr.synthesis.population import draw_population

    people = draw_population(40, 1)
    place = folder / "tables"
    place.mkdir()
    people.phenotypes.to_csv(place / "phenotypes.csv", index=False)
    people.diagnoses.to_csv(place / "diagnoses.csv", index=False)
    people.diagnoses.to_csv(place / "diagnoses.csv.gz", index=False)
    people.diagnoses.to_parquet(place / "diagnoses.parquet")
    shutil.copytree(folder / "lists" / "ecg", place / "ecg")
    for number, path in enumerate(sorted((place / "ecg").iterdir())):
        path.rename(path.with_name(f"{people.eids[number]}_20205_2_0.xml"))
    (place / "key").write_bytes(bytes(range(32)))


def _ptbxl(folder: Path) -> None:
    place = folder / "ptbxl" / "ptb"
    header = "ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr\n"
    rows = []
    for number in range(4):
        write_wfdb_record(place / "records500", f"0000{number}_hr", sample_counts(number) * 0.005)
        codes = "{'NORM': 100.0, 'SR': 0.0}" if number % 2 else "{'IMI': 15.0}"
        rows.append(
            f'{number},{20 + number},5{number}.0,{number % 2},"{codes}",{7 + number},records500/0000{number}_hr\n'
        )
    (place / "ptbxl_database.csv").write_text(header + "".join(rows))
    (place / "scp_statements.csv").write_text(
        ",description,diagnostic,diagnostic_class\nNORM,normal ECG,1.0,NORM\nIMI,inferior,1.0,MI\nSR,sinus rhythm,,\n"
    )
    (folder / "ptbxl" / "key").write_bytes(bytes(range(32)))


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
    import os

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
    import os

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


def _predictions(folder: Path) -> None:
    """Tables of predictions of two methods, archives of the same, and results."""
    import pandas as pd

    from ecgcmr.evaluation.predictions import Predictions, save_predictions

    rng = np.random.default_rng(0)
    n = 40
    parts = []
    for run, noise in (("one", 0.5), ("two", 1.0)):
        subjects = tuple(f"{k:032x}" for k in range(n))
        truth = 100 + 20 * np.random.default_rng(3).normal(size=(n, 2))
        guess = truth + 20 * noise * rng.normal(size=truth.shape)
        made = Predictions(subjects, ("lv_edv", "lv_esv"), truth, guess, "regression", "test", run, "finetune", 20, 0)
        save_predictions(folder / "predictions" / run / "predictions" / "a.npz", made)
        frame = {"subject": subjects, "split": "test", "seed": 0, "method": run, "sex": np.arange(n) % 2}
        for k, target in enumerate(("lv_edv", "lv_esv")):
            parts.append(pd.DataFrame({**frame, "target": target, "truth": truth[:, k], "prediction": guess[:, k]}))
        chance = 1 / (1 + np.exp(-guess[:, 0] / 20 + 5))
        parts.append(
            pd.DataFrame({**frame, "target": "af_ever", "truth": (truth[:, 0] > 100) * 1.0, "prediction": chance})
        )
    table = pd.concat(parts, ignore_index=True)
    place = folder / "predictions"
    table.to_csv(place / "p.csv", index=False)
    table.to_parquet(place / "p.parquet")
    for name, method in (("three", "one"), ("four", "two")):
        (place / name).mkdir()
        table[table.method == method].to_csv(place / name / "predictions.csv", index=False)
    quick = ["--no-figures", "--resamples", 20]
    command("evaluate", "--predictions", place / "p.csv", "--out", place / "five", *quick)
    (place / "six").mkdir()
    shutil.copy(folder / "experiment" / "out" / "results.json", place / "six" / "results.json")


def _weights(folder: Path) -> None:
    import argparse

    import torch

    from ecgcmr.encoders import CMRResNet, ECGVisionTransformer

    place = folder / "weights"
    place.mkdir()
    size = {"leads": 12, "samples": 200, "patch_size": (12, 100), "width": 16, "depth": 2, "heads": 2}
    torch.save(
        {"model": ECGVisionTransformer(**size, pooling="cls").state_dict(), "args": argparse.Namespace(lr=1.0)},
        place / "signal.pth",
    )
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    renamed = {}
    for name, value in CMRResNet(variant="resnet18", height=32, width=32).state_dict().items():
        child, _, rest = name.partition(".")
        renamed[f"encoder_imaging.{numbers[child]}.{rest}"] = value.half()
    torch.save({"state_dict": renamed}, place / "image.pth")
