"""What the drilled commands are given: made once, by the good files of the fuzzing harness."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml
from fuzz_material import make_material
from warm_process import fork


def make_drill_material(work: Path) -> None:
    """Make ``work/material`` in a fork, so that this process has trained nothing."""
    import os

    unfinished = work / "material.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    log = work / "material.log"
    with log.open("wb") as stream:
        _, status = os.waitpid(fork(lambda: _make(unfinished), stream.fileno()), 0)
    if status:
        sys.exit(log.read_text(errors="replace")[-3000:])
    unfinished.rename(work / "material")


def _make(folder: Path) -> None:
    make_material(folder)
    (folder / "empty").mkdir()
    _prepared_from(folder)
    run = folder / "run"
    fit = folder / "fit"
    fit.mkdir()
    shutil.copytree(run / "prepared", fit / "prepared")
    for name in ("mae.yaml", "regression.yaml"):
        config = yaml.safe_load((run / name).read_text())
        config["trainer"]["max_epochs"] = 6 if name == "mae.yaml" else 1
        config["trainer"]["accelerator"] = "cpu"
        (fit / name).write_text(yaml.safe_dump(config, sort_keys=False))
    shutil.rmtree(folder / "experiment" / "out")


def _prepared_from(folder: Path) -> None:
    """Eight subjects of the cohort, its table and one that says otherwise."""
    place, cohort = folder / "prepare", folder / "cohort"
    (place / "ecg").mkdir(parents=True)
    names = sorted((cohort / "ecg").iterdir())[:8]
    for path in names:
        shutil.copy2(path, place / "ecg")
    shutil.copytree(cohort / "cmr", place / "cmr")
    shutil.copy(cohort / "key", place / "key")
    rows = (cohort / "table.csv").read_text().splitlines()
    (place / "table.csv").write_text("\n".join(rows[:9]) + "\n")
    other = [rows[0], *(",".join([*row.split(",")[:3], "222", "66"]) for row in rows[1:9])]
    (place / "other.csv").write_text("\n".join(other) + "\n")
    (place / "withdrawn.csv").write_text(f"{names[0].name.split('_')[0]}\n")
